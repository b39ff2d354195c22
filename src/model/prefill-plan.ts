// How a prompt is cut into pieces that a program takes in at a time.

/** Tokens of a run that suits every adapter, and little is wasted of it on a short prompt. */
const SMALL_CHUNK = 32;

/** Tokens of a run where thousands of threads want work: a weight is then read once for all of them. */
const LARGE_CHUNK = 512;

/** A run of a program for `size` tokens, of which `rows` are there. */
export interface Piece {
  readonly size: number;
  readonly rows: number;
}

/** Sizes of the runs that a prompt is cut into, the largest first. Software adapters gain nothing by large ones. */
export function chunkSizes(isSoftware: boolean, capacity: number): readonly number[] {
  return isSoftware || capacity <= LARGE_CHUNK / 2 ? [SMALL_CHUNK] : [LARGE_CHUNK, SMALL_CHUNK];
}

/**
 * Cuts `tokens` into pieces of the given sizes, the largest first. A large run is taken where at least half
 * of it is needed, so that what is computed in vain is less than what is needed, and 31 tokens at the end.
 */
export function planPieces(tokens: number, sizes: readonly number[]): Piece[] {
  const pieces: Piece[] = [];
  const smallest = sizes.at(-1) ?? SMALL_CHUNK;
  for (let left = tokens; left > 0;) {
    const need = left;
    const size = sizes.find((one) => need >= one / 2) ?? smallest;
    const rows = Math.min(size, left);
    pieces.push({ size, rows });
    left -= rows;
  }
  return pieces;
}

/**
 * How many of `pieces`, from the first, were taken in whole before as `known` sizes one after the other, and lie
 * within the first `shared` tokens.
 */
export function knownPieces(
  pieces: readonly Piece[],
  known: readonly number[],
  shared: number,
): number {
  let tokens = 0;
  const differs = pieces.findIndex(({ size, rows }, i) => {
    tokens += size;
    return known[i] !== size || rows !== size || tokens > shared;
  });
  return differs < 0 ? pieces.length : differs;
}
