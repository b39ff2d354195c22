// RMS norm of every query and key head by itself, in rows that hold q, k and v together.
import type { AttentionLayout } from "./attention.ts";
import { rmsNorm, rmsNormBackward } from "./rms-norm.ts";

interface HeadNorm {
  /** [headSize], of every query head. */
  queryWeight: ArrayLike<number>;
  /** [headSize], of every key head. */
  keyWeight: ArrayLike<number>;
  epsilon: number;
  layout: AttentionLayout;
}

/** x [tokens, rowSize] to the same; values, and columns of no head, are copied. */
export function headNorm(x: ArrayLike<number>, norm: HeadNorm): Float64Array {
  const { epsilon } = norm;
  const y = Float64Array.from(x);
  eachHead(norm, (start, end, weight) => {
    const shape = { rows: 1, size: end - start, epsilon };
    y.set(rmsNorm(y.slice(start, end), weight, shape), start);
  });
  return y;
}

/** dx from dy, both as x. */
export function headNormBackward(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  norm: HeadNorm,
): Float64Array {
  const { epsilon } = norm;
  const heads = Float64Array.from(x);
  const dx = Float64Array.from(dy);
  eachHead(norm, (start, end, weight) => {
    const shape = { rows: 1, size: end - start, epsilon };
    const head = heads.subarray(start, end);
    dx.set(rmsNormBackward(head, weight, dx.slice(start, end), shape), start);
  });
  return dx;
}

function eachHead(
  { queryWeight, keyWeight, layout }: HeadNorm,
  visit: (start: number, end: number, weight: ArrayLike<number>) => void,
): void {
  const { tokens, heads, kvHeads, headSize, rowSize, qColumn, kColumn } = layout;
  for (let t = 0; t < tokens; t++) {
    const at = (column: number, weight: ArrayLike<number>) =>
      visit(t * rowSize + column, t * rowSize + column + headSize, weight);
    for (let head = 0; head < heads; head++) at(qColumn(head), queryWeight);
    for (let head = 0; head < kvHeads; head++) at(kColumn(head), keyWeight);
  }
}
