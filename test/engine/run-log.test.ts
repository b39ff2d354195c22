// metrics.jsonl is read back to the numbers that went in, however its last line ends.
import { expect, test } from "vitest";
import type { StepReport } from "../../src/engine.ts";
import { parseMetrics, RunLog } from "../../src/engine/run-log.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { temporaryFolder } from "./tiny-folder.ts";

function report(step: number, changes: Partial<StepReport> = {}): StepReport {
  const base = { steps: 9, epoch: 0.1 * step, learningRate: 2e-4 / 3, lossScale: 1, tokens: 31 };
  const rates = { labelTokens: 7, tokensPerSecond: 1e3 / 7, etaSeconds: 1 / 3, skipped: 0 };
  return { step, loss: Math.sqrt(step), gradNorm: Math.PI, ...base, ...rates, ...changes };
}

const NO_EVALUATION = { questions: 0, holdsOut: false };

test("every number comes back as it was, and what was not finite as NaN", async () => {
  const folder = openFolder(temporaryFolder());
  const log = await RunLog.open(folder, 0, 10, NO_EVALUATION);
  const skipped = report(2, { gradNorm: Number.NaN, skipped: 1 });
  const held = { step: 2, loss: 1 / 3, perplexity: 1.5, tokenAccuracy: 2 / 7, labelTokens: 7 };
  const sample = { step: 2, input: "Wer?\n\u2028你", output: 'null "x"' };
  log.take({ type: "step", ...report(1) });
  log.take({ type: "step", ...skipped });
  log.take({ type: "eval", ...held });
  log.take({ type: "sample", ...sample });
  log.take({ type: "checkpoint", step: 2, name: "iter_2" });
  await log.flush();
  const text = await folder.readText("metrics.jsonl");
  expect(parseMetrics(text)).toEqual({
    steps: [report(1), skipped],
    evals: [held],
    samples: [sample],
  });
});

test("a last line that is cut anywhere is as if it were not there", () => {
  const whole = `${JSON.stringify({ type: "step", ...report(1) })}\n`;
  const last = `${JSON.stringify({ type: "step", ...report(2) })}\n`;
  for (let end = 0; end < last.length - 1; end++) {
    expect(parseMetrics(whole + last.slice(0, end)).steps).toEqual([report(1)]);
  }
  expect(parseMetrics(whole + last).steps).toHaveLength(2);
});

test("what is no line of metrics is left out", () => {
  const lines = ["", "3", "null", '"step"', "[]", '{"type":"step"}', '{"type":"other","step":1}'];
  expect(parseMetrics(lines.join("\n"))).toEqual({ steps: [], evals: [], samples: [] });
});

test.each([
  ["whole", 2, true, ["step 1", "step 2", "sample 2", "sample 2", "eval 2"]],
  ["an answer short", 3, false, ["step 1", "step 2"]],
])(
  "on resume, an evaluation that is %s is kept or goes",
  async (_, questions, isDone, expected) => {
    const folder = openFolder(temporaryFolder());
    const sample = { type: "sample", step: 2, input: "a", output: "b" };
    const lines = [
      { type: "step", ...report(1) },
      { type: "step", ...report(2) },
      sample,
      sample,
      { type: "eval", step: 2, loss: 1, perplexity: 1, tokenAccuracy: 1, labelTokens: 1 },
      { type: "step", ...report(3) },
    ];
    await folder.write("metrics.jsonl", lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    const log = await RunLog.open(folder, 2, 10, { questions, holdsOut: true });
    expect(log.isEvaluated).toBe(isDone);
    const kept = (await folder.readText("metrics.jsonl")).trim().split("\n");
    const names = kept.map((line) => JSON.parse(line) as { type: string; step: number });
    expect(names.map(({ type, step }) => `${type} ${step}`)).toEqual(expected);
  },
);
