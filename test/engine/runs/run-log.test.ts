// metrics.jsonl is read back to the numbers that went in, however its last line ends.
import { describe, expect, test } from "vitest";
import type { StepReport } from "../../../src/engine.ts";
import { parseMetrics, RunLog } from "../../../src/engine/runs/run-log.ts";
import { UserError } from "../../../src/base/error.ts";
import type { Folder } from "../../../src/base/folder.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { temporaryFolder } from "../tiny-folder.ts";

function report(step: number, changes: Partial<StepReport> = {}): StepReport {
  const base = { steps: 9, epoch: 0.1 * step, learningRate: 2e-4 / 3, lossScale: 1, tokens: 31 };
  const rates = { labelTokens: 7, tokensPerSecond: 1e3 / 7, etaSeconds: 1 / 3, skipped: 0 };
  return { step, loss: Math.sqrt(step), gradNorm: Math.PI, ...base, ...rates, ...changes };
}

const FRESH = {
  firstStep: 0,
  loggingSteps: 10,
  evaluation: { questions: 0, holdsOut: false },
  onFault: () => {},
};

test("every number comes back as it was, and what was not finite as NaN", async () => {
  const folder = openFolder(temporaryFolder());
  const log = await RunLog.open(folder, FRESH);
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

test("before the first update there is no norm of gradients and no scale to tell", async () => {
  const folder = openFolder(temporaryFolder());
  const log = await RunLog.open(folder, FRESH);
  const early = report(1, { gradNorm: Number.NaN, lossScale: 0 });
  log.take({ type: "step", ...early });
  log.take({ type: "step", ...report(9) });
  await log.flush();
  const [first, last] = (await folder.readText("train.log")).split("\n");
  expect(first).toMatch(/^step 1\/9 .* tokens\/s/);
  expect(first).not.toContain("grad_norm");
  expect(last).toContain("grad_norm 3.1416");
  const text = await folder.readText("metrics.jsonl");
  expect(Object.keys(JSON.parse(text.split("\n", 1)[0] ?? ""))).not.toContain("lossScale");
  expect(parseMetrics(text).steps).toEqual([early, report(9)]);
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
    const log = await RunLog.open(folder, {
      ...FRESH,
      firstStep: 2,
      evaluation: { questions, holdsOut: true },
    });
    expect(log.isEvaluated).toBe(isDone);
    const kept = (await folder.readText("metrics.jsonl")).trim().split("\n");
    const names = kept.map((line) => JSON.parse(line) as { type: string; step: number });
    expect(names.map(({ type, step }) => `${type} ${step}`)).toEqual(expected);
  },
);

/** The folder, whose appends fail while told to, and what was done on it. */
function faulty() {
  const folder = openFolder(temporaryFolder());
  const state = { isFull: false, done: [] as string[] };
  const told: string[] = [];
  const watched: Folder = {
    ...folder,
    async append(name, text) {
      if (state.isFull) throw new UserError("The disk has no room.", "Free some space.");
      await folder.append(name, text);
      state.done.push(`append ${name}`);
    },
    async flush(name) {
      await folder.flush(name);
      state.done.push(`flush ${name}`);
    },
  };
  return { watched, state, told, options: { ...FRESH, onFault: (m: string) => told.push(m) } };
}

describe("a disk that takes no lines for a while", () => {
  test("is told once, and every line is there in its order when it takes them again", async () => {
    const { watched, state, told, options } = faulty();
    const log = await RunLog.open(watched, options);
    log.take({ type: "step", ...report(1) });
    await log.flush();
    state.isFull = true;
    for (const step of [2, 3, 4]) log.take({ type: "step", ...report(step) });
    await log.flush(); // a run that saves a checkpoint is not held up
    expect(told).toEqual(["The log of the run waits to be written: The disk has no room."]);
    state.isFull = false;
    log.take({ type: "step", ...report(5) });
    await log.flush();
    const { steps } = parseMetrics(await watched.readText("metrics.jsonl"));
    expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    state.isFull = true;
    log.take({ type: "step", ...report(6) });
    await log.flush();
    expect(told).toHaveLength(2);
  });

  test("lines that came while others were written are written once", async () => {
    const { watched, options } = faulty();
    const log = await RunLog.open(watched, options);
    for (let step = 1; step <= 50; step++) {
      log.take({ type: "step", ...report(step) });
      if (step % 7 === 0) void log.flush();
      if (step % 5 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    await log.flush();
    const { steps } = parseMetrics(await watched.readText("metrics.jsonl"));
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  });

  test("what is flushed survives a power cut", async () => {
    const { watched, state, options } = faulty();
    const log = await RunLog.open(watched, options);
    log.take({ type: "step", ...report(1) });
    await log.flush();
    expect(state.done.filter((name) => name.startsWith("flush")).toSorted()).toEqual([
      "flush metrics.jsonl",
      "flush train.log",
    ]);
    expect(state.done.at(-1)).toMatch(/^flush/);
    await log.flush(); // nothing new
    expect(state.done.filter((name) => name.startsWith("flush"))).toHaveLength(2);
  });
});
