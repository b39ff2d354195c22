// What Review says without asking the engine, and what the recipe's slice derives from model and data.
import { describe, expect, test } from "vitest";
import { configOf } from "../../src/config/values.ts";
import type { StoredData, StoredModel, TrainConfig } from "../../src/services/api.ts";
import {
  completeConfig,
  dataArguments,
  factsOf,
  modelArgument,
  presetValues,
  suggestQuestions,
} from "../../src/ui/recipe.ts";
import {
  checkpointSpace,
  findDoubts,
  freeName,
  guessTime,
  readSettingTexts,
} from "../../src/ui/review.ts";

const model = (change: object = {}) =>
  ({
    id: "seedling",
    name: "Seedling",
    origin: { kind: "embedded" },
    bytes: 2.2e6,
    facts: { parameters: 1.1e6, contextTokens: 1024 },
    ...change,
  }) as unknown as StoredModel;
const data = (rows: number, bytes = 100 * rows) =>
  [{ id: "mine", name: "mine.jsonl", rows, bytes }] as unknown as StoredData[];
const config = (change: Record<string, unknown> = {}): TrainConfig =>
  configOf(new Map(Object.entries(change)));

describe("doubts", () => {
  test.each([
    [{ eval_split: 0.5, rows: 1 }, "allHeldOut"], // ⌈0.5⌉ of 1
    [{ eval_split: 0.05, rows: 21 }, "fewHeldOut"], // ⌈1.05⌉ = 2
    [{ eval_split: 0.05, rows: 81 }, undefined], // ⌈4.05⌉ = 5 say something
    [{ eval_split: 0, rows: 1 }, undefined],
    [{ max_length: 1025, rows: 900 }, "longRows"],
    [{ max_length: 1024, rows: 900 }, undefined],
  ])("%j is %s", ({ rows, ...change }, kind) => {
    const found = findDoubts(config({ max_length: 128, ...change }), model(), data(rows));
    expect(found.map((doubt) => doubt.kind)).toEqual(kind === undefined ? [] : [kind]);
  });
});

describe("rough time", () => {
  test("Seedling's quick run is short even in software, and 8B on a large file takes days there", () => {
    const quick = config({ max_steps: 30, max_length: 128, batch_size: 2, accumulative_counts: 1 });
    expect(guessTime(quick, model(), data(100), true)).toBe("seconds");
    const large = model({ facts: { parameters: 8e9, contextTokens: 4096 } });
    expect(guessTime(config(), large, data(50_000), true)).toBe("days");
    expect(guessTime(config({ max_epochs: 1 }), large, data(50_000), false)).toBe("hours");
  });
});

test("while a checkpoint is written, the oldest is still there", () => {
  expect(checkpointSpace(config({ save_total_limit: 2 }), 10)).toBe(30);
});

test("the engine's settings are read, alone and joined", () => {
  expect(
    readSettingTexts([
      "gradient_checkpointing=true",
      "batch_size=1, accumulative_counts=64",
      "lora.r: 8",
    ]),
  ).toEqual([
    ["gradient_checkpointing", true],
    ["batch_size", 1],
    ["accumulative_counts", 64],
    ["lora.r", 8],
  ]);
  expect(readSettingTexts(["quantization=nf4"])).toEqual([["quantization", "nf4"]]);
});

test("a run's name is free", () => {
  expect(freeName("a", [])).toBe("a");
  expect(freeName("a", ["a", "a 2", "a 4"])).toBe("a 3");
});

describe("recipe", () => {
  test("facts come from the model's and the data's records; none from nothing", () => {
    expect(factsOf(model(), data(50, 8000))).toEqual({
      parameters: 1.1e6,
      contextTokens: 1024,
      rows: 50,
      tokensPerRow: 40, // 160 bytes a row, 4 a token
    });
    expect(factsOf(undefined, [])).toEqual({});
  });

  test("model and data are named as a command line can find them", () => {
    const hub = model({ name: "org/Small-135M", origin: { kind: "hub" } });
    expect([model(), hub, undefined].map(modelArgument)).toEqual([
      "seedling",
      "Small-135M",
      "MODEL",
    ]);
    expect(dataArguments(["a.json", "b.CSV", "my rows", " "].map(named))).toEqual([
      "a.json",
      "b.CSV",
      "my rows.jsonl",
      "x1.jsonl",
    ]);
    expect(completeConfig(presetValues("quick"), model(), data(3))).toMatchObject({
      model: "seedling",
      data: ["mine.jsonl"],
      max_steps: 40,
    });
  });

  test("questions are the rows' own, short, unlike each other, from all over, at most three", () => {
    const rows = [
      row("Who?"),
      row(" Who? "),
      row("x".repeat(301)),
      row("I", "assistant"),
      row("A"),
    ];
    expect(suggestQuestions(rows)).toEqual(["Who?", "A"]);
    expect(
      suggestQuestions(
        ["Who are you?", "who are you", "你是谁?", "你是谁？"].map((text) => row(text)),
      ),
    ).toEqual(["Who are you?", "你是谁?"]);
    expect(suggestQuestions(["1", "2", "3", "4", "5", "6"].map((text) => row(text)))).toEqual([
      "1",
      "3",
      "5",
    ]);
    expect(suggestQuestions(["1", "2", "3", "4"].map((text) => row(text)))).toHaveLength(3);
  });
});

function named(name: string): StoredData {
  return { id: "x1", name } as unknown as StoredData;
}

function row(content: string, role = "user") {
  return { messages: [{ role, content }] };
}
