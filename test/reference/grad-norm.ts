// The norm over all gradients, and what torch's clip_grad_norm_ multiplies them by.

/** The Euclidean norm of everything in `gradients`, as one vector. */
export function gradNorm(...gradients: ArrayLike<number>[]): number {
  let squares = 0;
  for (const part of gradients) {
    for (let i = 0; i < part.length; i++) squares += part[i]! ** 2;
  }
  return Math.sqrt(squares);
}

/** torch adds 1e-6 to the norm, so gradients at the limit end slightly below it. */
export function clipCoefficient(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}
