// y = x / sqrt(mean(x²) + epsilon) · weight, over each row.

interface RmsNormShape {
  rows: number;
  size: number;
  epsilon: number;
}

/** x [rows, size], weight [size]. */
export function rmsNorm(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  shape: RmsNormShape,
): Float64Array {
  const { rows, size } = shape;
  const y = new Float64Array(rows * size);
  for (let row = 0; row < rows; row++) {
    const inverse = inverseRms(x, row, shape);
    for (let i = 0; i < size; i++) y[row * size + i] = x[row * size + i]! * inverse * weight[i]!;
  }
  return y;
}

/** dx alone: the weight is frozen. */
export function rmsNormBackward(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  dy: ArrayLike<number>,
  shape: RmsNormShape,
): Float64Array {
  const { rows, size } = shape;
  const dx = new Float64Array(rows * size);
  for (let row = 0; row < rows; row++) {
    const start = row * size;
    const inverse = inverseRms(x, row, shape);
    let along = 0; // Σ dy · weight · x, the part of the gradient that would only lengthen x
    for (let i = 0; i < size; i++) along += dy[start + i]! * weight[i]! * x[start + i]!;
    for (let i = 0; i < size; i++) {
      const straight = dy[start + i]! * weight[i]! * inverse;
      dx[start + i] = straight - (x[start + i]! * along * inverse ** 3) / size;
    }
  }
  return dx;
}

function inverseRms(x: ArrayLike<number>, row: number, { size, epsilon }: RmsNormShape): number {
  let squares = 0;
  for (let i = 0; i < size; i++) squares += x[row * size + i]! ** 2;
  return 1 / Math.sqrt(squares / size + epsilon);
}
