// Training's attention for trying: a row of several documents, with the heads of the model at hand.
import type { Gpu } from "../gpu/device.ts";
import { type StoredTensor, write } from "../gpu/tensor.ts";
import { attentionBackward } from "./attention-backward.ts";
import type { AttentionLayout } from "./attention-layout.ts";
import { untriedVariant } from "./attention-lanes.ts";
import { runsBackward } from "./attention-matrix-backward.ts";
import { matrixVariants, runsForward } from "./attention-matrix.ts";
import { backwardTiles } from "./attention-tile-backward.ts";
import { forwardTiles } from "./attention-tile.ts";
import { untriedBackward, untriedForward } from "./attention-untried.ts";
import { attentionForward } from "./attention.ts";
import { fillTrial } from "./trial.ts";
import type { TrialSizes, Tunable } from "./tunable.ts";

type Act = TrialSizes["act"];

// Of a row, so that variants that mask and skip well are not put behind.
const DOCUMENTS = 4;

// Weights are f32 everywhere, their sums of some thousand terms in different orders; f16 rounds results, and
// rows before: 2⁻¹¹ each, over the √headSize ≈ 16 products of a score.
const TOLERANCE: Readonly<Record<Act, number>> = { f32: 2 ** -14, f16: 2 ** -7 };

/** Both passes, in both types of activations. */
export const ATTENTION_TUNABLES: readonly Tunable[] = (["f32", "f16"] as const).flatMap((act) => [
  forwardTunable(act),
  backwardTunable(act),
]);

function forwardTunable(act: Act): Tunable {
  return {
    slot: `attention.${act}.forward`,
    candidates: (gpu, { act: actual, headSize }) =>
      variants(gpu, act === actual, () => [
        ...forwardTiles(gpu, act, headSize),
        ...matrixVariants(gpu, act, (variant) => runsForward(gpu, variant, headSize)),
      ]),
    untried: (gpu) => untriedForward(gpu, act),
    trial(gpu, sizes) {
      const operands = allocate(gpu, sizes, act);
      const { qkv, segmentStart, lse, layout, o } = operands;
      return {
        tensors: [qkv, segmentStart, lse, o],
        record: (recorder) => attentionForward(recorder, { qkv, segmentStart, lse, layout, o }),
        results: [o],
        tolerance: TOLERANCE[act],
      };
    },
  };
}

function backwardTunable(act: Act): Tunable {
  return {
    slot: `attention.${act}.backward`,
    use: "training",
    candidates: (gpu, { act: actual, headSize }) =>
      variants(gpu, act === actual, () => [
        ...backwardTiles(gpu, act, headSize),
        ...matrixVariants(gpu, act, (variant) => runsBackward(gpu, variant, headSize)),
      ]),
    untried: (gpu) => untriedBackward(gpu, act),
    trial(gpu, sizes) {
      const operands = allocate(gpu, sizes, act);
      const { qkv, segmentStart, lse, layout, o } = operands;
      const dO = gpu.allocate("trial.dO", act, o.shape);
      const dqkv = gpu.allocate("trial.dqkv", act, qkv.shape);
      fillTrial(gpu, o);
      fillTrial(gpu, dO);
      // Scores of made-up rows are near 0: a softmax's sum is about the number of its keys.
      const sums = new Float32Array(lse.bytes / 4);
      const starts = segmentStarts(sizes.tokens);
      for (let row = 0; row < sizes.tokens * layout.heads; row++) {
        const token = Math.floor(row / layout.heads);
        sums[row] = Math.log(token - (starts[token] ?? 0) + 1);
      }
      write(gpu, lse, sums);
      return {
        tensors: [qkv, segmentStart, lse, o, dO, dqkv],
        record: (recorder) =>
          attentionBackward(recorder, { qkv, segmentStart, lse, layout, o, dO, dqkv }),
        results: [dqkv],
        tolerance: TOLERANCE[act],
      };
    },
  };
}

/** All variants. A processor's caches keep up with rows read directly: tiles and matrices are not for it. */
function variants(gpu: Gpu, isUsed: boolean, make: () => readonly string[]): readonly string[] {
  if (!isUsed) return ["direct"];
  const lanes = untriedVariant(gpu) ?? [];
  return ["direct", ...[lanes].flat(), ...(gpu.info.isFallbackAdapter ? [] : make())];
}

function allocate(gpu: Gpu, { heads, kvHeads, headSize, tokens }: TrialSizes, act: Act) {
  const layout: AttentionLayout = {
    heads,
    kvHeads,
    headSize,
    stride: (heads + 2 * kvHeads) * headSize,
    qGroupStride: (heads / kvHeads) * headSize,
    kBase: heads * headSize,
    vBase: (heads + kvHeads) * headSize,
    kStride: headSize,
  };
  const tensor = (name: string, dtype: StoredTensor["dtype"], ...shape: number[]) =>
    gpu.allocate(`trial.${name}`, dtype, shape);
  const qkv = tensor("qkv", act, tokens, layout.stride);
  const segmentStart = tensor("segmentStart", "u32", tokens);
  const lse = tensor("lse", "f32", 2, tokens, heads);
  const o = tensor("o", act, tokens, heads * headSize);
  fillTrial(gpu, qkv);
  write(gpu, segmentStart, segmentStarts(tokens));
  return { layout, qkv, segmentStart, lse, o };
}

function segmentStarts(tokens: number): Uint32Array<ArrayBuffer> {
  const length = Math.ceil(tokens / DOCUMENTS);
  return Uint32Array.from({ length: tokens }, (_, i) => i - (i % length));
}
