// How fast a transfer goes and how long it takes yet, from what came in the last seconds.

/** Bytes that were there at a time. */
export interface RateSample {
  readonly timeMs: number;
  readonly bytes: number;
}

export interface TransferRate {
  readonly bytesPerSecond: number;
  readonly secondsLeft: number;
}

// Long enough that a slow packet does not make the number jump, short enough to follow a change.
const WINDOW_MS = 8000;
// Before that, a rate says more about the start than about the transfer.
const SHORTEST_MS = 700;

/** The samples with a new one, without those that are too old. A count that fell begins anew. */
export function addSample(samples: readonly RateSample[], sample: RateSample): RateSample[] {
  const last = samples.at(-1);
  if (last && sample.bytes < last.bytes) return [sample];
  const first = samples.findLastIndex(({ timeMs }) => timeMs <= sample.timeMs - WINDOW_MS);
  return [...samples.slice(Math.max(first, 0)), sample];
}

/** Undefined until there is enough to tell. */
export function rateOf(
  samples: readonly RateSample[],
  totalBytes: number,
): TransferRate | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (!first || !last || last.timeMs - first.timeMs < SHORTEST_MS) return undefined;
  const bytesPerSecond = ((last.bytes - first.bytes) / (last.timeMs - first.timeMs)) * 1000;
  if (bytesPerSecond <= 0) return undefined;
  return { bytesPerSecond, secondsLeft: Math.max(0, totalBytes - last.bytes) / bytesPerSecond };
}
