// Products for trying: a feed-forward matrix of the model at hand, forward, backward, and unpacked inside.
import type { Gpu } from "../gpu/device.ts";
import type { Dtype, StoredTensor } from "../gpu/tensor.ts";
import { dequantize } from "./dequantize.ts";
import { fillTrial } from "./trial.ts";
import { untriedVariant } from "./matmul-lanes.ts";
import { matrixVariants } from "./matmul-matrix.ts";
import type { PlainWeight } from "./weight.ts";
import { tileVariants } from "./matmul-tile.ts";
import { untriedProduct } from "./matmul-untried.ts";
import {
  EXPAND,
  FUSED_ROWS,
  fusedSlot,
  fusesNf4,
  matmulBackward,
  matmulForward,
} from "./matmul.ts";
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
  ...FUSED_ROWS.map(fusedTunable),
];

function forwardTunable(act: Act): Tunable {
  return {
    slot: `matmul.${act}.forward`,
    candidates: (gpu, sizes) => candidatesOf(gpu, sizes, act),
    untried: (gpu) => untriedProduct(gpu, act),
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
    untried: (gpu) => untriedProduct(gpu, act),
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
      // What comes from the residual stream, as the gradients of two maps of a layer do, is f32 in any model.
      const residual = make("d_residual", "f32", rows, inputs);
      const square = make("square", act, inputs, inputs);
      const dAttended = gpu.allocate("trial.d_attended", act, [rows, inputs]);
      const squareWeight: PlainWeight = { tensor: square, shape: [inputs, inputs], kind: "native" };
      return {
        tensors: [dy, tensor, dx, residual, square, dAttended, ...(side ? [side.dh, side.a] : [])],
        record(recorder) {
          matmulBackward(recorder, {
            dy,
            weight,
            dx,
            ...(side && { lora: { ...side, rank, segments, dropout } }),
          });
          matmulBackward(recorder, { dy: residual, weight: squareWeight, dx: dAttended });
        },
        results: [dx, dAttended],
        tolerance: TOLERANCE[act],
      };
    },
  };
}

/**
 * Whether NF4 is unpacked inside products of up to so many rows, each range by itself, on half as many rows or
 * somewhat more. What it is compared with is what would be done otherwise: to expand the weight, and the variant
 * of product that was found before.
 */
function fusedTunable(range: (typeof FUSED_ROWS)[number]): Tunable {
  return {
    slot: fusedSlot(range),
    use: "generation",
    candidates: () => [EXPAND, "tile 32x32x16", "tile 16x64x32", "tile 64x64x16"],
    trial(gpu, sizes) {
      const { act } = sizes;
      const [outputs, inputs] = shapeOf(gpu, sizes, act);
      const shape = [outputs, inputs] as const;
      const make = maker(gpu);
      const codes = make("codes", "u32", (outputs * inputs) / 8);
      const absmax = make("absmax", "f32", Math.ceil((outputs * inputs) / 64));
      const tensor = gpu.allocate("trial.expanded", act, shape);
      const rows = TRIED_ROWS[range];
      const x = make("x", act, rows, inputs);
      const y = gpu.allocate("trial.y", act, [rows, outputs]);
      return {
        tensors: [codes, absmax, tensor, x, y],
        record(recorder) {
          const packed = { codes, absmax, shape };
          if (fusesNf4(recorder, rows)) {
            matmulForward(recorder, { x, weight: packed, y });
            return;
          }
          dequantize(recorder, { weight: packed, out: tensor });
          matmulForward(recorder, { x, weight: { tensor, shape, kind: "native" }, y });
        },
        results: [y],
        tolerance: TOLERANCE[act],
      };
    },
  };
}

const TRIED_ROWS = { 32: 16, 128: 64, 256: 192 } as const;

/** Those that products in this type run; only its own where activations are of the other. */
function candidatesOf(gpu: Gpu, sizes: TrialSizes, act: Act): string[] {
  if (sizes.act !== act) return ["direct"];
  const lanes = untriedVariant(gpu) ?? [];
  return ["direct", ...[lanes].flat(), ...tileVariants(gpu, act), ...matrixVariants(gpu, act)];
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
