// A run's history as a table for spreadsheets: a row for each step, in the columns that an export's own has.
import type { RunHistory, StepReport } from "../services/api.ts";

const COLUMNS: Readonly<Record<string, (report: StepReport) => number>> = {
  epoch: (report) => report.epoch,
  loss: (report) => report.loss,
  learning_rate: (report) => report.learningRate,
  grad_norm: (report) => report.gradNorm,
  loss_scale: (report) => report.lossScale,
  tokens: (report) => report.tokens,
  label_tokens: (report) => report.labelTokens,
  tokens_per_second: (report) => report.tokensPerSecond,
};

/** Held-out losses stand beside the step they were taken after; that of step 0 in a row of its own. */
export function historyCsv({ steps, evals }: RunHistory): string {
  const reports = new Map(steps.map((report) => [report.step, report]));
  const held = new Map(evals.map((report) => [report.step, report]));
  const numbers = [...new Set([...reports.keys(), ...held.keys()])].toSorted((a, b) => a - b);
  const head = ["step", ...Object.keys(COLUMNS), "held_out_loss", "held_out_token_accuracy"];
  const rows = numbers.map((step) => {
    const report = reports.get(step);
    const evaluated = held.get(step);
    const values = Object.values(COLUMNS).map((read) => report && read(report));
    return [step, ...values, evaluated?.loss, evaluated?.tokenAccuracy].map(cell);
  });
  return [head, ...rows].map((row) => `${row.join(",")}\n`).join("");
}

/** Empty where there is nothing, or nothing finite. */
function cell(value: number | undefined): string {
  return value !== undefined && Number.isFinite(value) ? String(value) : "";
}
