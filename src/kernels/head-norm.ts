// Root-mean-square normalization of every query and key head by itself, as Qwen3 and Gemma 3 have it
// between the fused qkv map and the rotary positions. The weights are frozen.
import headNorm from "../../shaders/head-norm.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import { type AttentionLayout, layoutParams, LAYOUT_PARAMS } from "./attention.ts";

// Heads of one workgroup.
const TEAMS = 8;

const shader = {
  label: "head-norm",
  source: [grid, headNorm],
  bindings: {
    x: "read",
    y: "read_write",
    query_weight: "read",
    key_weight: "read",
    dy: "read_write",
  },
  params: {
    tokens: "u32",
    ...LAYOUT_PARAMS,
    epsilon: "f32",
  },
} as const satisfies Shader<string, string>;

interface HeadNormOperands {
  /** f32 or f16 [tokens, layout.stride], as the qkv map made it. */
  readonly x: Tensor;
  /** f32 [headSize], of all query heads. */
  readonly queryWeight: Tensor;
  /** f32 [headSize], of all key heads. */
  readonly keyWeight: Tensor;
  readonly layout: AttentionLayout;
  readonly epsilon: number;
}

/**
 * y = x / √(mean(x²) + ε) · weight over each query and key head; values are copied.
 *
 *   y  as x, not x itself; columns of no head are not written
 */
export function headNormForward(
  recorder: Recorder,
  operands: HeadNormOperands & { readonly y: Tensor },
): void {
  const { x, y, layout } = operands;
  const tokens = checkHeads("headNormForward", operands, y);
  const heads = tokens * (layout.heads + 2 * layout.kvHeads);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: x.dtype },
    buffers: { x, y, query_weight: operands.queryWeight, key_weight: operands.keyWeight },
    params: { tokens, ...layoutParams(layout), epsilon: operands.epsilon },
    grid: foldGrid(workgroups(heads, TEAMS)),
    flops: 4 * heads * layout.headSize,
  });
}

/**
 * The gradient of `headNormForward` with respect to x, in place on that of y: query and key columns are
 * overwritten, values need nothing.
 *
 *   dy  as x, not x itself
 */
export function headNormBackward(
  recorder: Recorder,
  operands: HeadNormOperands & { readonly dy: Tensor },
): void {
  const { x, dy, layout } = operands;
  const tokens = checkHeads("headNormBackward", operands, dy);
  const heads = tokens * (layout.heads + layout.kvHeads);
  recorder.dispatch(shader, {
    entry: "backward",
    types: { Act: x.dtype },
    buffers: { x, query_weight: operands.queryWeight, key_weight: operands.keyWeight, dy },
    params: { tokens, ...layoutParams(layout), epsilon: operands.epsilon },
    grid: foldGrid(workgroups(heads, TEAMS)),
    flops: 9 * heads * layout.headSize,
  });
}

/** The tokens, once x, the weights and `part`, y or dy, are known to fit. */
function checkHeads(kernel: string, operands: HeadNormOperands, part: Tensor): number {
  const { x, queryWeight, keyWeight, layout } = operands;
  const [tokens] = matrixShape(x);
  requireShape(kernel, x, x.dtype, [tokens, layout.stride], x);
  requireShape(kernel, part, x.dtype, [tokens, layout.stride], x);
  requireShape(kernel, queryWeight, "f32", [1, layout.headSize], x);
  requireShape(kernel, keyWeight, "f32", [1, layout.headSize], x);
  invariant(part !== x, () => `${kernel}: ${x.label} is both read and written`);
  return tokens;
}
