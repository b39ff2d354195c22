// Progress as one line: a bar for terminals, plain words for logs.
import { formatBytes, formatCount, formatDuration } from "../base/format.ts";
import type { StepReport } from "../engine.ts";
import type { Trying } from "../engine/tuning/tune.ts";

const MIN_BAR = 5;

/** "12/30 ━━━━━───── loss 1.2345  lr 1.00e-3  1,234 tokens/s  ETA 3:07", within `columns`. */
export function formatStepBar(report: StepReport, columns: number): string {
  const count = `${String(report.step).padStart(String(report.steps).length)}/${report.steps}`;
  return withBar(count, report.step / report.steps, formatFigures(report), columns);
}

/** The same for a log: no bar, and the word "step". */
export function formatStepLine(report: StepReport): string {
  return `step ${report.step}/${report.steps}  ${formatFigures(report)}`;
}

export function formatLoadingBar(bytes: number, totalBytes: number, columns: number): string {
  return formatBytesBar("loading", bytes, totalBytes, columns);
}

/** "downloading ━━━━━───── 1.2 GiB of 3.5 GiB", within `columns`. */
export function formatBytesBar(
  what: string,
  bytes: number,
  totalBytes: number,
  columns: number,
): string {
  const share = totalBytes > 0 ? bytes / totalBytes : 0;
  return withBar(what, share, `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`, columns);
}

/** "question ━━━━━───── 12/30", within `columns`. `share` is of the next one. */
export function formatCountBar(
  what: string,
  done: number,
  all: number,
  columns: number,
  share = 0,
): string {
  const count = `${String(done).padStart(String(all).length)}/${all}`;
  return withBar(what, all > 0 ? (done + share) / all : 0, count, columns);
}

/** "trying nf4.fused.32 ━━━━━───── 3/9", within `columns`; none when all are done. */
export function formatTryingBar(
  done: number,
  total: number,
  columns: number,
  { slot = "kernel variants", share }: Trying,
): string | undefined {
  return done < total ? formatCountBar(`trying ${slot}`, done, total, columns, share) : undefined;
}

/** A learning rate as 1.00e-3, the same width at every step. */
export function formatRate(rate: number): string {
  return rate.toExponential(2);
}

function formatFigures(report: StepReport): string {
  const figures = [
    `loss ${report.loss.toFixed(4)}`,
    `lr ${formatRate(report.learningRate)}`,
    `${formatCount(report.tokensPerSecond)} tokens/s`,
    `ETA ${formatDuration(report.etaSeconds)}`,
  ];
  if (report.skipped > 0) figures.push(`${report.skipped} skipped`);
  return figures.join("  ");
}

function withBar(head: string, share: number, tail: string, columns: number): string {
  // Two columns stay free for the ^C of a Ctrl-C: a line that wraps cannot be drawn again.
  const room = columns - 2 - head.length - tail.length - 3;
  if (room < MIN_BAR) return `${head} ${tail}`.slice(0, columns - 2);
  const done = Math.round(Math.min(Math.max(share, 0), 1) * room);
  return `${head} ${"━".repeat(done)}${"─".repeat(room - done)}  ${tail}`;
}
