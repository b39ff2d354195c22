// Looking at a data set: rows in order, every stage of a row, and what is wrong with the whole. No process, no GPU.
import { beforeAll, describe, expect, test } from "vitest";
import { asText, banner, listOf, maskedText } from "../../src/cli/dataset-print.ts";
import { createPaint } from "../../src/cli/terminal.ts";
import { parseConfig } from "../../src/config/read.ts";
import type { EncodedExample } from "../../src/data/encode.ts";
import type { DataSource } from "../../src/engine.ts";
import {
  findFaults,
  type Finding,
  surveyExamples,
} from "../../src/engine/datasets/dataset-findings.ts";
import { drawSamples } from "../../src/engine/datasets/dataset-samples.ts";
import {
  buildDatasetView,
  type DatasetView,
  openEncoding,
  segmentsOf,
} from "../../src/engine/datasets/dataset-view.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { tinyRows, writeTinyModel } from "../engine/tiny-folder.ts";

const model = openFolder(writeTinyModel());

function requestOf(rows: readonly unknown[] | string, options: object = {}, name = "rows.json") {
  const text = typeof rows === "string" ? rows : JSON.stringify(rows);
  const source: DataSource = {
    name,
    async *stream() {
      yield new TextEncoder().encode(text);
    },
  };
  const given = { model: "tiny", data: "rows.json", max_length: 64, ...options };
  return { config: parseConfig(given, "the test"), model, data: [source] };
}

async function viewOf(
  rows: readonly unknown[] | string,
  options: object = {},
  name?: string,
): Promise<DatasetView> {
  const request = requestOf(rows, options, name);
  const encoding = await openEncoding(request);
  return buildDatasetView(request, {
    ...encoding,
    options: { ...encoding.options, brokenRows: "drop" },
  });
}

async function findingsOf(
  rows: readonly unknown[] | string,
  options: object = {},
  name?: string,
): Promise<Finding[]> {
  const view = await viewOf(rows, options, name);
  const survey = surveyExamples(view.encoded.examples, view.opened.tokenizer.bosId);
  const request = requestOf(rows, options, name);
  return findFaults(view, request.config, survey);
}

describe("a row in order", () => {
  let view: DatasetView;
  beforeAll(async () => {
    view = await viewOf(tinyRows(9), { prompt_template: "default", shuffle_before_pack: false });
  });

  test("segments are the row's text and tokens, cut where learning begins and ends", () => {
    const row = view.rows.at(0)!;
    const { tokenizer } = view.opened;
    const segments = segmentsOf(row, tokenizer);
    expect(segments.map(({ text }) => text).join("")).toBe(tokenizer.decode(row.inputIds));
    expect(segments.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(row.inputIds.length);
    expect(segments.slice(0, 3)).toMatchObject([
      { isLearned: false, text: "<s><|User|>:What is 0 plus 0?\n<|Bot|>:" },
      { isLearned: true, text: "It is 0.</s>" },
      { isLearned: false },
    ]);
  });

  test("in a pipe each run has its mark and its count", () => {
    const row = view.rows.at(0)!;
    const segments = segmentsOf(row, view.opened.tokenizer).slice(0, 2);
    const [shown, learned] = segments.map(({ tokens }) => tokens);
    expect(maskedText(segments, createPaint({}, {}), false)).toBe(
      `[-100 ×${shown}] <s><|User|>:What is 0 plus 0?↵\n<|Bot|>:\n[learned ×${learned}] It is 0.</s>\n`,
    );
  });

  test("on a terminal learned text is green, the rest dim, and nothing of it is obeyed", () => {
    const paint = createPaint({ isTTY: true }, {});
    const segments = [
      { isLearned: false, tokens: 2, text: "a\nb" },
      { isLearned: true, tokens: 1, text: "c\u001b[2J" },
    ];
    expect(maskedText(segments, paint, true)).toBe(
      "\u001b[2ma\u001b[22m\n\u001b[2mb\u001b[22m\u001b[32mc␛[2J\u001b[39m\n",
    );
    expect(asText("\u001b[2J", false)).toBe("\u001b[2J\n");
  });

  test("banners and lists are XTuner's", () => {
    expect(banner("input_ids")).toBe(`${"#".repeat(20)}   input_ids   ${"#".repeat(20)}\n`);
    expect(listOf(Int32Array.of(-100, 5))).toBe("[-100, 5]\n");
  });

  test("questions without answers can be looked at, though nothing can be trained on them", async () => {
    const options = { input_ids_with_output: false, prompt_template: "default" };
    const prompts = await viewOf(tinyRows(3), options);
    expect(prompts.dataset).toBeUndefined();
    expect(prompts.rows.length).toBe(3);
    expect([...prompts.rows.at(0)!.labels].every((label) => label === -100)).toBe(true);
  });
});

test("samples are drawn by the seed, each at all its stages", async () => {
  const request = requestOf(tinyRows(50), { prompt_template: "default", system: "Be kind." });
  const encoding = await openEncoding(request);
  const samples = await drawSamples(request, encoding, 4);
  expect(samples).toHaveLength(4);
  expect(await drawSamples(request, encoding, 4)).toEqual(samples);
  const [{ where, raw, conversation, templated, example }] = samples as [(typeof samples)[0]];
  const row = Number(/row (\d+)/.exec(where)?.[1]);
  expect(raw).toEqual(tinyRows(50)[row - 1]);
  expect(conversation).toMatchObject([{ output: `It is ${row - 1 + ((row - 1) % 7)}.` }]);
  expect(templated).toMatchObject([{ input: expect.stringContaining("<|System|>:Be kind.\n") }]);
  expect(encoding.opened.tokenizer.decode(example!.inputIds)).toContain("<|System|>:Be kind.\n");
});

test("samples leave out rows that cannot be mapped", async () => {
  const bad = { input: "What is it?", output: ["no text"] };
  const request = requestOf([...tinyRows(3), bad], { prompt_template: "default" });
  const encoding = await openEncoding(request);
  expect(await drawSamples(request, encoding, 9)).toHaveLength(3);
});

function exampleOf(ids: number[], labels = ids, tokensLost = 0): EncodedExample {
  return {
    inputIds: Uint32Array.from(ids),
    labels: Int32Array.from(labels),
    truncated: tokensLost > 0,
    tokensLost,
    eosSupervised: true,
    labelTokens: labels.filter((label) => label >= 0).length,
  };
}

test("copies are examples that are equal in tokens, labels and what they lost", () => {
  const examples = [
    exampleOf([1, 2, 3]),
    exampleOf([3, 2, 1]),
    exampleOf([1, 2, 3], [-100, 2, 3]),
    exampleOf([1, 2, 3], [1, 2, 3], 4),
    exampleOf([1, 2, 3]),
    exampleOf([1, 2, 3]),
  ];
  expect(surveyExamples(examples, undefined).copies).toBe(2);
});

function rowOf(question: string, answer: string) {
  return { input: question, output: answer };
}

describe("findings", () => {
  const good = Array.from({ length: 4 }, (_, i) => rowOf(`Question ${i}?`, `Answer ${i}.`));

  test("there are none in sound data by the model's own template", async () => {
    expect(await findingsOf(good)).toEqual([]);
  });

  test.each([
    ["copies", [...good, ...good], {}, "warning", "Copies of another: 4 of 8 examples."],
    [
      "long examples",
      [...good, rowOf("Why?", "Because. ".repeat(60))],
      {},
      "warning",
      "Cut at 64 tokens: 1 of 5 examples, which lose",
    ],
    [
      "long prompts",
      [...good, rowOf("Why? ".repeat(60), "So.")],
      {},
      "warning",
      "Without a token to learn within 64 tokens, and left out: 1 row.",
    ],
    [
      "long prompts nearly everywhere",
      [rowOf("a ", "b"), ...Array.from({ length: 3 }, () => rowOf("Why? ".repeat(60), "So."))],
      {},
      "error",
      "and left out: 3 rows.",
    ],
    [
      "two BOS",
      good.map(({ input, output }) => rowOf(`<s>${input}`, output)),
      { prompt_template: "none" },
      "error",
      "Beginning with <s> twice",
    ],
    [
      "another template",
      good,
      { prompt_template: "default" },
      "warning",
      "prompt_template default writes",
    ],
    [
      "headings in oasst1",
      [{ text: "### Human: Hi\n### Assistant: # A\n### B\ntext" }],
      { max_length: 512 },
      "warning",
      "Mapped to hardly what is meant: 1 row. The first: rows.json, row 1",
    ],
    ["long rows", good, { max_length: 1024 }, "warning", "made for at most 512 tokens"],
    [
      "a table under compat",
      good,
      { compat: "xtuner-0.1.17", prompt_template: "default" },
      "warning",
      "XTuner's check-custom-dataset takes JSON alone; rows.table is read here",
      "rows.table",
    ],
  ] as const)("%s", async (_what, rows, options, severity, words, name?: string) => {
    const findings = await findingsOf(rows, options, name);
    expect(findings).toContainEqual({
      severity,
      problem: expect.stringContaining(words),
      remedy: expect.stringMatching(/\.$/),
    });
  });

  test("a row that cannot be mapped is a finding among the others", async () => {
    const [finding, ...more] = await findingsOf([...good, { input: "Why?", output: ["no text"] }]);
    expect(more).toEqual([]);
    expect(finding?.severity).toBe("error");
    expect(finding?.problem).toMatch(/^1 row cannot be read. The first: rows.json, row 5/);
  });

  test("rows that cannot be read are counted, with the first of them", async () => {
    const lines = good.map((row) => JSON.stringify(row));
    const findings = await findingsOf([...lines, "{oops", "nope"].join("\n"));
    expect(findings).toHaveLength(1);
    expect(findings[0]?.severity).toBe("error");
    expect(findings[0]?.problem).toMatch(/^2 rows cannot be read. The first: rows.json, line 5/);
  });
});
