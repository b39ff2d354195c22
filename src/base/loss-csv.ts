// A run's numbers as a table for spreadsheets: one line per step. The page hands it out, and an adapter's
// export carries it along.
import type { EvalReport, StepReport } from "../engine.ts";

type Eval = { readonly step: number } & EvalReport;

/** Column → its value. What a step has not is left empty, and so is what is not finite. */
const COLUMNS: Readonly<
  Record<string, (step: StepReport | undefined, held: Eval | undefined) => number | undefined>
> = {
  step: (step, held) => step?.step ?? held?.step,
  epoch: (step) => step?.epoch,
  loss: (step) => step?.loss,
  learning_rate: (step) => step?.learningRate,
  grad_norm: (step) => step?.gradNorm,
  loss_scale: (step) => step?.lossScale,
  tokens: (step) => step?.tokens,
  label_tokens: (step) => step?.labelTokens,
  tokens_per_second: (step) => step?.tokensPerSecond,
  held_out_loss: (_, held) => held?.loss,
  held_out_token_accuracy: (_, held) => held?.tokenAccuracy,
};

/** What is known of a run. */
interface Curves {
  readonly steps: readonly StepReport[];
  readonly evals: readonly Eval[];
}

/** RFC 4180, but for line ends. Steps after `lastStep` are left out. */
export function formatLossCsv({ steps, evals }: Curves, lastStep = Infinity): string {
  const reports = new Map(steps.map((report) => [report.step, report]));
  const held = new Map(evals.map((report) => [report.step, report]));
  const numbers = [...new Set([...reports.keys(), ...held.keys()])]
    .filter((step) => step <= lastStep)
    .toSorted((a, b) => a - b);
  const lines = numbers.map((step) =>
    Object.values(COLUMNS)
      .map((column) => column(reports.get(step), held.get(step)))
      .map((value) => (value !== undefined && Number.isFinite(value) ? String(value) : ""))
      .join(","),
  );
  return [Object.keys(COLUMNS).join(","), ...lines, ""].join("\n");
}
