// SentencePiece models read here against the original package: ids, texts, and the tokenizer.json made of them.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { createSentencePieceEncoder } from "../../src/formats/sentencepiece-encoder.ts";
import { tokenizerFromSentencePiece } from "../../src/formats/sentencepiece-tokenizer.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";
import { python, workDirectory } from "./python.ts";
import { score } from "./scorecard.ts";

interface Expected {
  texts: string[];
  /** Without special tokens: what looks like one is text. */
  ids: number[][];
  idsWithTokens: number[][];
  decoded: string[];
}

const out = await workDirectory("sentencepiece");
// InternLM2's model is other people's, so not in the repository; it is left out where it is absent.
const real = fileURLToPath(
  new URL("../../../shared/data/internlm2-tokenizer.model", import.meta.url),
);
const names = JSON.parse(
  await python("sentencepiece", ["make", out, ...(existsSync(real) ? [real] : [])]),
) as string[];

/** As in the folder of InternLM2's chat model. */
const INTERNLM2_CONFIG = {
  tokenizer_class: "InternLM2Tokenizer",
  auto_map: { AutoTokenizer: ["tokenization_internlm2.InternLM2Tokenizer", null] },
  add_bos_token: true,
  add_eos_token: false,
  bos_token: "<s>",
  eos_token: "</s>",
  unk_token: "<unk>",
  pad_token: "</s>",
  additional_special_tokens: [
    "<|im_start|>",
    "<|im_end|>",
    "<|action_start|>",
    "<|action_end|>",
    "<|interpreter|>",
    "<|plugin|>",
  ],
  added_tokens_decoder: Object.fromEntries(
    Object.entries({
      0: "<unk>",
      1: "<s>",
      2: "</s>",
      92538: "<|plugin|>",
      92539: "<|interpreter|>",
      92540: "<|action_end|>",
      92541: "<|action_start|>",
      92542: "<|im_end|>",
      92543: "<|im_start|>",
    }).map(([id, content]) => [id, { content, lstrip: false, rstrip: false, special: true }]),
  ),
};

/** Writes tokenizer.json and its companion for Python to judge, and gives the files. */
function convert(name: string) {
  const bytes = readFileSync(join(out, `${name}.model`));
  const config = name === "internlm2" ? INTERNLM2_CONFIG : undefined;
  const files = tokenizerFromSentencePiece(bytes, config, name);
  const folder = join(out, name);
  mkdirSync(folder);
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(files.tokenizer));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(files.tokenizerConfig));
  return files;
}

const files = new Map(names.map((name) => [name, convert(name)]));
const total = { texts: 0, different: 0, models: 0 };

describe.each(names)("%s", (name) => {
  const expected = JSON.parse(readFileSync(join(out, `${name}.json`), "utf8")) as Expected;
  const { texts } = expected;
  const converted = files.get(name)!;
  const tokenizer = createTokenizer(converted, name);

  const differing = (isEqual: (text: string, index: number) => boolean) =>
    texts.filter((text, i) => !isEqual(text, i)).map((text) => JSON.stringify(text).slice(0, 120));

  test("ids are the package's, of text and of text with special tokens", () => {
    const { model } = converted.sentencePiece;
    const encode = createSentencePieceEncoder(model, name);
    const plain = differing((text, i) => same(encode(text).ids, expected.ids[i]!));
    const whole = differing((text, i) => same(tokenizer.encode(text), expected.idsWithTokens[i]!));
    expect(texts).toHaveLength(10_000);
    if (name === "internlm2") {
      score({
        check: "tokenizers",
        subject: "InternLM2's tokenizer.model",
        required: "ids equal to the sentencepiece package",
        measured: `${plain.length + whole.length} of 20,000 texts differ`,
        holds: plain.length + whole.length === 0,
      });
    } else {
      total.models++;
      total.texts += 2 * texts.length;
      total.different += plain.length + whole.length;
    }
    expect([...plain, ...whole].slice(0, 5)).toEqual([]);
  });

  test("spans give the same ids, in order, and cover the text", () => {
    const wrong = texts.slice(0, 2_000).filter((text, index) => {
      const { ids, starts, ends } = tokenizer.encodeWithSpans(text);
      if (!same(ids, expected.idsWithTokens[index]!)) return true;
      let covered = 0;
      for (const [i, start] of starts.entries()) {
        if (start > ends[i]! || ends[i]! > text.length || start < (starts[i - 1] ?? 0)) return true;
        // What is left out between is what the normalizer removes.
        if (name.includes("identity") && !name.includes("trimmed") && start > covered) return true;
        covered = Math.max(covered, ends[i]!);
      }
      return false;
    });
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  test("decoded texts are the package's", () => {
    // The package writes unknown characters as they were or as "⁇", and strips more at the start.
    const { model } = converted.sentencePiece;
    const isComparable = (i: number) =>
      !expected.ids[i]!.includes(model.unknownId) && !hasUnusedName(texts[i]!);
    const trim = (text: string) => (model.removeExtraWhitespaces ? text.trimStart() : text);
    const wrong = differing(
      (_, i) =>
        !isComparable(i) || trim(tokenizer.decode(expected.ids[i]!)) === trim(expected.decoded[i]!),
    );
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});

test("models trained here, together", () => {
  score({
    check: "tokenizers",
    subject: `${total.models} SentencePiece models trained here (BPE, Unigram)`,
    required: "ids equal to the sentencepiece package",
    measured: `${total.different} of ${total.texts.toLocaleString("en-US")} texts differ`,
    holds: total.different === 0,
  });
  expect(total.different).toBe(0);
});

test("Python's tokenizers reads the tokenizer.json made of each; its ids are equal where its form can say it", async () => {
  const judged = JSON.parse(await python("sentencepiece", ["check", out])) as Record<
    string,
    { texts: string[]; auto: number; size: number }
  >;
  expect(Object.keys(judged).toSorted()).toEqual(names.toSorted());
  for (const name of names) {
    const { texts, auto, size } = judged[name]!;
    expect([name, auto]).toEqual([name, 0]);
    expect([name, size]).toEqual([name, files.get(name)!.sentencePiece.model.pieces.length]);
    // Rules of replacement, symbols within a text and float sums are the package's own.
    const isExact =
      name === "internlm2" || /^bpe(-bytes)?(-prefix)?-identity(-trimmed)?$/.test(name);
    const limit = name.includes("symbols") ? 7_500 : 2_000;
    const different = texts.filter((text) => !hasUnusedName(text)).length;
    expect([name, different <= (isExact ? 0 : limit)]).toEqual([name, true]);
  }
  if (!names.includes("internlm2")) return;
  const texts = judged["internlm2"]!.texts.filter((text) => !hasUnusedName(text));
  score({
    check: "tokenizers",
    subject: "InternLM2's tokenizer.json as written here",
    required: "ids in Python's tokenizers equal to the sentencepiece package",
    measured: `${texts.length} of 10,000 texts differ, but for old names of chat tokens`,
    holds: texts.length === 0,
  });
});

/** InternLM2's chat tokens have taken the places of these; in tokenizer.json an id has one name only. */
function hasUnusedName(text: string): boolean {
  return /\[UNUSED_TOKEN_14[1-6]\]/.test(text);
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}
