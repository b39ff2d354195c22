// Attention over a cache of keys and values, for generating one token after another.
import attentionCached from "../../shaders/attention-cached.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { foldGrid, type Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import {
  type AttentionLayout,
  type AttentionView,
  LAYOUT_PARAMS,
  layoutParams,
  viewParams,
} from "./attention-layout.ts";
import {
  CACHE_SOURCES,
  cacheQuad,
  type CacheStorage,
  checkCache,
  type KvCache,
} from "./kv-cache.ts";

function shaderOf(storage: CacheStorage) {
  const { widen, scales } = CACHE_SOURCES[storage];
  return {
    label: storage === "native" ? "attention-cached" : `attention-cached-${storage}`,
    source: [grid, step, widen, scales, attentionCached],
    bindings: {
      qkv: "read",
      keys: "read",
      values: "read",
      o: "read_write",
      key_scales: "read",
      value_scales: "read",
    },
    params: {
      rows: "u32",
      ...LAYOUT_PARAMS,
      capacity: "u32",
      scale: "f32",
      window: "u32",
    },
    usesStep: true,
  } as const satisfies Shader<string, string>;
}

const shaders = {
  native: shaderOf("native"),
  f16: shaderOf("f16"),
  int8: shaderOf("int8"),
} as const;

export interface CachedAttention extends AttentionView {
  /** f32 or f16 [rows, layout.stride]: the new tokens, of which step.rows are real; queries alone are read. */
  readonly qkv: Tensor;
  readonly cache: KvCache;
  readonly layout: AttentionLayout;
  /** As qkv's type, [rows, heads · headSize]; zero from row step.rows on. */
  readonly o: Tensor;
}

/**
 * o = softmax(scale · q · kᵀ) · v, where the query of row t sees cache rows 0 … step.position + t, of
 * these the last `window`. The new keys and values must have been appended.
 */
export function attentionCachedForward(recorder: Recorder, operands: CachedAttention): void {
  const { qkv, cache, layout, o } = operands;
  const { heads, headSize } = layout;
  const [rows] = matrixShape(qkv);
  requireShape("attentionCachedForward", qkv, qkv.dtype, [rows, layout.stride], qkv);
  requireShape("attentionCachedForward", o, qkv.dtype, [rows, heads * headSize], qkv);
  const capacity = checkCache("attentionCachedForward", qkv, cache, layout);
  const { keys, values, scales } = cache;
  recorder.dispatch(shaders[cache.storage], {
    entry: "forward",
    types: { Act: qkv.dtype, Quad: cacheQuad(cache) },
    buffers: {
      qkv,
      keys,
      values,
      o,
      ...(scales && { key_scales: scales.keys, value_scales: scales.values }),
    },
    params: { rows, ...layoutParams(layout), capacity, ...viewParams(layout, operands) },
    grid: foldGrid(rows * heads),
    flops: 4 * rows * Math.min(capacity, operands.window ?? capacity) * heads * headSize,
  });
}
