// The low-rank branch beside a frozen linear layer: y = s · drop(x) · Aᵀ · Bᵀ.
//
//   x  [tokens, inputs]    A  [rank, inputs]    B  [outputs, rank]    y  [tokens, outputs]
//
// Only the branch: the caller adds y to the base's output, and dx to the base's gradient.
import { applyDropout, type Dropout } from "./dropout.ts";

interface LoraShape {
  tokens: number;
  inputs: number;
  outputs: number;
  rank: number;
}

/** `dropout` acts on the branch's input; null is none. */
export function lora(
  x: ArrayLike<number>,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  scale: number,
  dropout: Dropout | null,
  shape: LoraShape,
): Float64Array {
  const { tokens, outputs, rank } = shape;
  const low = loraDown(x, a, dropout, shape);
  const y = new Float64Array(tokens * outputs);
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < rank; r++) {
        y[t * outputs + o]! += scale * low[t * rank + r]! * b[o * rank + r]!;
      }
    }
  }
  return y;
}

/** drop(x) · Aᵀ, [tokens, rank], without the scale. */
export function loraDown(
  x: ArrayLike<number>,
  a: ArrayLike<number>,
  dropout: Dropout | null,
  { tokens, inputs, rank }: LoraShape,
): Float64Array {
  const dropped = dropout ? applyDropout(x, dropout) : x;
  const low = new Float64Array(tokens * rank);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rank; r++) {
      for (let i = 0; i < inputs; i++) {
        low[t * rank + r]! += dropped[t * inputs + i]! * a[r * inputs + i]!;
      }
    }
  }
  return low;
}

/** dA [rank, inputs], dB [outputs, rank] and dx [tokens, inputs], of one pass alone. */
export function loraBackward(
  x: ArrayLike<number>,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  dy: ArrayLike<number>,
  scale: number,
  dropout: Dropout | null,
  shape: LoraShape,
): { dA: Float64Array; dB: Float64Array; dx: Float64Array } {
  const { tokens, inputs, outputs, rank } = shape;
  const dropped = dropout ? applyDropout(x, dropout) : x;
  const low = loraDown(x, a, dropout, shape);
  const dLow = new Float64Array(tokens * rank);
  const dB = new Float64Array(outputs * rank);
  for (let t = 0; t < tokens; t++) {
    for (let o = 0; o < outputs; o++) {
      for (let r = 0; r < rank; r++) {
        dLow[t * rank + r]! += scale * dy[t * outputs + o]! * b[o * rank + r]!;
        dB[o * rank + r]! += scale * dy[t * outputs + o]! * low[t * rank + r]!;
      }
    }
  }
  const dA = new Float64Array(rank * inputs);
  const dDropped = new Float64Array(tokens * inputs);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rank; r++) {
      for (let i = 0; i < inputs; i++) {
        dA[r * inputs + i]! += dLow[t * rank + r]! * dropped[t * inputs + i]!;
        dDropped[t * inputs + i]! += dLow[t * rank + r]! * a[r * inputs + i]!;
      }
    }
  }
  return { dA, dB, dx: dropout ? applyDropout(dDropped, dropout) : dDropped };
}
