// Rotary positions: turns pairs of a head's dimensions by an angle that grows with the position.
import grid from "../../shaders/lib/grid.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import rope from "../../shaders/rope.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import { type AttentionLayout, layoutParams } from "./attention.ts";

const THREADS = 64;

const shader = {
  label: "rope",
  source: [grid, step, rope],
  bindings: { qkv: "read_write", positions: "read", table: "read" },
  params: {
    tokens: "u32",
    heads: "u32",
    kv_heads: "u32",
    stride: "u32",
    q_group_stride: "u32",
    k_base: "u32",
    v_base: "u32",
    kv_stride: "u32",
    head_quads: "u32",
    angles: "u32",
  },
  usesStep: true,
} as const satisfies Shader<string, string>;

/**
 * The cosines and sines of every angle, f32 [positions, headSize]: a row is headSize / 2 cosines, then
 * as many sines. Computed in f64, since at position 100,000 an f32 angle is off by 0.004 radians.
 *
 * @param inverseFrequencies radians per position, one for each pair of dimensions
 */
export function ropeTable(
  inverseFrequencies: ArrayLike<number>,
  positions: number,
): Float32Array<ArrayBuffer> {
  const pairs = inverseFrequencies.length;
  const table = new Float32Array(positions * 2 * pairs);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = position * (inverseFrequencies[pair] ?? 0);
      table[(position * 2 + 0) * pairs + pair] = Math.cos(angle);
      table[(position * 2 + 1) * pairs + pair] = Math.sin(angle);
    }
  }
  return table;
}

interface RopeOperands {
  /** f32 or f16 [tokens, layout.stride]. Its query and key heads are turned in place. */
  readonly qkv: Tensor;
  /** u32 [tokens]. */
  readonly positions: Tensor;
  /** f32 [positions, headSize], by `ropeTable`. Positions past its end use its last row. */
  readonly table: Tensor;
  readonly layout: AttentionLayout;
  /** Whether step.position is added to every position, as when a cache holds what came before. */
  readonly usesStepPosition?: boolean;
}

/** Turns dimensions i and i + headSize / 2 of every query and key head by position · frequency[i]. */
export function ropeForward(recorder: Recorder, operands: RopeOperands): void {
  turn(recorder, "forward", operands);
}

/** The gradient of `ropeForward`, in place on the gradient of qkv: the same turn the other way. */
export function ropeBackward(recorder: Recorder, operands: RopeOperands): void {
  turn(recorder, "backward", operands);
}

function turn(
  recorder: Recorder,
  entry: "forward" | "backward",
  { qkv, positions, table, layout, usesStepPosition = false }: RopeOperands,
): void {
  const { heads, kvHeads, headSize } = layout;
  const [tokens] = matrixShape(qkv);
  const [angles] = matrixShape(table);
  invariant(headSize % 2 === 0, () => `rope: a head of ${headSize} dimensions has no pairs`);
  requireShape("rope", qkv, qkv.dtype, [tokens, layout.stride], qkv);
  requireShape("rope", positions, "u32", [1, tokens], qkv);
  requireShape("rope", table, "f32", [angles, headSize], qkv);

  const pairs = tokens * (heads + kvHeads) * (headSize / 2);
  recorder.dispatch(shader, {
    entry,
    types: { Act: qkv.dtype },
    constants: { USE_STEP_POSITION: usesStepPosition },
    buffers: { qkv, positions, table },
    params: { tokens, ...layoutParams(layout), angles },
    grid: foldGrid(workgroups(pairs, THREADS)),
    flops: 6 * pairs,
  });
}
