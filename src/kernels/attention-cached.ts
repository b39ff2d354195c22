// Attention over a cache of keys and values, for generating one token after another.
import attentionCached from "../../shaders/attention-cached.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import {
  type AttentionLayout,
  type AttentionView,
  layoutParams,
  viewParams,
  LAYOUT_PARAMS,
} from "./attention.ts";

const THREADS = 64;

const shader = {
  label: "attention-cached",
  source: [grid, step, attentionCached],
  bindings: { qkv: "read", keys: "read_write", values: "read_write", o: "read_write" },
  params: {
    rows: "u32",
    ...LAYOUT_PARAMS,
    capacity: "u32",
    scale: "f32",
    window: "u32",
  },
  usesStep: true,
} as const satisfies Shader<string, string>;

interface CachedAttentionOperands {
  /** f32 or f16 [rows, layout.stride]: the new tokens, of which step.rows are real. */
  readonly qkv: Tensor;
  /** As qkv's type, [capacity, kvHeads · headSize]. */
  readonly keys: Tensor;
  /** As keys. */
  readonly values: Tensor;
  readonly layout: AttentionLayout;
}

/** Copies keys and values of rows 0 … step.rows − 1 of qkv into the caches from row step.position on. */
export function attentionCachedAppend(recorder: Recorder, operands: CachedAttentionOperands): void {
  const { qkv, keys, values, layout } = operands;
  const [rows, capacity] = checkCache("attentionCachedAppend", operands);
  const quads = rows * layout.kvHeads * (layout.headSize / 4);
  recorder.dispatch(shader, {
    entry: "append",
    types: { Act: qkv.dtype },
    buffers: { qkv, keys, values },
    params: paramsFor(rows, capacity, layout, {}),
    grid: foldGrid(workgroups(quads, THREADS)),
  });
}

/**
 * o = softmax(scale · q · kᵀ) · v, where the query of row t sees cache rows 0 … step.position + t, of
 * these the last `window`.
 *
 *   o  as qkv's type  [rows, heads · headSize]; zero from row step.rows on
 *
 * The new keys and values must have been appended.
 */
export function attentionCachedForward(
  recorder: Recorder,
  operands: CachedAttentionOperands & AttentionView & { readonly o: Tensor },
): void {
  const { qkv, keys, values, layout, o } = operands;
  const { heads, headSize } = layout;
  const [rows, capacity] = checkCache("attentionCachedForward", operands);
  requireShape("attentionCachedForward", o, qkv.dtype, [rows, heads * headSize], qkv);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: qkv.dtype },
    buffers: { qkv, keys, values, o },
    params: paramsFor(rows, capacity, layout, operands),
    grid: foldGrid(rows * heads),
    flops: 4 * rows * Math.min(capacity, operands.window ?? capacity) * heads * headSize,
  });
}

function paramsFor(rows: number, capacity: number, layout: AttentionLayout, view: AttentionView) {
  return { rows, ...layoutParams(layout), capacity, ...viewParams(layout, view) };
}

function checkCache(
  kernel: string,
  { qkv, keys, values, layout }: CachedAttentionOperands,
): [rows: number, capacity: number] {
  const [rows] = matrixShape(qkv);
  const [capacity] = matrixShape(keys);
  requireShape(kernel, qkv, qkv.dtype, [rows, layout.stride], qkv);
  requireShape(kernel, keys, qkv.dtype, [capacity, layout.kvHeads * layout.headSize], qkv);
  requireShape(kernel, values, qkv.dtype, matrixShape(keys), keys);
  return [rows, capacity];
}
