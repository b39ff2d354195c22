// Causal grouped-query attention within documents, forward and backward, without a matrix of scores.
import attention from "../../shaders/attention.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";

/**
 * Where the heads lie in a row of qkv. Query head h starts at column
 * ⌊h / group⌋ · qGroupStride + (h mod group) · headSize, with group = heads / kvHeads; key head g at
 * kBase + g · kStride; value head g at vBase + g · kStride. All are multiples of 4.
 */
export interface AttentionLayout {
  readonly heads: number;
  readonly kvHeads: number;
  /** From 4 to 256, a multiple of 4. */
  readonly headSize: number;
  /** Columns of a row of qkv. */
  readonly stride: number;
  readonly qGroupStride: number;
  readonly kBase: number;
  readonly vBase: number;
  readonly kStride: number;
}

const THREADS = 64;
// Rows of one workgroup, of either side.
const TILE = 32;
// Dimensions of a head that a workgroup sums in one slot of registers.
const SLOT_DIMENSIONS = 32;
// Slots a thread has registers for. A longer head takes more workgroups, each with scores of its own.
const MAX_SLOTS = 4;
const MAX_KEY_SLOTS = 2; // for dk and dv each

/** More keys than there are: a query sees all of its document. */
const NO_WINDOW = 0xffff_ffff;

/** How shaders are told of an `AttentionLayout`: part of their params, in this order. */
export const LAYOUT_PARAMS = {
  heads: "u32",
  kv_heads: "u32",
  stride: "u32",
  q_group_stride: "u32",
  k_base: "u32",
  v_base: "u32",
  kv_stride: "u32",
  head_quads: "u32",
} as const;

const shader = {
  label: "attention",
  source: [grid, attention],
  bindings: {
    qkv: "read",
    segment_start: "read",
    d_o: "read",
    o: "read_write",
    lse: "read_write",
    row_dot: "read_write",
    d_qkv: "read_write",
  },
  params: {
    tokens: "u32",
    ...LAYOUT_PARAMS,
    scale: "f32",
    window: "u32",
  },
} as const satisfies Shader<string, string>;

/** What a query sees, and how sharply. */
export interface AttentionView {
  /** How many keys a query sees at most, itself included: those within its document and no further back. */
  readonly window?: number | undefined;
  /** What q · k is multiplied by; 1 / √headSize if not given. */
  readonly scale?: number | undefined;
}

/** What forward and backward share; backward needs the window and scale of forward. */
interface AttentionOperands extends AttentionView {
  /** f32 or f16 [tokens, layout.stride]. */
  readonly qkv: Tensor;
  /** u32 [tokens], non-decreasing: query i sees keys segmentStart[i] … i, of these the last `window`. */
  readonly segmentStart: Tensor;
  /** f32 [tokens, heads]: log of the softmax's sum. */
  readonly lse: Tensor;
  readonly layout: AttentionLayout;
}

interface AttentionGradients extends AttentionOperands {
  /** As qkv's type, [tokens, heads · headSize]. */
  readonly dO: Tensor;
  /** f32 [tokens, heads], by `attentionRowDot`. */
  readonly rowDot: Tensor;
  /** As qkv. */
  readonly dqkv: Tensor;
}

/**
 * o = softmax(scale · q · kᵀ) · v for every query and head, and the log of each softmax's sum.
 *
 *   o    as qkv's type  [tokens, heads · headSize]
 *   lse  f32            [tokens, heads]
 */
export function attentionForward(
  recorder: Recorder,
  operands: AttentionOperands & { readonly o: Tensor },
): void {
  const { qkv, segmentStart, lse, layout, o } = operands;
  const { heads, headSize } = layout;
  const tokens = checkOperands("attentionForward", operands);
  requireShape("attentionForward", o, qkv.dtype, [tokens, heads * headSize], qkv);
  const slots = slotsFor(headSize, MAX_SLOTS);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: qkv.dtype },
    constants: { SLOTS: slots },
    buffers: { qkv, segment_start: segmentStart, o, lse },
    params: paramsFor(tokens, layout, operands),
    grid: [workgroups(tokens, TILE), heads, workgroups(headSize, slots * SLOT_DIMENSIONS)],
    flops: 4 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/**
 * rowDot = Σ dO ∘ o over each head of each token: what the backward passes subtract.
 *
 *   o, dO   f32 or f16  [tokens, heads · headSize]
 *   rowDot  f32         [tokens, heads]
 */
export function attentionRowDot(
  recorder: Recorder,
  { o, dO, rowDot, layout }: { o: Tensor; dO: Tensor; rowDot: Tensor; layout: AttentionLayout },
): void {
  const { heads, headSize } = layout;
  const [tokens] = matrixShape(o);
  requireShape("attentionRowDot", o, o.dtype, [tokens, heads * headSize], o);
  requireShape("attentionRowDot", dO, o.dtype, [tokens, heads * headSize], o);
  requireShape("attentionRowDot", rowDot, "f32", [tokens, heads], o);
  recorder.dispatch(shader, {
    entry: "row_dot_forward",
    types: { Act: o.dtype },
    constants: { SLOTS: 1 },
    buffers: { o, d_o: dO, row_dot: rowDot },
    params: paramsFor(tokens, layout, {}),
    grid: foldGrid(workgroups(tokens * heads, THREADS)),
    flops: 2 * tokens * heads * headSize,
  });
}

/** Writes the columns of dqkv that belong to keys and values. */
export function attentionBackwardKeys(recorder: Recorder, operands: AttentionGradients): void {
  const { qkv, segmentStart, lse, layout, dO, rowDot, dqkv } = operands;
  const { heads, kvHeads, headSize } = layout;
  const tokens = checkGradients("attentionBackwardKeys", operands);
  const slots = slotsFor(headSize, MAX_KEY_SLOTS);
  recorder.dispatch(shader, {
    entry: "backward_keys",
    types: { Act: qkv.dtype },
    constants: { SLOTS: slots },
    buffers: { qkv, segment_start: segmentStart, d_o: dO, lse, row_dot: rowDot, d_qkv: dqkv },
    params: paramsFor(tokens, layout, operands),
    grid: [workgroups(tokens, TILE), kvHeads, workgroups(headSize, slots * SLOT_DIMENSIONS)],
    flops: 8 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/** Writes the columns of dqkv that belong to queries. */
export function attentionBackwardQueries(recorder: Recorder, operands: AttentionGradients): void {
  const { qkv, segmentStart, lse, layout, dO, rowDot, dqkv } = operands;
  const { heads, headSize } = layout;
  const tokens = checkGradients("attentionBackwardQueries", operands);
  const slots = slotsFor(headSize, MAX_SLOTS);
  recorder.dispatch(shader, {
    entry: "backward_queries",
    types: { Act: qkv.dtype },
    constants: { SLOTS: slots },
    buffers: { qkv, segment_start: segmentStart, d_o: dO, lse, row_dot: rowDot, d_qkv: dqkv },
    params: paramsFor(tokens, layout, operands),
    grid: [workgroups(tokens, TILE), heads, workgroups(headSize, slots * SLOT_DIMENSIONS)],
    flops: 6 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/** The layout as shaders want it. */
export function layoutParams(layout: AttentionLayout) {
  const { heads, kvHeads, headSize, stride, qGroupStride, kBase, vBase, kStride } = layout;
  invariant(heads % kvHeads === 0, () => `attention: ${heads} heads over ${kvHeads} key heads`);
  invariant(
    headSize >= 4 && headSize <= 256,
    () => `attention: a head of ${headSize} dimensions, not of 4 to 256`,
  );
  invariant(
    [headSize, stride, qGroupStride, kBase, vBase, kStride].every((size) => size % 4 === 0),
    () => `attention: heads must start at multiples of 4: ${JSON.stringify(layout)}`,
  );
  return {
    heads,
    kv_heads: kvHeads,
    stride,
    q_group_stride: qGroupStride,
    k_base: kBase,
    v_base: vBase,
    kv_stride: kStride,
    head_quads: headSize / 4,
  };
}

/** How many slots each thread sums at once: 1, 2 or 4, to have few variants of the shader. */
function slotsFor(headSize: number, most: number): number {
  const needed = workgroups(headSize, SLOT_DIMENSIONS);
  return Math.min(needed < 3 ? needed : 4, most);
}

/** The view as shaders want it. */
export function viewParams(
  { headSize }: AttentionLayout,
  { window = NO_WINDOW, scale = 1 / Math.sqrt(headSize) }: AttentionView,
) {
  invariant(
    Number.isInteger(window) && window >= 1 && window <= NO_WINDOW,
    () => `attention: a window of ${window} keys`,
  );
  return { scale, window };
}

function paramsFor(tokens: number, layout: AttentionLayout, view: AttentionView) {
  return { tokens, ...layoutParams(layout), ...viewParams(layout, view) };
}

/** Pairs of a query and a key it sees, if all is one document. */
function pairsOf(tokens: number, { window = NO_WINDOW }: AttentionView): number {
  const seen = Math.min(window, tokens);
  return tokens * seen - (seen * seen) / 2;
}

function checkGradients(kernel: string, operands: AttentionGradients): number {
  const { qkv, layout, dO, rowDot, dqkv } = operands;
  const tokens = checkOperands(kernel, operands);
  requireShape(kernel, dO, qkv.dtype, [tokens, layout.heads * layout.headSize], qkv);
  requireShape(kernel, rowDot, "f32", [tokens, layout.heads], qkv);
  requireShape(kernel, dqkv, qkv.dtype, [tokens, layout.stride], qkv);
  return tokens;
}

function checkOperands(
  kernel: string,
  { qkv, segmentStart, lse, layout }: AttentionOperands,
): number {
  const [tokens] = matrixShape(qkv);
  requireShape(kernel, qkv, qkv.dtype, [tokens, layout.stride], qkv);
  requireShape(kernel, segmentStart, "u32", [1, tokens], qkv);
  requireShape(kernel, lse, "f32", [tokens, layout.heads], qkv);
  return tokens;
}
