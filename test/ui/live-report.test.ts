// What a run has come to, put together from its history and its events.
import { describe, expect, test } from "vitest";
import { Curves, LiveReport, settingsIn, tabulateAnswers } from "../../src/ui/live-report.ts";
import type { StepReport } from "../../src/services/api.ts";

// 10 tokens a step; by default 5 tokens a second, so 2 seconds a step.
function step(number: number, changes: Partial<StepReport> = {}): StepReport {
  return {
    step: number,
    steps: 9,
    epoch: number / 3,
    loss: 3 / number,
    learningRate: 1e-3,
    gradNorm: 0.5,
    lossScale: 1,
    tokens: 10 * number,
    labelTokens: 7,
    tokensPerSecond: 5,
    etaSeconds: 1,
    skipped: 0,
    ...changes,
  };
}

const plan = (firstStep: number) => ({
  type: "plan" as const,
  plan: {
    adapterName: "x",
    computeDtype: "f32" as const,
    steps: 9,
    firstStep,
    trainableParameters: 1,
    dispatchesPerMicroBatch: 1,
    memory: { total: 1, byKind: {} } as never,
  },
});

describe("a resumed run", () => {
  test("has each step once: what comes again replaces what was there, and what followed it", () => {
    const report = new LiveReport();
    report.join({ steps: [1, 2, 3, 4, 5].map((n) => step(n)), evals: [], samples: [] });
    expect(report.isFresh).toBe(false);
    report.take(plan(2));
    expect(report.curves.step).toEqual([1, 2, 3, 4, 5]);
    report.take({ type: "step", ...step(3, { loss: 7 }) });
    expect(report.curves.step).toEqual([1, 2, 3]);
    expect(report.curves.loss.at(-1)).toBe(7);
    expect(report.isFresh).toBe(true);
  });

  test("its clock goes on from the step it was resumed at, with a speed of its own", () => {
    const report = new LiveReport();
    report.join({ steps: [1, 2, 3, 4].map((n) => step(n)), evals: [], samples: [] });
    report.take(plan(2));
    // One step of 10 tokens since, at 2 tokens a second: 5 seconds after the 4 of two steps.
    report.take({ type: "step", ...step(3, { tokensPerSecond: 2 }) });
    expect(report.curves.seconds).toEqual([2, 4, 9]);
  });

  test("answers and held-out losses that come again replace the earlier ones", () => {
    const report = new LiveReport();
    const held = { perplexity: 2, tokenAccuracy: 0.5, labelTokens: 3 };
    report.join({
      steps: [],
      evals: [
        { step: 2, loss: 2, ...held },
        { step: 4, loss: 1, ...held },
      ],
      samples: [
        { step: 2, input: "a", output: "old" },
        { step: 2, input: "b", output: "kept" },
        { step: 4, input: "a", output: "gone" },
      ],
    });
    report.take({ type: "sample", step: 2, input: "a", output: "new" });
    report.take({ type: "eval", step: 2, loss: 9, ...held });
    expect(report.answers.map(({ output }) => output)).toEqual(["kept", "new"]);
    expect(report.evals.map(({ loss }) => loss)).toEqual([9]);
  });
});

describe("curves", () => {
  test("a history of two sessions has a clock that never goes back", () => {
    const curves = new Curves();
    for (const n of [1, 2, 3]) curves.add(step(n));
    // A second session, ten times as fast: its speed is told for its own steps alone.
    for (const n of [4, 5]) curves.add(step(n, { tokensPerSecond: 50 }));
    expect(curves.seconds.every((value, i, all) => i === 0 || value > (all[i - 1] ?? 0))).toBe(
      true,
    );
    expect(curves.seconds.slice(0, 3)).toEqual([2, 4, 6]);
    expect(curves.seconds[4]).toBeCloseTo(6.4, 9);
  });

  test("a loss that is not finite is a gap", () => {
    const curves = new Curves();
    curves.add(step(1, { loss: Number.NaN, gradNorm: Number.POSITIVE_INFINITY }));
    expect([curves.loss, curves.gradNorm]).toEqual([[null], [null]]);
  });

  test("a step is found on each axis; between steps it is the one before", () => {
    const curves = new Curves();
    for (const n of [1, 2, 5]) curves.add(step(n));
    expect(curves.at("step", 4)).toBe(4);
    expect(curves.at("tokens", 4)).toBe(20);
    expect(curves.at("tokens", 0)).toBe(0);
  });
});

test("a lost GPU is told until the run has its plan again, and stays among the warnings", () => {
  const report = new LiveReport();
  report.take({ type: "recovering", attempt: 2, reason: "The GPU was lost." });
  expect(report.recovering?.attempt).toBe(2);
  expect(report.phase).toBe("start");
  report.take(plan(0));
  expect(report.recovering).toBeUndefined();
  expect(report.warnings.map(({ message }) => message)).toEqual(["The GPU was lost."]);
});

test("answers make a row for each step, the newest first, each with the answer before it", () => {
  const { questions, rows } = tabulateAnswers([
    { step: 0, input: "a", output: "a0" },
    { step: 0, input: "b", output: "b0" },
    { step: 5, input: "a", output: "a5" },
    { step: 9, input: "b", output: "b9" },
  ]);
  expect(questions).toEqual(["a", "b"]);
  expect(rows.map((row) => row.step)).toEqual([9, 5, 0]);
  expect(rows[0]?.cells[1]).toEqual({ output: "b9", previous: "b0" });
  expect(rows[1]?.cells[0]).toEqual({ output: "a5", previous: "a0" });
  expect(rows[2]?.cells[0]).toEqual({ output: "a0", previous: undefined });
});

test("settings are found in a remedy, and nothing that is no option", () => {
  const remedy = "Set lora.r=8 (then 1.2 GiB), and with it max_length=512. See http://x/?a=b.";
  expect(settingsIn(`It needs 9 GiB.\n${remedy}`)).toEqual([
    { path: "lora.r", value: "8" },
    { path: "max_length", value: "512" },
  ]);
});
