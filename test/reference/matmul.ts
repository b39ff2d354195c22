// Products with a frozen weight W [N, K], stored with one row an output. f64 throughout.

/** y [M, N] = x [M, K] · Wᵀ: a linear layer's forward. */
export function matmulNt(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  M: number,
  N: number,
  K: number,
): Float64Array {
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x[m * K + k]! * w[n * K + k]!;
      y[m * N + n] = sum;
    }
  }
  return y;
}

/** dx [M, K] = dy [M, N] · W: what the forward's gradient hands on. W itself has none. */
export function matmulNn(
  dy: ArrayLike<number>,
  w: ArrayLike<number>,
  M: number,
  K: number,
  N: number,
): Float64Array {
  const dx = new Float64Array(M * K);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      for (let k = 0; k < K; k++) dx[m * K + k]! += dy[m * N + n]! * w[n * K + k]!;
    }
  }
  return dx;
}
