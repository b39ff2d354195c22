// One AdamW step, in torch's order of operations: decay, moments, update.

interface AdamwSettings {
  /** Optimizer steps taken, this one included: 1 at the first. */
  step: number;
  rate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
}

interface AdamwState {
  parameters: Float64Array;
  /** Running mean of the gradient, and of its square. */
  m: Float64Array;
  v: Float64Array;
}

/** Parameters with moments of zero, before the first step. */
export function startAdamw(parameters: ArrayLike<number>): AdamwState {
  const zeros = () => new Float64Array(parameters.length);
  return { parameters: Float64Array.from(parameters), m: zeros(), v: zeros() };
}

/** The state after one step. The one given is left as it was. */
export function adamw(
  state: AdamwState,
  gradients: ArrayLike<number>,
  { step, rate, beta1, beta2, epsilon, weightDecay }: AdamwSettings,
): AdamwState {
  const m = state.m.map((value, i) => beta1 * value + (1 - beta1) * gradients[i]!);
  const v = state.v.map((value, i) => beta2 * value + (1 - beta2) * gradients[i]! ** 2);
  const parameters = state.parameters.map((value, i) => {
    const decayed = value * (1 - rate * weightDecay);
    const deviation = Math.sqrt(v[i]!) / Math.sqrt(1 - beta2 ** step) + epsilon;
    return decayed - ((rate / (1 - beta1 ** step)) * m[i]!) / deviation;
  });
  return { parameters, m, v };
}
