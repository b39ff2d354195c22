// Inverted dropout with a mask that is given: what stays is scaled up, so the mean stays.

/** Which elements stay (1) and which go (0), and how likely each was to go. */
export interface Dropout {
  kept: ArrayLike<number>;
  probability: number;
}

/** x / (1 − p) where kept, else 0. Its own backward: apply it to dy with the same mask. */
export function applyDropout(x: ArrayLike<number>, { kept, probability }: Dropout): Float64Array {
  return Float64Array.from({ length: x.length }, (_, i) =>
    kept[i] === 0 ? 0 : x[i]! / (1 - probability),
  );
}
