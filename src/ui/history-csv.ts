// A run's history as a table: a row for each step.
import type { RunHistory } from "../services/api.ts";

const COLUMNS = [
  "step",
  "epoch",
  "loss",
  "held_out_loss",
  "learning_rate",
  "grad_norm",
  "tokens",
  "label_tokens",
  "tokens_per_second",
] as const;

/** Held-out losses stand beside the step they were taken after; that of step 0 in a row of its own. */
export function historyCsv({ steps, evals }: RunHistory): string {
  const held = new Map(evals.map(({ step, loss }) => [step, loss]));
  const before = held.get(0);
  const first = before === undefined ? [] : [[0, 0, "", before, "", "", "", "", ""]];
  const rows = steps.map((report) => [
    report.step,
    report.epoch,
    report.loss,
    held.get(report.step) ?? "",
    report.learningRate,
    report.gradNorm,
    report.tokens,
    report.labelTokens,
    report.tokensPerSecond,
  ]);
  return `${[COLUMNS, ...first, ...rows].map((row) => row.join(",")).join("\r\n")}\r\n`;
}
