// What attention over a cache is given, in all its variants, and how their shaders are told.
import common from "../../shaders/lib/attention-heads.wgsl?raw";
import cachedRows from "../../shaders/lib/attention-cached-rows.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import type { Shader } from "../gpu/kernel.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import {
  type AttentionLayout,
  type AttentionView,
  LAYOUT_PARAMS,
  layoutParams,
  viewParams,
} from "./attention-layout.ts";
import {
  byStorage,
  CACHE_SOURCES,
  cacheBuffers,
  cacheQuad,
  type CacheStorage,
  checkCache,
  type KvCache,
} from "./kv-cache.ts";

export interface CachedAttention extends AttentionView {
  /** f32 or f16 [rows, layout.stride]: the new tokens, of which step.rows are real; queries alone are read. */
  readonly qkv: Tensor;
  readonly cache: KvCache;
  readonly layout: AttentionLayout;
  /** As qkv's type, [rows, heads · headSize]; zero from row step.rows on. */
  readonly o: Tensor;
}

/** Bindings as shaders/lib/attention-cached-rows.wgsl counts them, and those that come after. */
const BINDINGS = {
  qkv: "read",
  keys: "read",
  values: "read",
  o: "read_write",
  key_scales: "read",
  value_scales: "read",
  parts: "read_write",
  sums: "read_write",
} as const;

/** Fields of `Params` in the same file. */
const PARAMS = {
  rows: "u32",
  ...LAYOUT_PARAMS,
  capacity: "u32",
  scale: "f32",
  window: "u32",
} as const;

export type CachedShader = Shader<keyof typeof BINDINGS, keyof typeof PARAMS>;

/** A kernel over each kind of cache; `source` comes after the text that says where keys and values are. */
export function cachedShaders(
  label: string,
  source: readonly string[],
  enables: readonly string[] = [],
): Readonly<Record<CacheStorage, CachedShader>> {
  return byStorage((storage) => {
    const { widen, scales } = CACHE_SOURCES[storage];
    return {
      label: storage === "native" ? label : `${label}-${storage}`,
      source: [step, widen, scales, common, cachedRows, ...source],
      bindings: BINDINGS,
      params: PARAMS,
      usesStep: true,
      enables,
    };
  });
}

/** Checks the shapes. What all variants are dispatched with, and their results besides. */
export function cachedCall(operands: CachedAttention) {
  const { qkv, cache, layout, o, window } = operands;
  const { heads, headSize, stride } = layout;
  const [rows] = matrixShape(qkv);
  requireShape("attentionCached", qkv, qkv.dtype, [rows, stride], qkv);
  requireShape("attentionCached", o, qkv.dtype, [rows, heads * headSize], qkv);
  const capacity = checkCache("attentionCached", qkv, cache, layout);
  return {
    types: { Act: qkv.dtype, Quad: cacheQuad(cache) },
    buffers: { qkv, ...cacheBuffers(cache) },
    params: { rows, ...layoutParams(layout), capacity, ...viewParams(layout, operands) },
    flops: 4 * rows * Math.min(capacity, window ?? capacity) * heads * headSize,
  };
}
