// Root-mean-square normalization of rows, forward and backward. The weight is frozen.
import grid from "../../shaders/lib/grid.wgsl?raw";
import reduce from "../../shaders/lib/reduce.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import rmsNorm from "../../shaders/rms-norm.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";

const shader = {
  label: "rms-norm",
  source: [grid, step, reduce, rmsNorm],
  bindings: {
    x: "read",
    weight: "read",
    y: "read_write",
    dy: "read",
    dx: "read_write",
    residual: "read",
    row_of: "read",
  },
  params: {
    rows: "u32",
    listed_rows: "u32",
    quads: "u32",
    first_row: "u32",
    epsilon: "f32",
    has_residual: "u32",
  },
  usesStep: true,
} as const satisfies Shader<string, string>;

/**
 * y = x / √(mean(x²) + ε) · weight, over each row; plus `residual`, where it is given.
 *
 *   x         f32         [at least firstRow + rows, hidden]
 *   weight    f32         [hidden], a multiple of 4
 *   y         f32 or f16  [rows, hidden]
 *   residual  f32         as y, which is then f32 too; not y itself
 *   rowOf     u32         [rows]
 *
 * Row r of y is made from row firstRow + r of x. With firstRow "last", y is one row, made from row
 * step.rows − 1 of x. With rowOf, it is made from row rowOf[r], and zero where that is past the last row.
 */
export function rmsNormForward(
  recorder: Recorder,
  {
    x,
    weight,
    y,
    epsilon,
    firstRow = 0,
    residual,
    rowOf,
  }: {
    x: Tensor;
    weight: Tensor;
    y: Tensor;
    epsilon: number;
    firstRow?: number | "last";
    residual?: Tensor | undefined;
    rowOf?: Tensor | undefined;
  },
): void {
  const [rows, hidden] = checkRows("rmsNormForward", x, weight, y, firstRow);
  if (residual) {
    requireShape("rmsNormForward", y, "f32", [rows, hidden], residual);
    requireShape("rmsNormForward", residual, "f32", [rows, hidden], y);
    invariant(residual !== y, () => `rmsNormForward: ${y.label} cannot be its own residual`);
  }
  if (rowOf) requireShape("rmsNormForward", rowOf, "u32", [1, rows], y);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: y.dtype },
    constants: {
      LAST_ROW: firstRow === "last",
      LISTED: rowOf !== undefined,
      ACCUMULATE: false,
      ...lanesFor(hidden),
    },
    // The shader names residual and row_of even where it does not read them; any memory will do.
    buffers: { x, weight, y, residual: residual ?? x, row_of: rowOf ?? x },
    params: {
      rows,
      listed_rows: matrixShape(x)[0],
      quads: hidden / 4,
      first_row: firstRow === "last" ? 0 : firstRow,
      epsilon,
      has_residual: residual ? 1 : 0,
    },
    grid: foldGrid(rows),
    flops: 4 * rows * hidden,
  });
}

/**
 * dx += the gradient of `rmsNormForward` with respect to x. Adds, because dx is the gradient of the
 * residual stream, which goes around the norm as well as through it; with `accumulate` false, writes.
 *
 *   x       f32         [at least firstRow + rows, hidden]
 *   weight  f32         [hidden], a multiple of 4
 *   dy      f32 or f16  [rows, hidden]
 *   dx      f32         as x; rows firstRow … firstRow + rows − 1 are added to
 *   placeOf u32         [rows of x]: row t of x belongs to row placeOf[t] of dy, and to none where that is past
 *                       the last; dy may have fewer rows than x, and what of it belongs to no row is not read
 */
export function rmsNormBackward(
  recorder: Recorder,
  {
    x,
    weight,
    dy,
    dx,
    epsilon,
    accumulate = true,
    firstRow = 0,
    placeOf,
  }: {
    x: Tensor;
    weight: Tensor;
    dy: Tensor;
    dx: Tensor;
    epsilon: number;
    accumulate?: boolean;
    firstRow?: number;
    placeOf?: Tensor;
  },
): void {
  const [dyRows, hidden] = checkRows("rmsNormBackward", x, weight, dy, firstRow);
  const [xRows] = matrixShape(x);
  const rows = placeOf ? xRows : dyRows;
  if (placeOf) requireShape("rmsNormBackward", placeOf, "u32", [1, rows], x);
  requireShape("rmsNormBackward", dx, "f32", matrixShape(x), x);
  recorder.dispatch(shader, {
    entry: "backward",
    types: { Act: dy.dtype },
    constants: {
      LAST_ROW: false,
      LISTED: placeOf !== undefined,
      ACCUMULATE: accumulate,
      ...lanesFor(hidden),
    },
    // As in the forward pass.
    buffers: { x, weight, dy, dx, row_of: placeOf ?? x },
    params: {
      rows,
      listed_rows: placeOf ? dyRows : xRows,
      quads: hidden / 4,
      first_row: firstRow,
      epsilon,
      has_residual: 0,
    },
    grid: foldGrid(rows),
    flops: 9 * rows * hidden,
  });
}

/** Threads of a row's workgroup. A narrow row has no work for many, and each costs at the barriers. */
function lanesFor(hidden: number) {
  return hidden < 1024 ? { LANES: 16, LANES_ROOT: 4 } : { LANES: 64, LANES_ROOT: 8 };
}

/** The shape of `part`, y or dy, once x, weight and it are known to fit. */
function checkRows(
  kernel: string,
  x: Tensor,
  weight: Tensor,
  part: Tensor,
  firstRow: number | "last",
): [rows: number, hidden: number] {
  const [rows, hidden] = matrixShape(part);
  const [allRows] = matrixShape(x);
  invariant(
    hidden % 4 === 0,
    () => `${kernel}: ${part.label} has ${hidden} columns, no multiple of 4`,
  );
  requireShape(kernel, x, "f32", [allRows, hidden], part);
  requireShape(kernel, weight, "f32", [1, hidden], part);
  const end = firstRow === "last" ? 1 : firstRow + rows;
  invariant(
    firstRow === "last" ? rows === 1 : end <= allRows,
    () =>
      `${kernel}: ${part.label} has ${rows} rows from ${firstRow} of ${x.label}, which has ${allRows}`,
  );
  return [rows, hidden];
}
