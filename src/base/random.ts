// The seeded generator; the only source of chance outside shaders.

export interface Random {
  /** Uniform in [0, 1), 32 bits. */
  next(): number;
  /** Standard normal, by Box–Muller. */
  normal(): number;
  /** A new array, shuffled (Fisher–Yates). */
  shuffle<T>(items: readonly T[]): T[];
}

/**
 * SFC32 (Chris Doty-Humphrey's small fast counting generator) seeded by hashing `seed` and `stream`,
 * so that independent uses of one seed (order of rows, first values of an adapter) do not overlap.
 */
export function createRandom(seed: number, stream = 0): Random {
  let a = hash32(seed);
  let b = hash32(a ^ stream);
  let c = hash32(b ^ 0x9e3779b9);
  let counter = 1;
  const nextU32 = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) nextU32(); // mixes the seed into all of the state

  const next = () => nextU32() / 2 ** 32;
  return {
    next,
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    shuffle(items) {
      const shuffled = [...items];
      for (let i = shuffled.length - 1; i > 0; i--) {
        const j = Math.floor(next() * (i + 1));
        const moved = shuffled[i] as (typeof shuffled)[number];
        shuffled[i] = shuffled[j] as (typeof shuffled)[number];
        shuffled[j] = moved;
      }
      return shuffled;
    },
  };
}

/** lowbias32 (Chris Wellons): a 32-bit mixing function with little bias. */
function hash32(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}
