// The funnel report: what became of each row of a data file, counted, and in words.
import { UserError } from "../base/error.ts";
import { countOf, formatCount } from "../base/format.ts";
import type { DatasetFormatName } from "./formats.ts";

/** How a file was read. */
export interface FileReading {
  name: string;
  /** Absent where no row could be read at all. */
  format?: DatasetFormatName;
  /** Why that format, as the end of a sentence. */
  reason: string;
}

/** What happened to the rows of all files. Counts are examples unless named otherwise. */
export interface EncodeFunnel {
  files: FileReading[];
  rowsRead: number;
  /** Not JSON, or no record of the table. */
  droppedBroken: number;
  /** The first broken row's error. */
  firstBroken?: string;
  /** Read all the same, though something in them visibly goes wrong. */
  doubtful: number;
  /** What goes wrong in the first of them. */
  firstDoubt?: string;
  /** Left out by the draw of max_dataset_length. */
  notDrawn: number;
  /** Nothing in the conversation. */
  droppedEmpty: number;
  /** No token to learn from: the prompt alone fills `maxLength`, or nothing is to be learned. */
  droppedUnlabeled: number;
  maxLength: number;
  kept: number;
  /** Texts for pre-training that go on over several examples. */
  continued: number;
  truncated: number;
  /** Tokens that were cut off. */
  tokensLost: number;
  /** Kept, but the answer's end is cut off or was never written. */
  endless: number;
  /** Those of them whose end was cut off. */
  endsLost: number;
  tokens: number;
  labelTokens: number;
}

export interface FunnelReport extends EncodeFunnel {
  packed: boolean;
  trainExamples: number;
  evaluationExamples: number;
  trainRows: number;
  evaluationRows: number;
  /** Rows left out because no token in them is learned. */
  droppedRows: number;
  /** Tokens in no row: XTuner's packing loses the tail of each of its 32 parts. */
  lostTokens: number;
  /** Tokens in the training rows. */
  trainTokens: number;
}

/** The report as lines for people. */
export function formatFunnel(report: FunnelReport): string[] {
  const n = formatCount;
  const { kept, maxLength, tokens, labelTokens, trainRows, trainTokens } = report;
  const lines = report.files.map(({ name, format, reason }) =>
    format === undefined ? `${name}: ${reason}.` : `${name} is read as ${format}: ${reason}.`,
  );
  lines.push(`Read: ${countOf(report.rowsRead, "row")}.`);
  if (report.notDrawn > 0) {
    const drawn = report.rowsRead - report.droppedBroken - report.notDrawn;
    lines.push(`Drawn: ${countOf(drawn, "row")} by the seed, ${n(report.notDrawn)} left out.`);
  }
  const drops = describeDrops(report);
  if (drops !== "") lines.push(`Left out: ${drops}.`);
  if (report.firstBroken !== undefined) {
    lines.push(`The first that cannot be read: ${report.firstBroken.split("\n")[0] ?? ""}`);
  }
  if (report.firstDoubt !== undefined) {
    lines.push(`Look at ${countOf(report.doubtful, "row")}. The first: ${report.firstDoubt}`);
  }
  const share = ((100 * labelTokens) / tokens).toFixed(1);
  lines.push(
    `Kept: ${countOf(kept, "example")}, ${countOf(tokens, "token")}, ${share}% of them learned.`,
  );
  if (report.continued > 0) {
    lines.push(`Continued over several examples: ${countOf(report.continued, "text")}.`);
  }
  if (report.truncated > 0) {
    lines.push(
      `Cut at ${n(maxLength)} tokens: ${countOf(report.truncated, "example")}, which lose ${countOf(report.tokensLost, "token")}.`,
    );
  }
  if (report.endless > 0) {
    lines.push(
      `Without an end to the answer, so that the model may not stop: ${countOf(report.endless, "example")}${report.endsLost > 0 ? `, ${n(report.endsLost)} of them cut off` : ""}.`,
    );
  }
  if (report.evaluationExamples > 0) {
    lines.push(`Set aside for evaluation: ${countOf(report.evaluationExamples, "example")}.`);
  }
  const filled = ((100 * trainTokens) / (trainRows * maxLength)).toFixed(1);
  lines.push(
    report.packed
      ? `Packed into ${countOf(trainRows, "row")} of ${n(maxLength)} tokens, ${filled}% filled.`
      : `${countOf(trainRows, "row")} of up to ${n(maxLength)} tokens, one example each, ${filled}% filled.`,
  );
  if (report.lostTokens > 0) {
    lines.push(`Lost in packing, as XTuner does: ${countOf(report.lostTokens, "token")}.`);
  }
  if (report.droppedRows > 0) {
    lines.push(
      `Left out after packing, as no token in them is learned: ${countOf(report.droppedRows, "row")}.`,
    );
  }
  return lines;
}

/** The refusal of a file from which no example came, with the commonest reason's remedy. */
export function nothingLeft(funnel: EncodeFunnel): UserError {
  const { files, rowsRead, droppedBroken, droppedEmpty, droppedUnlabeled } = funnel;
  const most = Math.max(droppedBroken, droppedEmpty, droppedUnlabeled);
  const remedy =
    most === droppedUnlabeled
      ? `Raise max_length above ${formatCount(funnel.maxLength)}, or check that answers are not all marked as not learned.`
      : most === droppedEmpty
        ? "Check that the rows hold answers by an assistant, and that the dataset format is the right one."
        : "Correct the file: it must be JSON, JSONL, a table, Parquet or text.";
  return new UserError(
    `Nothing is left of the ${countOf(rowsRead, "row")} of ${files.map(({ name }) => name).join(", ")}: ${describeDrops(funnel) || "no token of theirs is learned"}.`,
    remedy,
  );
}

function describeDrops(funnel: EncodeFunnel): string {
  const drops: [number, string][] = [
    [funnel.droppedBroken, "that cannot be read"],
    [funnel.droppedEmpty, "without a conversation"],
    [funnel.droppedUnlabeled, "without a token to learn"],
  ];
  const named = drops.filter(([count]) => count > 0);
  return named.map(([count, why]) => `${formatCount(count)} ${why}`).join(", ");
}
