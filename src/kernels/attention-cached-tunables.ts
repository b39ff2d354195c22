// Attention over a cache for trying: of a token and of pieces of a prompt, with the heads of the model at hand.
import type { Gpu } from "../gpu/device.ts";
import { attentionCached } from "./attention-cached.ts";
import { PREFILL_SLOTS, type PrefillSlot, untriedPrefill } from "./attention-cached-prefill.ts";
import { ATTENTION_DECODE_SLOT, SPLITS, untriedDecode } from "./attention-cached-split.ts";
import { matrixVariants, runsForward } from "./attention-matrix.ts";
import { forwardTiles } from "./attention-tile.ts";
import { fillTrial } from "./trial.ts";
import { allocateCache, cacheTensors } from "./kv-cache.ts";
import type { Trial, TrialSizes, Tunable } from "./tunable.ts";

/** Tokens in a trial's cache when its rows are in it, all of which are seen: a conversation of some length. */
const TOKENS = 2048;

export const ATTENTION_DECODE_TUNABLE: Tunable = {
  slot: ATTENTION_DECODE_SLOT,
  use: "generation",
  // The few threads of a CPU have enough to do with a head each.
  candidates: ({ info }) => (info.isFallbackAdapter ? ["whole"] : ["whole", ...SPLITS]),
  untried: untriedDecode,
  // Sums in another order, and one rounding to the type of activations.
  trial: (gpu, sizes) => trialOf(gpu, sizes, 1, sizes.act === "f16" ? 2 ** -9 : 2 ** -14),
};

/** Long pieces first: a prompt's time goes there. */
export const ATTENTION_PREFILL_TUNABLES: readonly Tunable[] = [
  prefillTunable(PREFILL_SLOTS.long, 512),
  prefillTunable(PREFILL_SLOTS.short, 32),
];

function prefillTunable(slot: PrefillSlot, rows: number): Tunable {
  return {
    slot,
    use: "generation",
    candidates: (gpu, { act, headSize }) =>
      gpu.info.isFallbackAdapter
        ? [untriedPrefill(gpu, slot)]
        : [
            "rows",
            "direct",
            ...forwardTiles(gpu, act, headSize),
            ...matrixVariants(gpu, act, (variant) => runsForward(gpu, variant, headSize)),
          ],
    untried: (gpu) => untriedPrefill(gpu, slot),
    // As training's attention: f16 rounds what is staged, too.
    trial: (gpu, sizes) => trialOf(gpu, sizes, rows, sizes.act === "f16" ? 2 ** -7 : 2 ** -14),
  };
}

function trialOf(
  gpu: Gpu,
  { heads, kvHeads, headSize, act }: TrialSizes,
  rows: number,
  tolerance: number,
): Trial {
  const width = kvHeads * headSize;
  const cache = allocateCache(gpu, "trial", "native", { capacity: TOKENS, width, kvHeads, act });
  const stride = heads * headSize + 2 * width;
  const qkv = gpu.allocate("trial.qkv", act, [rows, stride]);
  const o = gpu.allocate("trial.o", act, [rows, heads * headSize]);
  for (const tensor of [cache.keys, cache.values, qkv]) fillTrial(gpu, tensor);
  const layout = {
    heads,
    kvHeads,
    headSize,
    stride,
    qGroupStride: (heads / kvHeads) * headSize,
    kBase: heads * headSize,
    vBase: heads * headSize + width,
    kStride: headSize,
  };
  return {
    step: { position: TOKENS - rows, rows },
    tensors: [...cacheTensors(cache), qkv, o],
    record: (recorder) => attentionCached(recorder, { qkv, cache, layout, o }),
    results: [o],
    tolerance,
  };
}
