// Seeded numbers for the self-tests of the references. The generator is not that of src.

/** `count` values spread evenly over [-1, 1). The same seed gives the same values. */
export function randomValues(count: number, seed: number): Float64Array {
  let state = (seed * 2654435761) >>> 0;
  return Float64Array.from({ length: count }, () => {
    // Constants of Numerical Recipes' linear congruential generator.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
