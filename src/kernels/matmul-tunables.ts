// Products for trying: a feed-forward matrix of the model at hand, forward, backward, and unpacked inside.
import type { Gpu } from "../gpu/device.ts";
import type { Dtype, StoredTensor } from "../gpu/tensor.ts";
import { dequantize } from "./dequantize.ts";
import { fillTrial } from "./gemv.ts";
import { matrixVariants } from "./matmul-matrix.ts";
import { forwardProduct } from "./matmul-operands.ts";
import type { PlainWeight } from "./weight.ts";
import { recordTile, tileVariants } from "./matmul-tile.ts";
import { fusesNf4, matmulBackward, matmulForward, NF4_FUSED_SLOT } from "./matmul.ts";
import type { TrialSizes, Tunable } from "./tunable.ts";

type Act = TrialSizes["act"];

// Sums of some thousand terms in another order, in f32. In f16 results are rounded, and in tiles the adapter's
// operands too: 2⁻¹¹ each.
const TOLERANCE: Readonly<Record<Act, number>> = { f32: 2 ** -14, f16: 2 ** -8 };

/** More rows take longer to try, and change little: enough workgroups for a large GPU. */
const MOST_ROWS = 1024;

/** Both passes, in both types of activations, and whether NF4 is unpacked inside. */
export const MATMUL_TUNABLES: readonly Tunable[] = [
  ...(["f16", "f32"] as const).flatMap((act) => [forwardTunable(act), backwardTunable(act)]),
  fusedTunable(),
];

function forwardTunable(act: Act): Tunable {
  return {
    slot: `matmul.${act}.forward`,
    candidates: (gpu, sizes) => candidatesOf(gpu, sizes, act),
    trial(gpu, sizes) {
      const { weight, tensor, rows, rank, segmentEnds, make } = operandsOf(gpu, sizes, act);
      const [outputs, inputs] = weight.shape;
      const x = make("x", act, rows, inputs);
      const y = gpu.allocate("trial.y", act, [rows, outputs]);
      const side = rank > 0 && {
        h: make("h", "f32", rows, segmentEnds.length * rank),
        b: make("b", "f32", outputs, rank),
      };
      return {
        tensors: [x, tensor, y, ...(side ? [side.h, side.b] : [])],
        record: (recorder) =>
          matmulForward(recorder, {
            x,
            weight,
            y,
            ...(side && { lora: { ...side, rank, segmentEnds } }),
          }),
        results: [y],
        tolerance: TOLERANCE[act],
      };
    },
  };
}

function backwardTunable(act: Act): Tunable {
  return {
    slot: `matmul.${act}.backward`,
    use: "training",
    candidates: (gpu, sizes) => candidatesOf(gpu, sizes, act),
    trial(gpu, sizes) {
      const { weight, tensor, rows, rank, segmentEnds, make } = operandsOf(gpu, sizes, act);
      const [outputs, inputs] = weight.shape;
      const segments = segmentEnds.length;
      const dy = make("dy", act, rows, outputs);
      const dx = gpu.allocate("trial.dx", act, [rows, inputs]);
      const side = rank > 0 && {
        dh: make("dh", "f32", rows, segments * rank),
        a: make("a", "f32", segments * rank, inputs),
      };
      const dropout = { probability: 0.1, moduleId: 0 };
      return {
        tensors: [dy, tensor, dx, ...(side ? [side.dh, side.a] : [])],
        record: (recorder) =>
          matmulBackward(recorder, {
            dy,
            weight,
            dx,
            ...(side && { lora: { ...side, rank, segments, dropout } }),
          }),
        results: [dx],
        tolerance: TOLERANCE[act],
      };
    },
  };
}

/** Rows of the products that are tried: a few, and about as many as a prompt has. */
const FUSED_ROWS = [16, 64, 192] as const;

/** What a product of an expanded weight is made with while it is compared with: near the best on most GPUs. */
const BESIDE = "tile 64x64x16";

function fusedTunable(): Tunable {
  return {
    slot: NF4_FUSED_SLOT,
    use: "generation",
    candidates: () => [
      "0",
      "32 by tile 32x32x16",
      "32 by tile 16x64x32",
      "128 by tile 32x32x16",
      "128 by tile 64x64x16",
      "256 by tile 64x64x16",
    ],
    trial(gpu, sizes) {
      const { act } = sizes;
      const [outputs, inputs] = shapeOf(gpu, sizes, act);
      const shape = [outputs, inputs] as const;
      const make = maker(gpu);
      const codes = make("codes", "u32", (outputs * inputs) / 8);
      const absmax = make("absmax", "f32", Math.ceil((outputs * inputs) / 64));
      const tensor = gpu.allocate("trial.expanded", act, shape);
      const expanded: PlainWeight = { tensor, shape, kind: "native" };
      const products = FUSED_ROWS.map((rows) => ({
        rows,
        x: make("x", act, rows, inputs),
        y: gpu.allocate("trial.y", act, [rows, outputs]),
      }));
      return {
        tensors: [codes, absmax, tensor, ...products.flatMap(({ x, y }) => [x, y])],
        record(recorder) {
          const weight = { codes, absmax, shape };
          for (const { rows, x, y } of products) {
            if (fusesNf4(recorder, rows)) {
              matmulForward(recorder, { x, weight, y });
              continue;
            }
            dequantize(recorder, { weight, out: tensor });
            recordTile(recorder, forwardProduct({ x, weight: expanded, y }), BESIDE);
          }
        },
        results: products.map(({ y }) => y),
        tolerance: TOLERANCE[act],
      };
    },
  };
}

/** Those that products in this type run; only its own where activations are of the other. */
function candidatesOf(gpu: Gpu, sizes: TrialSizes, act: Act): string[] {
  if (sizes.act !== act) return ["direct"];
  return ["direct", ...tileVariants(gpu, act), ...matrixVariants(gpu, act)];
}

/** A weight of the feed-forward part's first map, and what goes with it. */
function operandsOf(gpu: Gpu, sizes: TrialSizes, act: Act) {
  const make = maker(gpu);
  const shape = shapeOf(gpu, sizes, act);
  const tensor = make("weight", act, ...shape);
  const weight: PlainWeight = { tensor, shape, kind: "native" };
  const half = Math.floor(shape[0] / 8) * 4;
  return {
    weight,
    tensor,
    rows: Math.min(sizes.tokens, MOST_ROWS),
    rank: sizes.rank,
    segmentEnds: [half, shape[0]], // gate and up
    make,
  };
}

/** As many outputs as one binding shows. */
function shapeOf(
  gpu: Gpu,
  { hidden, intermediate }: TrialSizes,
  act: Act,
): [outputs: number, inputs: number] {
  const bytes = act === "f16" ? 2 : 4;
  const most = Math.floor(gpu.maxTensorBytes / bytes / hidden / 64) * 64;
  return [Math.min(2 * intermediate, most), hidden];
}

function maker(gpu: Gpu) {
  return (label: string, dtype: Dtype, ...shape: number[]): StoredTensor => {
    const tensor = gpu.allocate(`trial.${label}`, dtype, shape);
    fillTrial(gpu, tensor);
    return tensor;
  };
}
