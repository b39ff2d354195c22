// What follows from runs' records and histories: what can be done with one, its numbers, and differences of recipes.
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import type { RunHistory, RunRecord, StepReport, TrainConfig } from "../../src/services/api.ts";
import { configDifferences } from "../../src/ui/config-difference.ts";
import { canContinue, findRuns, pageOf, resultOf } from "../../src/ui/run-library.ts";

const CONFIG = parseConfig({ model: "seedling", data: "rows.json" }, "test");

function runOf(change: Partial<RunRecord>): RunRecord {
  return {
    id: "first",
    name: "First",
    notes: "",
    createdAt: "2026-01-01T00:00:00Z",
    changedAt: "2026-01-01T00:00:00Z",
    modelId: "seedling",
    modelName: "Seedling",
    dataIds: ["rows"],
    dataName: "rows.json",
    config: CONFIG,
    status: "stopped",
    step: 3,
    steps: 7,
    finalLoss: 1.5,
    checkpoint: "iter_3",
    checkpoints: ["iter_3"],
    parent: null,
    error: null,
    ...change,
  };
}

function step(n: number, tokens: number, tokensPerSecond: number): StepReport {
  return {
    step: n,
    steps: 7,
    epoch: n / 7,
    loss: 3 / n,
    learningRate: 1e-4,
    gradNorm: 1,
    lossScale: 1,
    tokens,
    labelTokens: 5,
    tokensPerSecond,
    etaSeconds: 1,
    skipped: n === 3 ? 1 : 0,
  };
}

test("a run goes on unless it is finished or under way", () => {
  const statuses = ["new", "stopped", "interrupted", "failed", "finished", "running", "paused"];
  expect(
    statuses.filter((status) => canContinue(runOf({ status: status as RunRecord["status"] }))),
  ).toEqual(["new", "stopped", "interrupted", "failed"]);
});

test("runs are found by words of name, model, data and notes, all of them, in any case", () => {
  const runs = [
    runOf({ id: "a", name: "Pirate", notes: "too fast" }),
    runOf({ id: "b", modelName: "Pirate-1B", dataName: "faster.jsonl" }),
    runOf({ id: "c" }),
  ];
  const found = (query: string) => findRuns(runs, query).map(({ id }) => id);
  expect(found("FAST  pirate")).toEqual(["a", "b"]);
  expect(found("pirate-1b")).toEqual(["b"]);
  expect(found("fast slow")).toEqual([]);
  expect(found("  ")).toEqual(["a", "b", "c"]);
});

describe("what a run came to", () => {
  test("is its last step's and its last evaluation's, and the time its steps took", () => {
    const history: RunHistory = {
      steps: [step(1, 100, 50), step(2, 200, 100), step(3, 260, 30)],
      evals: [
        { step: 0, loss: 4, perplexity: 54.6, tokenAccuracy: 0.1, labelTokens: 11 },
        { step: 3, loss: 2, perplexity: 7.39, tokenAccuracy: 0.5, labelTokens: 11 },
      ],
      samples: [],
    };
    expect(resultOf(history)).toEqual({
      loss: 1,
      heldOutLoss: 2,
      perplexity: 7.39,
      tokenAccuracy: 0.5,
      tokens: 260,
      trainedSeconds: 2 + 1 + 2,
      skipped: 1,
    });
  });

  test("is nothing where nothing happened, and no NaN where a speed was not finite", () => {
    const nothing = resultOf({ steps: [], evals: [], samples: [] });
    expect(nothing).toMatchObject({ loss: null, heldOutLoss: null, tokens: 0, trainedSeconds: 0 });
    const odd = [step(1, 100, Number.NaN), step(2, 200, 100)];
    expect(resultOf({ steps: odd, evals: [], samples: [] }).trainedSeconds).toBe(1);
  });
});

test("a page past the end is the last one, and nothing is one empty page", () => {
  const entries = Array.from({ length: 7 }, (_, i) => i);
  expect(pageOf(entries, 1, 3)).toEqual({ page: 1, pages: 3, entries: [3, 4, 5] });
  expect(pageOf(entries, 9, 3)).toEqual({ page: 2, pages: 3, entries: [6] });
  expect(pageOf([], 0, 3)).toEqual({ page: 0, pages: 1, entries: [] });
});

describe("differences of recipes", () => {
  test("are told by path in the table's order, and only where there are any", () => {
    const other: TrainConfig = {
      ...CONFIG,
      lr: 1e-4,
      betas: [0.9, 0.95],
      system: "Be brief.",
      evaluation_inputs: ["Who are you?", "a, b"],
      lora: { ...CONFIG.lora, r: 8 },
    };
    expect(configDifferences([CONFIG, other, CONFIG])).toEqual([
      { path: "system", values: ['""', "Be brief.", '""'] },
      { path: "lr", values: ["0.0002", "0.0001", "0.0002"] },
      { path: "betas", values: ["[0.9,0.999]", "[0.9,0.95]", "[0.9,0.999]"] },
      { path: "lora.r", values: ["64", "8", "64"] },
      { path: "evaluation_inputs", values: ["[]", '["Who are you?","a, b"]', "[]"] },
    ]);
    expect(configDifferences([CONFIG, { ...CONFIG }])).toEqual([]);
  });

  test("leave out what the page sets, which the record says by name", () => {
    const other = { ...CONFIG, model: "other", data: ["x.jsonl"], work_dir: "runs/x" };
    expect(configDifferences([CONFIG, other])).toEqual([]);
  });

  test("take an option that an earlier release did not write as its default", () => {
    const { seed: _, ...earlier } = CONFIG;
    expect(configDifferences([CONFIG, earlier as TrainConfig])).toEqual([]);
  });
});
