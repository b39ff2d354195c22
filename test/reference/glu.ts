// y = activation(gate) · up, where each input row is [gate | up].

interface GluShape {
  rows: number;
  /** Width of gate, of up and of y. */
  size: number;
  /** silu(z) = z / (1 + e⁻ᶻ); gelu_tanh is GELU by its tanh approximation, as torch names it. */
  activation: "silu" | "gelu_tanh";
}

/** x [rows, 2 · size] to y [rows, size]. */
export function glu(x: ArrayLike<number>, { rows, size, activation }: GluShape): Float64Array {
  return Float64Array.from({ length: rows * size }, (_, at) => {
    const gate = Math.floor(at / size) * 2 * size + (at % size);
    return activations[activation](x[gate]!).value * x[gate + size]!;
  });
}

/** dx [rows, 2 · size], again [dgate | dup]. */
export function gluBackward(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  { rows, size, activation }: GluShape,
): Float64Array {
  const dx = new Float64Array(rows * 2 * size);
  for (let at = 0; at < rows * size; at++) {
    const gate = Math.floor(at / size) * 2 * size + (at % size);
    const { value, slope } = activations[activation](x[gate]!);
    dx[gate] = dy[at]! * x[gate + size]! * slope;
    dx[gate + size] = dy[at]! * value;
  }
  return dx;
}

const activations = { silu, gelu_tanh: geluTanh };

function silu(z: number): { value: number; slope: number } {
  const s = 1 / (1 + Math.exp(-z));
  return { value: z * s, slope: s * (1 + z * (1 - s)) };
}

function geluTanh(z: number): { value: number; slope: number } {
  const root = Math.sqrt(2 / Math.PI);
  const t = Math.tanh(root * (z + 0.044715 * z ** 3));
  const inner = root * (1 + 3 * 0.044715 * z ** 2);
  return { value: 0.5 * z * (1 + t), slope: 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * inner };
}
