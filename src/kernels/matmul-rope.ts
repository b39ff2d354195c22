// Rotary positions that a product turns queries and keys by where it stores them.
import { invariant } from "../base/error.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import type { AttentionLayout } from "./attention-layout.ts";

/** Rotary positions of the queries and keys in y. */
export interface RopeTurn {
  /** u32 [rows of y]. */
  readonly positions: Tensor;
  /** f32 [positions, rotary], by `ropeTable`, rotary ≤ headSize. Positions past its end use its last row. */
  readonly table: Tensor;
  /** Of y. */
  readonly layout: AttentionLayout;
  /** Whether step.position is added to every position. */
  readonly usesStepPosition?: boolean;
}

/**
 * Whether the queries and keys of y can be turned where y is stored: every head takes the same number of
 * pairs of neighbors, and heads of values follow all others, or all others of their group.
 */
export function turnsInEpilogue({ table, layout }: RopeTurn): boolean {
  const [, rotary] = matrixShape(table);
  return rotary % 4 === 0 && turnedHeads(layout) !== undefined;
}

/** Of every `period` columns the first `turned` are heads of queries or keys; undefined if that is not so. */
function turnedHeads(layout: AttentionLayout): { period: number; turned: number } | undefined {
  const { heads, kvHeads, headSize, stride, qGroupStride, kBase, vBase, kStride } = layout;
  const group = heads / kvHeads;
  const isSplit =
    qGroupStride === group * headSize &&
    kBase === heads * headSize &&
    vBase === (heads + kvHeads) * headSize &&
    kStride === headSize &&
    stride === (heads + 2 * kvHeads) * headSize;
  if (isSplit) return { period: stride, turned: vBase };
  const period = (group + 2) * headSize;
  const isGrouped =
    qGroupStride === period &&
    kStride === period &&
    kBase === group * headSize &&
    vBase === (group + 1) * headSize;
  return isGrouped ? { period, turned: vBase } : undefined;
}

/** The fields of a shader's parameters that say which columns are turned. */
export function ropeParams(rope: RopeTurn | undefined) {
  if (!rope) return { head_size: 0, head_period: 0, turned: 0, pairs: 0, angles: 0 };
  const [angles, rotary] = matrixShape(rope.table);
  const heads = turnedHeads(rope.layout);
  invariant(heads !== undefined, () => `matmul: ${rope.table.label} turns heads that are mixed`);
  return {
    head_size: rope.layout.headSize,
    head_period: heads.period,
    turned: heads.turned,
    pairs: rotary / 2,
    angles,
  };
}

/** Checks that a turn is one of all of y's rows. */
export function checkRope({ positions, table, layout }: RopeTurn, y: Tensor): void {
  const [yRows] = matrixShape(y);
  const [angles, rotary] = matrixShape(table);
  invariant(
    rotary % 2 === 0 && rotary <= layout.headSize,
    () => `matmul: ${table.label} turns ${rotary} dimensions of a head of ${layout.headSize}`,
  );
  requireShape("matmul", positions, "u32", [1, yRows], y);
  requireShape("matmul", table, "f32", [angles, rotary], y);
}
