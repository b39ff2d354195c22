// What a gated activation passes on of its gate z: z · s with s = σ(t), where t = z, or with GELU
// t = 2 √(2/π) (z + 0.044715 z³).

const GELU_LINEAR = 1.5957691216057308;               // 2 √(2/π)
const GELU_CUBIC = 1.5957691216057308 * 0.044715;
// The most that counts of a gate: past it, GELU passes on or shuts but for 10⁻³⁷, and its cube would overflow.
const GELU_REACH = vec4f(10.0);

/// t, of which the gate's share is s = σ(t).
fn steepened(gate: vec4f) -> vec4f {
  if (GELU) {
    let z = clamp(gate, -GELU_REACH, GELU_REACH);
    return z * (GELU_LINEAR + GELU_CUBIC * z * z);
  }
  return gate;
}

// Written so that the exponential never overflows: exp(−|t|) ≤ 1. A tanh may, inside the adapter's own.
fn sigmoid(t: vec4f) -> vec4f {
  let e = exp(-abs(t));
  return select(e, vec4f(1.0), t >= vec4f(0.0)) / (1.0 + e);
}
