// Token ids to rows of the embedding table. The table is frozen, so there is no backward.

/** table [vocabulary, size] and ids [tokens] to [tokens, size]. */
export function embed(
  table: ArrayLike<number>,
  ids: ArrayLike<number>,
  size: number,
): Float64Array {
  return Float64Array.from(
    { length: ids.length * size },
    (_, i) => table[ids[Math.floor(i / size)]! * size + (i % size)]!,
  );
}
