// Root-mean-square normalization of every query and key head by itself, as Qwen3 and Gemma 3 have it
// between the fused qkv map and the rotary positions, and those in the same dispatch. The weights are frozen.
import headNorm from "../../shaders/head-norm.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import { ropeBackward, ropeForward, type RopeOperands } from "./rope.ts";
import { type AttentionLayout, LAYOUT_PARAMS, layoutParams } from "./attention-layout.ts";

// Heads of one workgroup.
const TEAMS = 8;

const shader = {
  label: "head-norm",
  source: [grid, step, headNorm],
  bindings: {
    x: "read",
    y: "read_write",
    query_weight: "read",
    key_weight: "read",
    dy: "read_write",
    positions: "read",
    table: "read",
  },
  params: {
    tokens: "u32",
    ...LAYOUT_PARAMS,
    epsilon: "f32",
    pair_quads: "u32",
    angles: "u32",
  },
  usesStep: true,
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
  /** How the normed heads are turned; not at all, if not given. */
  readonly rope?: HeadTurn | undefined;
}

/** As of `ropeForward`. */
export type HeadTurn = Pick<RopeOperands, "positions" | "table" | "usesStepPosition">;

/**
 * y = x / √(mean(x²) + ε) · weight over each query and key head, turned; values are copied.
 *
 *   y  as x, not x itself; columns of no head are not written
 */
export function headNormForward(
  recorder: Recorder,
  operands: HeadNormOperands & { readonly y: Tensor },
): void {
  const { x, y, layout, rope } = operands;
  if (rope && !turnsWithin(rope)) {
    headNormForward(recorder, { ...operands, rope: undefined });
    ropeForward(recorder, { qkv: y, layout, ...rope });
    return;
  }
  const tokens = checkHeads("headNormForward", operands, y);
  const heads = tokens * (layout.heads + 2 * layout.kvHeads);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: x.dtype },
    constants: { USE_STEP_POSITION: operands.rope?.usesStepPosition ?? false },
    buffers: { ...buffersOf(operands), y },
    params: paramsOf(tokens, operands),
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
  const { x, dy, layout, rope } = operands;
  if (rope && !turnsWithin(rope)) {
    ropeBackward(recorder, { qkv: dy, layout, ...rope });
    headNormBackward(recorder, { ...operands, rope: undefined });
    return;
  }
  const tokens = checkHeads("headNormBackward", operands, dy);
  const heads = tokens * (layout.heads + layout.kvHeads);
  recorder.dispatch(shader, {
    entry: "backward",
    types: { Act: x.dtype },
    constants: { USE_STEP_POSITION: operands.rope?.usesStepPosition ?? false },
    buffers: { ...buffersOf(operands), dy },
    params: paramsOf(tokens, operands),
    grid: foldGrid(workgroups(heads, TEAMS)),
    flops: 9 * heads * layout.headSize,
  });
}

/** Whether the halves of what turns begin on multiples of four, as vectors do. */
function turnsWithin({ table }: HeadTurn): boolean {
  return matrixShape(table)[1] % 8 === 0;
}

function buffersOf({ x, queryWeight, keyWeight, rope }: HeadNormOperands) {
  // The shader names positions and table even where it does not read them; any memory will do.
  const turn = { positions: rope?.positions ?? queryWeight, table: rope?.table ?? queryWeight };
  return { x, query_weight: queryWeight, key_weight: keyWeight, ...turn };
}

function paramsOf(tokens: number, { layout, epsilon, rope }: HeadNormOperands) {
  const [angles, rotary] = rope ? matrixShape(rope.table) : [0, 0];
  return { tokens, ...layoutParams(layout), epsilon, pair_quads: rotary / 8, angles };
}

/** The tokens, once x, the weights and `part`, y or dy, are known to fit. */
function checkHeads(kernel: string, operands: HeadNormOperands, part: Tensor): number {
  const { x, queryWeight, keyWeight, layout, rope } = operands;
  const [tokens] = matrixShape(x);
  requireShape(kernel, x, x.dtype, [tokens, layout.stride], x);
  requireShape(kernel, part, x.dtype, [tokens, layout.stride], x);
  requireShape(kernel, queryWeight, "f32", [1, layout.headSize], x);
  requireShape(kernel, keyWeight, "f32", [1, layout.headSize], x);
  if (rope) {
    const [angles, rotary] = matrixShape(rope.table);
    requireShape(kernel, rope.positions, "u32", [1, tokens], x);
    requireShape(kernel, rope.table, "f32", [angles, Math.min(rotary, layout.headSize)], x);
  }
  invariant(part !== x, () => `${kernel}: ${x.label} is both read and written`);
  return tokens;
}
