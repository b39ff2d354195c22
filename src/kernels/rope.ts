// Rotary positions: turns pairs of a head's dimensions by an angle that grows with the position.
import grid from "../../shaders/lib/grid.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import rope from "../../shaders/rope.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import { type AttentionLayout, layoutParams, LAYOUT_PARAMS } from "./attention-layout.ts";

const THREADS = 64;

const shader = {
  label: "rope",
  source: [grid, step, rope],
  bindings: { qkv: "read_write", positions: "read", table: "read" },
  params: {
    tokens: "u32",
    ...LAYOUT_PARAMS,
    angles: "u32",
    pairs: "u32",
  },
  usesStep: true,
} as const satisfies Shader<string, string>;

/**
 * The cosines and sines of every angle, f32 [positions, rotary], with two rotary dimensions for each
 * frequency: a row is rotary / 2 cosines, then as many sines. Computed in f64, since at position 100,000
 * an f32 angle is off by 0.004 radians.
 *
 * @param inverseFrequencies radians per position, one for each pair of dimensions
 * @param scale multiplies cosines and sines alike: longrope's attention factor
 */
export function ropeTable(
  inverseFrequencies: ArrayLike<number>,
  positions: number,
  scale = 1,
): Float32Array<ArrayBuffer> {
  const pairs = inverseFrequencies.length;
  const table = new Float32Array(positions * 2 * pairs);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = position * (inverseFrequencies[pair] ?? 0);
      table[(position * 2 + 0) * pairs + pair] = scale * Math.cos(angle);
      table[(position * 2 + 1) * pairs + pair] = scale * Math.sin(angle);
    }
  }
  return table;
}

export interface RopeOperands {
  /** f32 or f16 [tokens, layout.stride]. Its query and key heads are turned in place. */
  readonly qkv: Tensor;
  /** u32 [tokens]. */
  readonly positions: Tensor;
  /** f32 [positions, rotary], by `ropeTable`, rotary ≤ headSize. Positions past its end use its last row. */
  readonly table: Tensor;
  readonly layout: AttentionLayout;
  /** Whether step.position is added to every position, as when a cache holds what came before. */
  readonly usesStepPosition?: boolean;
}

/**
 * Turns dimensions i and i + rotary / 2 of every query and key head by position · frequency[i], for
 * i < rotary / 2. Dimensions from `rotary` on stay as they are.
 */
export function ropeForward(recorder: Recorder, operands: RopeOperands): void {
  turn(recorder, "forward", operands);
}

/** The gradient of `ropeForward`, in place on the gradient of qkv: the same turn (and scale) the other way. */
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
  const [angles, rotary] = matrixShape(table);
  invariant(
    rotary % 2 === 0 && rotary <= headSize,
    () => `rope: ${table.label} turns ${rotary} dimensions of a head of ${headSize}`,
  );
  requireShape("rope", qkv, qkv.dtype, [tokens, layout.stride], qkv);
  requireShape("rope", positions, "u32", [1, tokens], qkv);
  requireShape("rope", table, "f32", [angles, rotary], qkv);

  const pairs = rotary / 2;
  const turns = tokens * (heads + kvHeads) * pairs;
  recorder.dispatch(shader, {
    entry,
    types: { Act: qkv.dtype },
    constants: { USE_STEP_POSITION: usesStepPosition },
    buffers: { qkv, positions, table },
    params: { tokens, ...layoutParams(layout), angles, pairs },
    grid: foldGrid(workgroups(turns, THREADS)),
    flops: 6 * turns,
  });
}
