// What a config says of formats and fields, from a file's rows to examples; and plain text without a template.
import { expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { encodeDataset, type EncodeDatasetOptions } from "../../src/data/dataset.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const show = (id: number) => (id === 1 ? "^" : id === 2 ? "$" : toyTokenizer.decode([id]));

async function textsOf(rows: readonly object[], more: Partial<EncodeDatasetOptions> = {}) {
  const text = rows.map((row) => JSON.stringify(row)).join("\n");
  const file = { name: "d.jsonl", stream: () => [text] };
  const { examples, funnel } = await encodeDataset([file], {
    tokenizer: toyTokenizer,
    template: promptTemplate("default"),
    maxLength: 999,
    ...more,
  });
  const texts = Array.from({ length: examples.length }, (_, i) => {
    const { inputIds, labels } = examples.at(i)!;
    const learned = Array.from(labels).filter((label) => label >= 0);
    return [Array.from(inputIds, show).join(""), learned.map(show).join("")];
  });
  return { texts, funnel };
}

test("fields by their names", async () => {
  const row = {
    log: [
      { who: "human", says: "q" },
      { who: "gpt", says: "a" },
    ],
  };
  const fields = { messages: "log", role: "who", content: "says" };
  const { texts, funnel } = await textsOf([row], { fields });
  expect(texts).toEqual([["^<|User|>:q\n<|Bot|>:a$\n", "a$"]]);
  expect(funnel.files[0]?.reason).toContain('"log"');
});

test("segments stand as they are: no template, system text, BOS or EOS", async () => {
  const segments = [
    { label: false, text: "Q: q\n" },
    { label: true, text: "A: a" },
    { label: false, text: "!" },
    { label: false, text: "?" },
  ];
  const { texts } = await textsOf([{ segments }], { system: "S" });
  expect(texts).toEqual([["Q: q\nA: a!?", "A: a"]]);
});

test("a row that only its encoding refuses is named", async () => {
  const messages = [
    { role: "user", content: "q" },
    { role: "tool", content: "t" },
    { role: "assistant", content: "a" },
  ];
  const rows = [{ messages: [messages[0], messages[2]] }, { messages }];
  await expect(textsOf(rows)).rejects.toThrow(
    /^d\.jsonl, row 2 \(line 2\): The conversation has tools in it/,
  );
  await expect(textsOf(rows, { mapAsXtuner: true })).rejects.toThrow(
    /^d\.jsonl, row 2 \(line 2\), messages\[1\]: the role "tool" is unknown to XTuner/,
  );
});

test("without a template texts are as they are, and turns end as they say", async () => {
  const conversation = [
    { system: "S: ", input: "q", output: "a", need_eos_token: false, sep: "|" },
    { input: "r", output: "b" },
  ];
  const { texts } = await textsOf([{ conversation }], { template: promptTemplate("none") });
  expect(texts).toEqual([["^S: qa|rb$", "ab$"]]);
});

test("text for pre-training has no template around it and goes on over examples, but under XTuner's rules", async () => {
  const rows = [{ text: " once upon a time " }, { text: "x" }];
  const sane = await textsOf(rows, { maxLength: 10, system: "S" });
  expect(sane.texts.map(([text]) => text)).toEqual(["^ once upo", "n a time $", "^x$"]);
  expect(sane.texts.map(([, learned]) => learned)).toEqual([" once upo", "n a time $", "x$"]);
  const named = await textsOf(rows, { format: "pretrain" });
  expect(named.texts[0]).toEqual(["^once upon a time$", "once upon a time$"]);
  const compat = { format: "pretrain", mapAsXtuner: true, continueTexts: false } as const;
  const { texts } = await textsOf(rows, compat);
  expect(texts[0]?.[0]).toBe("^<|User|>:\n<|Bot|>:once upon a time$\n");
});

test("a heading that cuts an oasst1 text is told, and so are roles that do not take turns", async () => {
  const rows = [
    { text: "### Human: q### Assistant: a" },
    { text: "### Human: q### Assistant: a\n### A heading\nmore" },
    { text: "### Human: q### Human: r### Assistant: a### Assistant: b" },
  ];
  const { funnel } = await textsOf(rows);
  expect(funnel.doubtful).toBe(2);
  expect(funnel.firstDoubt).toBe(
    'd.jsonl, row 2 (line 2): "###" stands where nobody begins to speak, so "A heading\\nmore" is left out.',
  );
  const [, , last] = await Promise.all(rows.map((row) => textsOf([row])));
  expect(last?.funnel.firstDoubt).toMatch(/message 2 is a human's, where the other was due/);
});

test("a row nested deeper than any reader goes is refused", async () => {
  const deep = `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`;
  const text = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"tools":[${deep}]}`;
  const file = { name: "d.jsonl", stream: () => [text] };
  const options = { tokenizer: toyTokenizer, template: promptTemplate("default"), maxLength: 9 };
  await expect(encodeDataset([file], options)).rejects.toThrow(UserError);
});
