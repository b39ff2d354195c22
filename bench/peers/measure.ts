// Two sides of one comparison, taken in turn, so that what else the machine does falls on both.

/** What a run took. */
export interface Taken {
  readonly milliseconds: number;
  /** Of all cores together: on an adapter that computes on the CPU, what a busy machine disturbs least. */
  readonly cpuMilliseconds: number;
}

/** One side: `run` does the work once. */
export interface Side {
  run(): Promise<Taken>;
}

export interface Pair {
  readonly theirs: readonly Taken[];
  readonly ours: readonly Taken[];
}

export async function timed(work: () => Promise<void>): Promise<Taken> {
  const cpu = process.cpuUsage();
  const begun = performance.now();
  await work();
  const milliseconds = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  return { milliseconds, cpuMilliseconds: (user + system) / 1000 };
}

/** Warms both sides up, then times them in turn. */
export async function takeTurns(
  { theirs, ours }: { theirs: Side; ours: Side },
  { repetitions, warmUps = 1 }: { repetitions: number; warmUps?: number | undefined },
): Promise<Pair> {
  for (let i = 0; i < warmUps; i++) {
    await theirs.run();
    await ours.run();
  }
  const pair: { theirs: Taken[]; ours: Taken[] } = { theirs: [], ours: [] };
  for (let i = 0; i < repetitions; i++) {
    pair.theirs.push(await theirs.run());
    pair.ours.push(await ours.run());
  }
  return pair;
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The largest |actual − expected| as a share of the largest |expected|; NaN where one is not a number. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.NaN;
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN));
    if (Number.isNaN(difference)) return Number.NaN;
    worst = Math.max(worst, difference);
    largest = Math.max(largest, Math.abs(expected[i] ?? 0));
  }
  return worst / Math.max(largest, Number.MIN_VALUE);
}
