// Attention of one new token over a long cache: chunks of keys side by side, then joined.
//
// Slot "attention.decode" is "whole", one workgroup a head over all keys, or "split N": chunks of N keys.
import split from "../../shaders/attention-cached-split.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import type { StoredTensor } from "../gpu/tensor.ts";
import { attentionCachedForward, type CachedAttention } from "./attention-cached.ts";
import { LAYOUT_PARAMS, layoutParams, viewParams } from "./attention-layout.ts";
import { fillTrial } from "./gemv.ts";
import {
  allocateCache,
  CACHE_SOURCES,
  cacheQuad,
  type CacheStorage,
  cacheTensors,
  checkCache,
} from "./kv-cache.ts";
import type { Tunable } from "./tunable.ts";

export const ATTENTION_DECODE_SLOT = "attention.decode";

const CHUNKS: readonly number[] = [64, 128, 256];
/** Threads of a workgroup, as the shader has it. */
const LANES = 64;
/** Query heads of a workgroup. */
const HEADS = 4;

function shaderOf(storage: CacheStorage) {
  const { widen, scales } = CACHE_SOURCES[storage];
  return {
    label: storage === "native" ? "attention-cached-split" : `attention-cached-split-${storage}`,
    source: [step, widen, scales, split],
    bindings: {
      qkv: "read",
      keys: "read",
      values: "read",
      o: "read_write",
      key_scales: "read",
      value_scales: "read",
      parts: "read_write",
      sums: "read_write",
    },
    params: {
      rows: "u32",
      ...LAYOUT_PARAMS,
      capacity: "u32",
      scale: "f32",
      window: "u32",
      lanes: "u32",
    },
    usesStep: true,
  } as const satisfies Shader<string, string>;
}

const shaders = {
  native: shaderOf("native"),
  f16: shaderOf("f16"),
  int8: shaderOf("int8"),
} as const;

/** Attention of one or more new tokens, in the variant that suits: see `attentionCachedForward`. */
export function attentionCached(recorder: Recorder, operands: CachedAttention): void {
  const { qkv, cache, layout } = operands;
  const capacity = checkCache("attentionCached", qkv, cache, layout);
  const chunk = chunkOf(recorder.choice(ATTENTION_DECODE_SLOT));
  // With one chunk there is nothing to join.
  if (qkv.shape[0] === 1 && chunk !== undefined && capacity > chunk) {
    splitForward(recorder, operands, capacity, chunk);
  } else {
    attentionCachedForward(recorder, operands);
  }
}

function splitForward(
  recorder: Recorder,
  operands: CachedAttention,
  capacity: number,
  chunk: number,
): void {
  const { qkv, cache, layout, o } = operands;
  const { heads, kvHeads, headSize } = layout;
  const chunks = workgroups(capacity, chunk);
  const parts = recorder.transient("attention.parts", "f32", [chunks, heads, headSize]);
  const sums = recorder.transient("attention.sums", "f32", [chunks, heads, 2]);
  const { keys, values, scales } = cache;
  const shared = {
    types: { Act: qkv.dtype, Quad: cacheQuad(cache) },
    constants: { CHUNK: chunk },
    params: {
      rows: 1,
      ...layoutParams(layout),
      capacity,
      ...viewParams(layout, operands),
      lanes: LANES,
    },
  };
  const shader = shaders[cache.storage];
  recorder.dispatch(shader, {
    ...shared,
    entry: "part",
    buffers: {
      qkv,
      keys,
      values,
      parts,
      sums,
      ...(scales && { key_scales: scales.keys, value_scales: scales.values }),
    },
    grid: [chunks, kvHeads * workgroups(heads / kvHeads, HEADS)],
    flops: 4 * Math.min(capacity, operands.window ?? capacity) * heads * headSize,
  });
  recorder.dispatch(shader, {
    ...shared,
    entry: "join",
    buffers: { parts, sums, o },
    grid: [heads],
    flops: 2 * chunks * heads * headSize,
  });
}

function chunkOf(choice: string | undefined): number | undefined {
  return CHUNKS.find((chunk) => choice === `split ${chunk}`);
}

/** Tokens that a trial's cache holds, all of which are seen: a conversation of some length. */
const TRIAL_TOKENS = 2048;

export const ATTENTION_DECODE_TUNABLE: Tunable = {
  slot: ATTENTION_DECODE_SLOT,
  use: "generation",
  // The few threads of a CPU have enough to do with a head each.
  candidates: ({ info }) =>
    info.isFallbackAdapter ? ["whole"] : ["whole", ...CHUNKS.map((chunk) => `split ${chunk}`)],
  trial(gpu, { heads, kvHeads, headSize, act }) {
    const width = kvHeads * headSize;
    const shape = { capacity: TRIAL_TOKENS, width, kvHeads, act };
    const cache = allocateCache(gpu, "trial", "native", shape);
    const stride = heads * headSize + 2 * width;
    const qkv = gpu.allocate("trial.qkv", act, [1, stride]);
    const o = gpu.allocate("trial.o", act, [1, heads * headSize]);
    const tensors: StoredTensor[] = [...cacheTensors(cache), qkv, o];
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
      step: { position: TRIAL_TOKENS - 1, rows: 1 },
      tensors,
      record: (recorder) => attentionCached(recorder, { qkv, cache, layout, o }),
      results: [o],
      // Sums in another order, and one rounding to the type of activations.
      tolerance: act === "f16" ? 2 ** -9 : 2 ** -14,
    };
  },
};
