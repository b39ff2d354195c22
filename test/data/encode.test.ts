import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Turn } from "../../src/data/conversation.ts";
import { encodeByChatTemplate, encodeExample } from "../../src/data/encode.ts";
import { applyTemplate, promptTemplate } from "../../src/data/templates.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";
import fixture from "../fixtures/data.json";
import { toyTokenizer } from "./toy-tokenizer.ts";

function fromSnake(turn: Record<string, unknown>): Turn {
  const { output_with_loss: outputWithLoss, need_eos_token: needEosToken, ...rest } = turn;
  return {
    ...(rest as unknown as Turn),
    ...(outputWithLoss === undefined ? {} : { outputWithLoss: outputWithLoss as boolean }),
    ...(needEosToken === undefined ? {} : { needEosToken: needEosToken as boolean }),
  };
}

describe("examples encode as XTuner's encode_fn encodes them", () => {
  test.each(fixture.encode)("$name", ({ example, max_length, input_ids_with_output, result }) => {
    const { inputIds, labels } = encodeExample(example.conversation.map(fromSnake), toyTokenizer, {
      maxLength: max_length,
      inputIdsWithOutput: input_ids_with_output,
    });
    expect([...inputIds]).toEqual(result.input_ids);
    expect([...labels]).toEqual(result.labels);
  });
});

test("every prompt without its answer starts with BOS", () => {
  const turns = [
    { input: "q", output: "a" },
    { input: "r", output: "b" },
  ];
  const options = { maxLength: 99, inputIdsWithOutput: false };
  expect([...encodeExample(turns, toyTokenizer, options).inputIds]).toEqual([1, 123, 1, 124]);
});

test("a tokenizer without BOS gets none, and one without EOS is refused where it is needed", () => {
  const { bosId: _, ...rest } = toyTokenizer;
  const turns: Turn[] = [{ input: "q", output: "a" }];
  expect([...encodeExample(turns, rest, { maxLength: 9 }).inputIds]).toEqual([123, 107, 2]);
  const noEos = { ...toyTokenizer, eosIds: [] };
  expect(() => encodeExample(turns, noEos, { maxLength: 9 })).toThrow(/names no EOS token/);
  const suffixed = [{ input: "q", output: "a!", needEosToken: false }];
  expect(encodeExample(suffixed, noEos, { maxLength: 9 }).eosSupervised).toBe(true);
});

test("what was cut is reported: nothing, only the separator, the end, or the answer", () => {
  const turns: Turn[] = [{ input: "qq", output: "aaa", sep: "\n" }]; // 1 + 2 + 3 + EOS + 1 = 8
  const report = (maxLength: number) => {
    const { truncated, eosSupervised, labelTokens } = encodeExample(turns, toyTokenizer, {
      maxLength,
    });
    return [truncated, eosSupervised, labelTokens];
  };
  expect(report(8)).toEqual([false, true, 4]);
  expect(report(7)).toEqual([true, true, 4]);
  expect(report(6)).toEqual([true, false, 3]);
  expect(report(3)).toEqual([true, false, 0]);
});

test("an answer that is not learned supervises no end", () => {
  const turns: Turn[] = [{ input: "q", output: "a", outputWithLoss: false }];
  expect(encodeExample(turns, toyTokenizer, { maxLength: 9 })).toMatchObject({
    eosSupervised: false,
    labelTokens: 0,
  });
});

/** The text of learned tokens, and a dot for each of the others. */
const learned = (ids: Uint32Array, labels: Int32Array) =>
  Array.from(labels, (label, i) => (label === -100 ? "." : toyTokenizer.decode([ids[i]!]))).join(
    "",
  );

describe("the model's own chat template", () => {
  // ChatML with single characters for the marks, each a special token: « starts and » ends a turn.
  const START = "«".codePointAt(0)! + 10;
  const END = "»".codePointAt(0)! + 10;
  const tokenizer = {
    ...toyTokenizer,
    bosToken: "",
    isSpecial: (id: number) => id === START || id === END,
  };
  const chatml = compileChatTemplate(
    "{% for m in messages %}«{{ m.role }}\n{{ m.content }}»\n{% endfor %}{% if add_generation_prompt %}«assistant\n{% endif %}",
  );

  test("answers and their end marks are learned, and nothing else", () => {
    const turns: Turn[] = [
      { system: "S", input: "u1", output: "a1" },
      { input: "u2", output: "no", outputWithLoss: false },
      { input: "u3", output: "a«3" },
    ];
    const { inputIds, labels, eosSupervised } = encodeByChatTemplate(turns, tokenizer, chatml, {
      maxLength: 999,
    });
    const text = toyTokenizer.decode(inputIds);
    expect(text).toBe(
      "«system\nS»\n«user\nu1»\n«assistant\na1»\n«user\nu2»\n«assistant\nno»\n«user\nu3»\n«assistant\na«3»\n",
    );
    expect(learned(inputIds, labels).replaceAll(/\.+/g, ".")).toBe(".a1».a«3».");
    expect(eosSupervised).toBe(true);
  });

  test("is encoded as the named template with the same marks, but for BOS", () => {
    const named = promptTemplate("internlm2_chat");
    const like = compileChatTemplate(
      "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    );
    const turns = [
      { system: "S", input: "u1", output: "a1" },
      { input: "u2", output: "a2" },
    ];
    const { bosId: _, ...noBos } = toyTokenizer;
    const expected = encodeExample(applyTemplate(turns, named), noBos, { maxLength: 999 });
    // ">" ends the mark in this character tokenizer.
    const marks = { ...noBos, isSpecial: (id: number) => id === ">".codePointAt(0)! + 10 };
    const actual = encodeByChatTemplate(turns, marks, like, { maxLength: 999 });
    expect(actual).toEqual(expected);
  });

  test("without an end mark all of the answer is learned, and that is reported", () => {
    const bare = compileChatTemplate("{% for m in messages %}{{ m.content }}\n{% endfor %}");
    const turns = [{ input: "u", output: "a b" }];
    const { inputIds, labels, eosSupervised } = encodeByChatTemplate(turns, tokenizer, bare, {
      maxLength: 99,
    });
    expect(learned(inputIds, labels)).toBe("..a b\n");
    expect(eosSupervised).toBe(false);
  });

  test("a template that leaves out an answer is refused, with which", () => {
    const forgetful = compileChatTemplate(
      "{% for m in messages %}{% if m.role == 'user' or loop.last %}«{{ m.content }}»{% endif %}{% endfor %}",
    );
    const turns = [
      { input: "u1", output: "a1" },
      { input: "u2", output: "a2" },
    ];
    const encode = (list: Turn[]) =>
      encodeByChatTemplate(list, tokenizer, forgetful, { maxLength: 99 });
    expect(encode(turns.slice(0, 1)).labelTokens).toBe(4);
    expect(() => encode(turns)).toThrow(/writes message 2, an answer, not at all/);
  });
});

const folder = new URL("../../../shared/data/", import.meta.url);
const parse = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`minimind-${name}.json`, folder), "utf8"));

// Other people's file, so it is not in the repository; absent where the folder is.
test.skipIf(!existsSync(folder))(
  "a real model's template teaches the answer and its end mark",
  () => {
    const files = { tokenizer: parse("tokenizer"), tokenizerConfig: parse("tokenizer_config") };
    const tokenizer = createTokenizer(files, "minimind");
    const turns = [
      { system: "S", input: "你好", output: "Hi 🙂." },
      { input: "q", output: "a" },
    ];
    const template = compileChatTemplate(tokenizer.chatTemplate!);
    const { inputIds, labels, eosSupervised } = encodeByChatTemplate(turns, tokenizer, template, {
      maxLength: 99,
    });
    expect(tokenizer.decode(inputIds)).toBe(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nHi 🙂.<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\na<|im_end|>\n",
    );
    expect(tokenizer.decode(labels.filter((label) => label >= 0))).toBe(
      "Hi 🙂.<|im_end|>a<|im_end|>",
    );
    expect(eosSupervised).toBe(true);
  },
);
