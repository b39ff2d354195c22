// The rows of the comparison, and how they are shown.
import type { Pair } from "./measure.ts";

/** One comparison. What could not be measured has `failure` and no figures. */
export interface Row {
  readonly peer: string;
  /** What both sides do. */
  readonly what: string;
  readonly shape: string;
  /** "GFLOP/s" or "tokens/s": more is better. */
  readonly unit: string;
  /** From the medians of all repetitions. */
  readonly theirs?: number;
  readonly ours?: number;
  /** ours / theirs. */
  readonly ratio?: number;
  /** The same by the time of all cores together, where the adapter computes on them. */
  readonly cpuRatio?: number | undefined;
  /** The least ratio that the project wants, where it wants one. */
  readonly required?: number | undefined;
  /** The largest difference between the two results, as a share of the largest number in them. */
  readonly difference?: number | undefined;
  readonly taken?: Pair;
  /** The adapter, as the peer tells it. */
  readonly adapter?: string | undefined;
  readonly failure?: string;
}

const COLUMNS = [
  "peer",
  "what",
  "shape",
  "theirs",
  "ours",
  "unit",
  "ratio",
  "by CPU time",
  "required",
  "difference",
];

export function formatTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.peer,
    row.what,
    row.shape,
    figure(row.theirs),
    figure(row.ours),
    row.unit,
    times(row.ratio),
    times(row.cpuRatio),
    requiredOf(row),
    row.difference === undefined ? "" : row.difference.toExponential(1),
  ]);
  const widths = COLUMNS.map((name, column) =>
    Math.max(name.length, ...cells.map((line) => line[column]?.length ?? 0)),
  );
  const align = (line: readonly string[]) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  const failures = rows.flatMap(({ peer, what, shape, failure }) =>
    failure === undefined ? [] : [`${peer}, ${what}, ${shape}: ${failure}`],
  );
  return [
    align(COLUMNS),
    align(widths.map((width) => "─".repeat(width))),
    ...cells.map(align),
    ...(failures.length > 0 ? ["", "Not measured:", ...failures] : []),
  ].join("\n");
}

function times(ratio: number | undefined): string {
  return ratio === undefined ? "" : `${ratio.toFixed(2)}×`;
}

function figure(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function requiredOf({ ratio, required, failure }: Row): string {
  if (required === undefined) return "";
  const wanted = `≥ ${required}×`;
  if (failure !== undefined || ratio === undefined) return `${wanted} not measured`;
  return `${wanted} ${ratio >= required ? "yes" : "NO"}`;
}
