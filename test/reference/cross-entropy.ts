// Token losses, and the gradient of their sum times a factor (one over the label tokens, say).

/** The target of a row that predicts nothing: −1 as u32. */
export const NO_TARGET = 0xffffffff;

interface CrossEntropyShape {
  rows: number;
  vocabulary: number;
  /** What the sum of the losses is multiplied by before its gradient is taken. */
  factor: number;
}

/** logits [rows, vocabulary], targets [rows]. A row without a target has loss 0 and gradient 0. */
export function crossEntropy(
  logits: ArrayLike<number>,
  targets: ArrayLike<number>,
  { rows, vocabulary, factor }: CrossEntropyShape,
): { losses: Float64Array; dlogits: Float64Array } {
  const losses = new Float64Array(rows);
  const dlogits = new Float64Array(rows * vocabulary);
  for (let row = 0; row < rows; row++) {
    const [target, start] = [targets[row]!, row * vocabulary];
    if (target === NO_TARGET) continue;
    let [largest, sum] = [-Infinity, 0];
    for (let i = 0; i < vocabulary; i++) largest = Math.max(largest, logits[start + i]!);
    for (let i = 0; i < vocabulary; i++) sum += Math.exp(logits[start + i]! - largest);
    const logSum = largest + Math.log(sum);
    losses[row] = logSum - logits[start + target]!;
    for (let i = 0; i < vocabulary; i++) {
      dlogits[start + i] = factor * Math.exp(logits[start + i]! - logSum);
    }
    dlogits[start + target]! -= factor;
  }
  return { losses, dlogits };
}
