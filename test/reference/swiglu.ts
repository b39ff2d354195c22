// y = silu(gate) · up, where each input row is [gate | up].

interface SwigluShape {
  rows: number;
  /** Width of gate, of up and of y. */
  size: number;
}

/** x [rows, 2 · size] to y [rows, size]. */
export function swiglu(x: ArrayLike<number>, { rows, size }: SwigluShape): Float64Array {
  return Float64Array.from({ length: rows * size }, (_, at) => {
    const gate = Math.floor(at / size) * 2 * size + (at % size);
    return x[gate]! * sigmoid(x[gate]!) * x[gate + size]!;
  });
}

/** dx [rows, 2 · size], again [dgate | dup]. */
export function swigluBackward(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  { rows, size }: SwigluShape,
): Float64Array {
  const dx = new Float64Array(rows * 2 * size);
  for (let at = 0; at < rows * size; at++) {
    const gate = Math.floor(at / size) * 2 * size + (at % size);
    const s = sigmoid(x[gate]!);
    dx[gate] = dy[at]! * x[gate + size]! * s * (1 + x[gate]! * (1 - s));
    dx[gate + size] = dy[at]! * x[gate]! * s;
  }
  return dx;
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
