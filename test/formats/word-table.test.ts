import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tokenizerFromSentencePiece } from "../../src/formats/sentencepiece-tokenizer.ts";
import { createTokenizer, type Tokenizer } from "../../src/formats/tokenizer.ts";
import { WordTable } from "../../src/formats/word-table.ts";

const encode = (word: string) => {
  const ids = Array.from(word, (char) => char.codePointAt(0)!);
  const ends = Array.from(word).map((char) => char.length);
  for (let i = 1; i < ends.length; i++) ends[i]! += ends[i - 1]!;
  return { ids, starts: [0, ...ends.slice(0, -1)].slice(0, ids.length), ends };
};
const tokensOf = (table: WordTable, word: number) => {
  const range = [table.firsts[word], table.firsts[word + 1]] as const;
  const ofWord = (list: Int32Array | Uint8Array) => Array.from(list.subarray(...range));
  return { ids: ofWord(table.ids), starts: ofWord(table.starts), ends: ofWord(table.ends) };
};

test("a word is found where it stands in a text, with its own tokens", () => {
  const table = new WordTable(encode);
  const word = fc.string({ unit: fc.constantFrom("a", "b", "你", "🙂", "\u{fffd}"), maxLength: 5 });
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 8 }), (words) => {
      const text = words.join("");
      let start = 0;
      for (const each of words) {
        const found = table.find(text, start, start + each.length);
        expect(tokensOf(table, found)).toEqual(encode(each));
        start += each.length;
      }
    }),
    { numRuns: 500 },
  );
});

test("more words than it holds empty it, and long ones are not remembered", () => {
  const table = new WordTable(encode);
  for (let i = 0; i < 150_000; i++) table.find(`w${i}`, 0, `w${i}`.length);
  for (const i of [0, 65_535, 65_536, 149_999]) {
    expect(tokensOf(table, table.find(`w${i}`, 0, `w${i}`.length))).toEqual(encode(`w${i}`));
  }
  expect(table.ids.length).toBeLessThan(2 ** 20);
  expect(table.find("x".repeat(65), 0, 65)).toBe(-1);
});

const root = join(import.meta.dirname, "..", "..");
const shared = join(root, "..", "shared", "data");
const readJson = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

const REAL: [string, string, () => Tokenizer][] = [
  [
    "Seedling's",
    join(root, "public/models/seedling/tokenizer.json"),
    () =>
      createTokenizer(
        { tokenizer: readJson(join(root, "public/models/seedling/tokenizer.json")) },
        "seedling",
      ),
  ],
  [
    "MiniMind's",
    join(shared, "minimind-tokenizer.json"),
    () =>
      createTokenizer({ tokenizer: readJson(join(shared, "minimind-tokenizer.json")) }, "minimind"),
  ],
  [
    "InternLM2's",
    join(shared, "internlm2-tokenizer.model"),
    () => {
      const bytes = new Uint8Array(readFileSync(join(shared, "internlm2-tokenizer.model")));
      return createTokenizer(
        tokenizerFromSentencePiece(bytes, undefined, "internlm2"),
        "internlm2",
      );
    },
  ],
];

// Of InternLM2's model, 92,544 pieces are read twice.
const TIMEOUT_MS = 60_000;

describe("what a tokenizer has seen before changes nothing", () => {
  test.each(REAL)(
    "%s",
    (_, path, load) => {
      if (!existsSync(path)) return;
      const used = load();
      const unit = fc.oneof(
        fc.constantFrom(
          " ",
          "\n",
          "the",
          "hello",
          "你好",
          "<s>",
          "<|im_end|>",
          "▁",
          "🙂",
          "é",
          "12",
          "'s",
        ),
        fc.string({ unit: "binary", minLength: 1, maxLength: 3 }),
      );
      const texts = fc.sample(
        fc.array(unit, { maxLength: 20 }).map((units) => units.join("")),
        150,
      );
      const seen = texts.map((text) => used.encodeWithSpans(text));
      const again = texts
        .toReversed()
        .map((text) => used.encodeWithSpans(text))
        .toReversed();
      expect(again).toEqual(seen);
      expect(texts.map((text) => used.encode(text))).toEqual(seen.map(({ ids }) => ids));
      // A tokenizer that has seen nothing else gives the same: of a few, since each has to be made.
      const fresh = load();
      for (const i of [0, 1, 2]) expect(fresh.encodeWithSpans(texts[i]!)).toEqual(seen[i]);
    },
    TIMEOUT_MS,
  );
});
