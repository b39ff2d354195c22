// Central differences: what a gradient must be, asked of the forward pass alone.
//
// With a step of 1e-5 the cut-off error is about 1e-10 and the rounding error of f64 about 1e-11,
// each times the size of the function; so agreement to 1e-8 says that a gradient is right.

/** The gradient of `f` at `x`, one element at a time. `x` is left as it was. */
export function differenceGradient(
  f: (x: Float64Array) => number,
  x: Float64Array,
  step = 1e-5,
): Float64Array {
  const at = Float64Array.from(x);
  return at.map((value, i) => {
    at[i] = value + step;
    const above = f(at);
    at[i] = value - step;
    const below = f(at);
    at[i] = value;
    return (above - below) / (2 * step);
  });
}

/** How far two arrays lie apart at most, relative to the largest magnitude in `b`. */
export function largestError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let [difference, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    // Math.max keeps a NaN, so that one cannot pass for agreement.
    difference = Math.max(difference, Math.abs(a[i]! - b[i]!));
    size = Math.max(size, Math.abs(b[i]!));
  }
  return difference === 0 ? 0 : difference / size;
}

/** Σ a·b: turns an operation's output and a chosen dy into the scalar whose gradient is checked. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
