// What training's attention kernels are given, forward and backward, in all their variants.
import common from "../../shaders/lib/attention-heads.wgsl?raw";
import rows from "../../shaders/lib/attention-rows.wgsl?raw";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import {
  type AttentionLayout,
  type AttentionView,
  layoutParams,
  LAYOUT_PARAMS,
  NO_WINDOW,
  viewParams,
} from "./attention-layout.ts";

/** What forward and backward share; backward needs the window and scale of forward. */
export interface AttentionOperands extends AttentionView {
  /** f32 or f16 [tokens, layout.stride]. */
  readonly qkv: Tensor;
  /** u32 [tokens], non-decreasing: query i sees keys segmentStart[i] … i, of these the last `window`. */
  readonly segmentStart: Tensor;
  /** As qkv's type, [tokens, heads · headSize]. */
  readonly o: Tensor;
  /** f32 [2, tokens, heads]: log of the softmax's sum; behind it room for the backward pass. */
  readonly lse: Tensor;
  readonly layout: AttentionLayout;
}

/** How queries and keys were turned by `ropeForward`, after which attention saw them. */
export interface RopeOfHeads {
  /** u32 [tokens]. */
  readonly positions: Tensor;
  /** f32 [positions, rotary], by `ropeTable`. */
  readonly table: Tensor;
}

export interface AttentionGradients extends AttentionOperands {
  /** As o. */
  readonly dO: Tensor;
  /** As qkv. */
  readonly dqkv: Tensor;
  /** If given, the gradients are turned back: they are those of what `ropeForward` was given. */
  readonly rope?: RopeOfHeads | undefined;
}

/** What their shaders begin with: where heads lie, and which keys a query sees. */
export const ROWS_SOURCE = [common, rows] as const;

/** Bindings of forward shaders, as shaders/lib/attention-rows.wgsl counts them. */
export const FORWARD_BINDINGS = {
  qkv: "read",
  segment_start: "read",
  d_o: "read",
  o: "read_write",
  lse: "read_write",
} as const;

/** The same of backward shaders. */
export const BACKWARD_BINDINGS = {
  qkv: "read",
  segment_start: "read",
  d_o: "read",
  o: "read",
  lse: "read_write",
  d_qkv: "read_write",
  positions: "read",
  table: "read",
} as const;

/** Fields of `Params` in shaders/lib/attention-rows.wgsl. */
export const ATTENTION_PARAMS = {
  tokens: "u32",
  ...LAYOUT_PARAMS,
  scale: "f32",
  window: "u32",
  half_quads: "u32",
  angles: "u32",
} as const;

/** The parameters of a dispatch; `table` is that of rotary positions, if the shader turns heads back. */
export function attentionParams(
  tokens: number,
  layout: AttentionLayout,
  view: AttentionView,
  table?: Tensor,
) {
  const [angles, rotary] = table ? matrixShape(table) : [0, 0];
  const turning = { half_quads: rotary / 8, angles };
  return { tokens, ...layoutParams(layout), ...viewParams(layout, view), ...turning };
}

/** Pairs of a query and a key it sees, if all is one document. */
export function pairsOf(tokens: number, { window = NO_WINDOW }: AttentionView): number {
  const seen = Math.min(window, tokens);
  return tokens * seen - (seen * seen) / 2;
}

/** Checks the shapes and returns the number of tokens. */
export function checkOperands(
  kernel: string,
  { qkv, segmentStart, o, lse, layout }: AttentionOperands,
): number {
  const { heads, headSize, stride } = layout;
  const [tokens] = matrixShape(qkv);
  requireShape(kernel, qkv, qkv.dtype, [tokens, stride], qkv);
  requireShape(kernel, segmentStart, "u32", [1, tokens], qkv);
  requireShape(kernel, o, qkv.dtype, [tokens, heads * headSize], qkv);
  requireShape(kernel, lse, "f32", [2 * tokens, heads], qkv);
  return tokens;
}

/** The same for the backward pass. */
export function checkGradients(kernel: string, operands: AttentionGradients): number {
  const { qkv, layout, dO, dqkv, rope } = operands;
  const tokens = checkOperands(kernel, operands);
  requireShape(kernel, dO, qkv.dtype, [tokens, layout.heads * layout.headSize], qkv);
  requireShape(kernel, dqkv, qkv.dtype, [tokens, layout.stride], qkv);
  if (rope) requireShape(kernel, rope.positions, "u32", [1, tokens], qkv);
  return tokens;
}
