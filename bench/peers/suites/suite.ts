// What every comparison is given, and how it is made a row of the table.
import type { Gpu } from "../../../src/gpu/device.ts";
import { median, type Pair, type Side, type Taken, takeTurns } from "../measure.ts";
import type { Row } from "../table.ts";
import type { Tune } from "../tune.ts";
import type { TheirPlace } from "../theirs.ts";

export interface Bench {
  readonly gpu: Gpu;
  /** Whether the adapter computes on the CPU: sizes are small then. */
  readonly isSoftware: boolean;
  readonly place: TheirPlace;
  /** Has Hone take the kernels' variants that suit the sizes. */
  readonly tune: Tune;
  readonly repetitions: number;
  /** A row is shown as soon as it is there. */
  readonly report: (row: Row) => void;
}

type Subject = Pick<Row, "peer" | "what" | "shape" | "unit" | "required">;

export interface Comparison {
  readonly theirs: Side;
  readonly ours: Side;
  /** The units ("GFLOP", "tokens") that one run does. */
  readonly work: number;
  /** Runs before those that count. Default 1. */
  readonly warmUps?: number;
  /** After the runs: how far the results are from each other. */
  readonly difference?: () => Promise<number>;
  /** The most that `difference` may be. */
  readonly tolerance?: number;
  readonly adapter?: string;
  /** Whatever happens. */
  readonly free?: () => void;
}

/** Measures and reports one row. What fails is a row with the reason. */
export async function compare(
  bench: Bench,
  subject: Subject,
  prepare: () => Promise<Comparison>,
): Promise<void> {
  let comparison: Comparison | undefined;
  try {
    comparison = await prepare();
    const { work, warmUps, difference: measure, tolerance = Infinity } = comparison;
    const pair = await takeTurns(comparison, { repetitions: bench.repetitions, warmUps });
    const { adapter } = comparison;
    const difference = await measure?.();
    if (difference !== undefined && !(difference <= tolerance)) {
      throw new Error(`the results differ by ${difference.toExponential(1)} of the largest`);
    }
    bench.report({ ...subject, ...figuresOf(bench, pair, work), difference, adapter });
  } catch (error) {
    bench.report({ ...subject, failure: messageOf(error) });
  } finally {
    comparison?.free?.();
  }
}

function figuresOf({ isSoftware }: Bench, taken: Pair, work: number) {
  const of = (side: keyof Pair, time: keyof Taken) => median(taken[side].map((run) => run[time]));
  const theirs = (work / of("theirs", "milliseconds")) * 1000;
  const ours = (work / of("ours", "milliseconds")) * 1000;
  const cpuRatio = isSoftware
    ? of("theirs", "cpuMilliseconds") / of("ours", "cpuMilliseconds")
    : undefined;
  return { theirs, ours, ratio: ours / theirs, cpuRatio, taken };
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
