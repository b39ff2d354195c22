import { describe, expect, test } from "vitest";
import { createBatches } from "../../src/data/batches.ts";
import {
  buildDataset,
  encodeDataset,
  type EncodeDatasetOptions,
  type PackOptions,
  splitExamples,
} from "../../src/data/dataset.ts";
import { formatFunnel } from "../../src/data/funnel.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";
import { millisecondsOf } from "../timing.ts";
import { listOf } from "./lists.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const file = (text: string, name = "d.jsonl") => ({ name, stream: () => [text] });
const options: EncodeDatasetOptions & PackOptions = {
  tokenizer: toyTokenizer,
  template: promptTemplate("default"),
  maxLength: 64,
  pack: true,
  seed: 3,
};
const chat = (user: string, assistant: string, weight = 1) =>
  JSON.stringify({
    messages: [
      { role: "user", content: user },
      { role: "assistant", content: assistant, weight },
    ],
  });
const turn = (prompt: number, learn: boolean) => ({
  input: "q".repeat(prompt),
  output: "a",
  output_with_loss: learn,
});
const onlyUser = JSON.stringify({ messages: [{ role: "user", content: "q" }] });

test("the funnel counts every row: read, dropped and why, cut, kept", async () => {
  const lines = [
    chat("q", "a"),
    onlyUser,
    "{broken",
    chat("q", "not learned", 0),
    chat("q".repeat(99), "the prompt alone is too long"),
    chat("q", "a".repeat(99)),
    chat("r", "b"),
  ];
  const { train, report } = await buildDataset([file(lines.join("\n"))], {
    ...options,
    brokenRows: "drop",
  });
  expect(report).toMatchObject({
    files: [{ name: "d.jsonl", format: "openai" }],
    rowsRead: 7,
    droppedBroken: 1,
    droppedEmpty: 1,
    droppedUnlabeled: 2,
    kept: 3,
    truncated: 1,
    endless: 1,
    maxLength: 64,
  });
  // "<|User|>:q\n<|Bot|>:" is 19 tokens; with BOS, the answer, EOS and the separator, 23.
  expect(report.tokens).toBe(23 + 64 + 23);
  expect(report.labelTokens).toBe(2 + (64 - 20) + 2);
  expect(listOf(train).map(({ inputIds }) => inputIds.length)).toEqual([64, 46]);
  expect(report.trainTokens).toBe(110);
  expect(formatFunnel(report)).toEqual([
    'd.jsonl is read as openai: 6 rows up to row 7 have a "messages" list of roles and contents.',
    "Read: 7 rows.",
    "Left out: 1 that cannot be read, 1 without a conversation, 2 without a token to learn.",
    "The first that cannot be read: d.jsonl, line 3 (row 3) is not JSON: {broken",
    "Kept: 3 examples, 110 tokens, 43.6% of them learned.",
    "Cut at 64 tokens: 1 example, which lose 57 tokens.",
    "Without an end to the answer, so that the model may not stop: 1 example, 1 of them cut off.",
    "Packed into 2 rows of 64 tokens, 85.9% filled.",
  ]);
});

test("several files are one data set, each in its own format", async () => {
  const alpaca = JSON.stringify([{ instruction: "q", input: "", output: "a" }]);
  const files = [file(chat("q", "a"), "a.jsonl"), file(alpaca, "b.json")];
  const { examples, funnel } = await encodeDataset(files, options);
  expect(funnel.files.map(({ name, format }) => [name, format])).toEqual([
    ["a.jsonl", "openai"],
    ["b.json", "alpaca"],
  ]);
  // Alpaca's newline after the instruction is one more token.
  expect(listOf(examples).map(({ inputIds }) => inputIds.length)).toEqual([23, 24]);
  const bad = file("{broken", "c.json");
  await expect(encodeDataset([...files, bad], options)).rejects.toThrow(/c\.json, line 1/);
});

test("a broken row ends the read unless the rows may be dropped", async () => {
  await expect(buildDataset([file(`${chat("q", "a")}\n{broken`)], options)).rejects.toThrow(
    /line 2/,
  );
});

describe("a file from which nothing can be learned is refused with the reason", () => {
  test.each([
    [
      "prompts too long",
      chat("q".repeat(99), "a"),
      /Nothing is left of the 1 row of d\.jsonl: 1 without a token to learn\.\nRaise max_length above 64/,
    ],
    ["no answers", onlyUser, /1 without a conversation\.\nCheck that the rows hold answers/],
    ["all broken", "{broken\n{too", /2 that cannot be read\.\nCorrect the file/],
  ])("%s", async (_, text, fault) => {
    await expect(buildDataset([file(text)], { ...options, brokenRows: "drop" })).rejects.toThrow(
      fault,
    );
  });
});

test("a row in which no token is learned is left out and counted", async () => {
  // Each turn is BOS, the prompt, "a" and EOS. Of rows of 20, the second is the end of an example that
  // teaches nothing more and the start of a long prompt.
  const rows = [[turn(7, true)], [turn(1, true), turn(13, false)], [turn(17, true)]];
  const text = rows.map((conversation) => JSON.stringify({ conversation })).join("\n");
  const { train, report } = await buildDataset([file(text)], {
    ...options,
    template: { instruction: "{input}" },
    maxLength: 20,
    shuffleBeforePack: false,
  });
  expect(report).toMatchObject({ kept: 3, tokens: 50, trainRows: 2, droppedRows: 1 });
  expect(listOf(train).map(({ inputIds }) => inputIds.length)).toEqual([20, 10]);
  expect(formatFunnel(report).at(-1)).toBe(
    "Left out after packing, as no token in them is learned: 1 row.",
  );
});

test("a row whose only learned token begins a document teaches nothing, and is left out", async () => {
  // 10 + 11 tokens in rows of 20: the second example's EOS is alone in the second row.
  const rows = [[turn(7, true)], [turn(8, true)]];
  const text = rows.map((conversation) => JSON.stringify({ conversation })).join("\n");
  const template = { instruction: "{input}" };
  const { report } = await buildDataset([file(text)], {
    ...options,
    template,
    maxLength: 20,
    shuffleBeforePack: false,
  });
  expect(report).toMatchObject({ tokens: 21, trainRows: 1, droppedRows: 1 });
});

test("without packing every example has a row", async () => {
  const text = [chat("q", "a"), chat("qq", "aaa")].join("\n");
  const { train } = await buildDataset([file(text)], { ...options, pack: false });
  expect(listOf(train).map(({ inputIds }) => inputIds.length)).toEqual([23, 26]);
});

test("the same seed packs the same rows, and another seed does not", async () => {
  const text = Array.from({ length: 30 }, (_, i) => chat(`q${i}`, `a${i}`)).join("\n");
  const rowsOf = async (seed: number) =>
    listOf((await buildDataset([file(text)], { ...options, seed })).train);
  expect(await rowsOf(3)).toEqual(await rowsOf(3));
  expect(await rowsOf(3)).not.toEqual(await rowsOf(4));
});

describe("the evaluation split", () => {
  const items = [...Array(11).keys()];
  const split = (evalSplit: number, seed = 1) => splitExamples(items.length, { evalSplit, seed });

  test.each([
    [0, 0],
    [0.01, 1],
    [0.2, 3],
    [1, 1],
    [4, 4],
  ])("%d of 11 examples sets %d aside", (evalSplit, count) => {
    const { train, evaluation } = split(evalSplit);
    expect(evaluation.length).toBe(count);
    expect([...train, ...evaluation].toSorted((a, b) => a - b)).toEqual(items);
    expect(evaluation).toEqual(evaluation.toSorted((a, b) => a - b));
  });

  test("follows from the seed", () => {
    expect(split(4)).toEqual(split(4));
    expect(split(4)).not.toEqual(split(4, 2));
  });

  test("that leaves nothing to train on is refused", () => {
    expect(() => split(11)).toThrow(/takes 11 of the 11 examples, so none are left/);
    expect(() => split(0.95)).toThrow(/none are left/);
  });

  test("is packed into rows of its own", async () => {
    const text = Array.from({ length: 10 }, (_, i) => chat(`q${i}`, "a")).join("\n");
    const { evaluation, report } = await buildDataset([file(text)], {
      ...options,
      evalSplit: 0.25,
    });
    expect(report).toMatchObject({ trainExamples: 7, evaluationExamples: 3, evaluationRows: 2 });
    expect(listOf(evaluation).reduce((sum, row) => sum + row.inputIds.length, 0)).toBe(3 * 24);
  });
});

test("the model's own template is used where it is given", async () => {
  const template = compileChatTemplate(
    "{% for m in messages %}{{ m.role }}:{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
  );
  const { examples } = await encodeDataset([file(chat("q", "a"))], { ...options, template });
  const example = examples.at(0);
  expect(toyTokenizer.decode(example!.inputIds)).toBe("user:q</s>assistant:a</s>");
});

test("10,001 rows are read, encoded, packed and batched in under two seconds", async () => {
  const sample = {
    messages: [
      { role: "user", content: "请做一下自我介绍" },
      { role: "assistant", content: "我是小助手,内在是上海AI实验室书生·浦语的1.8B大模型哦" },
    ],
  };
  const text = JSON.stringify(
    Array.from({ length: 10_001 }, () => sample),
    null,
    4,
  );
  const build = async () => {
    const { train, report } = await buildDataset([file(text)], { ...options, maxLength: 1024 });
    const batches = createBatches(train, { rowTokens: 1024, rowsPerBatch: 1, seed: 0 });
    for (let i = 0; i < batches.batchesPerEpoch; i++) batches.at(i);
    return report;
  };
  let report!: Awaited<ReturnType<typeof build>>;
  expect(await millisecondsOf(async () => (report = await build()))).toBeLessThan(2000);
  expect(report).toMatchObject({ rowsRead: 10_001, kept: 10_001 });
  expect(report.trainTokens).toBe(report.tokens);
});
