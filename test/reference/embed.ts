// Token ids to rows of the embedding table. The table is frozen, so there is no backward.

/** table [vocabulary, size] and ids [tokens] to [tokens, size], times scale. */
export function embed(
  table: ArrayLike<number>,
  ids: ArrayLike<number>,
  size: number,
  scale = 1,
): Float64Array {
  return Float64Array.from(
    { length: ids.length * size },
    (_, i) => scale * table[ids[Math.floor(i / size)]! * size + (i % size)]!,
  );
}
