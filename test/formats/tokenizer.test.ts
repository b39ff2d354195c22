import { existsSync, readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createStreamDecoder, createTokenizer } from "../../src/formats/tokenizer.ts";

/** GPT-2's printable stand-ins for bytes, from their definition. */
function byteAlphabet(): string[] {
  let extra = 256;
  return Array.from({ length: 256 }, (_, b) => {
    const isPrintable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    return String.fromCharCode(isPrintable ? b : extra++);
  });
}

/** Two special tokens, the 256 bytes from id 2, then "he" 258, "ll" 259, "hell" 260, "hello" 261. */
function byteLevelFiles() {
  const vocab = Object.fromEntries(byteAlphabet().map((char, i) => [char, i + 2]));
  for (const [i, token] of ["he", "ll", "hell", "hello"].entries()) vocab[token] = 258 + i;
  return {
    tokenizer: {
      added_tokens: ["<s>", "</s>"].map((content, id) => ({ content, id, special: true })),
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
      post_processor: null,
      decoder: { type: "ByteLevel" },
      model: { type: "BPE", vocab, merges: ["h e", "l l", "he ll", "hell o"], unk_token: null },
    },
    tokenizerConfig: {
      bos_token: "<s>",
      eos_token: { content: "</s>" },
      clean_up_tokenization_spaces: true,
      additional_special_tokens: ["<|end|>"],
      added_tokens_decoder: { 262: { content: "<|end|>", special: false } },
      chat_template: [
        { name: "tool_use", template: "T" },
        { name: "default", template: "D" },
      ],
    },
    generationConfig: { eos_token_id: [262, 1] },
  };
}

/** Pieces with byte fallback in the manner of SentencePiece; a first space is stripped on decoding. */
function byteFallbackTokenizer() {
  const pieces = ["<unk>", "<s>", "</s>"];
  for (let b = 0; b < 256; b++) {
    pieces.push(`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  }
  pieces.push("▁", "a", "b", "▁a");
  return createTokenizer(
    {
      tokenizer: {
        added_tokens: pieces.slice(0, 3).map((content, id) => ({ content, id, special: true })),
        normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
        decoder: {
          type: "Sequence",
          decoders: [
            { type: "Replace", pattern: { String: "▁" }, content: " " },
            { type: "ByteFallback" },
            { type: "Fuse" },
            { type: "Strip", content: " ", start: 1, stop: 0 },
          ],
        },
        model: {
          type: "BPE",
          vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
          merges: [["▁", "a"]],
          byte_fallback: true,
          fuse_unk: true,
          unk_token: "<unk>",
        },
      },
      tokenizerConfig: { bos_token: "<s>", eos_token: "</s>", add_bos_token: true },
    },
    "pieces",
  );
}

describe("a byte-level BPE", () => {
  const tokenizer = createTokenizer(byteLevelFiles(), "small");

  test("merges, splits special tokens out and keeps bytes it cannot merge", () => {
    expect(tokenizer.encode("hello<s>hel")).toEqual([261, 0, 258, "l".charCodeAt(0) - 33 + 35]);
  });

  test("takes ids from the config files: BOS, all ways to end, and tokens only the config has", () => {
    expect(tokenizer.bosId).toBe(0);
    expect(tokenizer.eosIds).toEqual([1, 262]);
    expect(tokenizer.padId).toBeUndefined();
    expect(tokenizer.vocabSize).toBe(263);
    expect(tokenizer.idOf("<|end|>")).toBe(262);
    expect(tokenizer.tokenOf(261)).toBe("hello");
    expect(tokenizer.isSpecial(262)).toBe(true);
    expect(tokenizer.eosToken).toBe("</s>");
    expect(tokenizer.chatTemplate).toBe("D");
    expect(tokenizer.encode("a<|end|>").at(-1)).toBe(262);
  });

  // fast-check takes a second to make itself ready for all of Unicode.
  const slow = { timeout: 30_000 };
  test(
    "gives back any text, spaces before punctuation too, although the config asks for clean-up",
    slow,
    () => {
      const ids = tokenizer.encode("so , it 's . OK ?");
      expect(tokenizer.decode(ids)).toBe("so , it 's . OK ?");
      fc.assert(
        fc.property(fc.string({ unit: "binary" }), (text) => {
          // Lone surrogates are no text: UTF-8 has no bytes for them.
          fc.pre(text.isWellFormed());
          expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
        }),
      );
    },
  );

  test("skips special tokens on request, and ids that only the model's padding rows have", () => {
    const ids = [0, 261, 262, 9999, 1];
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("hello");
    expect(tokenizer.decode(ids)).toBe("<s>hello<|end|></s>");
    expect(tokenizer.decode([])).toBe("");
  });
});

test("add_bos_token is obeyed where tokenizer.json has no post-processor", () => {
  const tokenizer = byteFallbackTokenizer();
  expect(tokenizer.encode("b", { addSpecialTokens: true })).toEqual([1, 261]);
  expect(tokenizer.encode("b")).toEqual([261]);
});

test.each([null, [], {}, { model: { type: "Unknown" } }])(
  "tokenizer.json %j is refused with the folder's name",
  (tokenizer) => {
    expect(() => createTokenizer({ tokenizer }, "models/x")).toThrow(/models\/x: tokenizer.json/);
  },
);

describe("the stream decoder", () => {
  const tokenizers = {
    "byte-level": createTokenizer(byteLevelFiles(), "small"),
    "byte fallback": byteFallbackTokenizer(),
  };

  test.each(Object.entries(tokenizers))("%s: pieces join to the whole text", (_, tokenizer) => {
    const ids = fc.array(fc.nat(tokenizer.vocabSize + 2), { maxLength: 23 });
    for (const skipSpecialTokens of [false, true]) {
      fc.assert(
        fc.property(ids, (list) => {
          const stream = createStreamDecoder(tokenizer, { skipSpecialTokens });
          const pieces = list.map((id) => stream.push(id));
          const text = pieces.join("") + stream.flush();
          expect(text).toBe(tokenizer.decode(list, { skipSpecialTokens }));
        }),
        { numRuns: 500 },
      );
    }
  });

  test.each(Object.entries(tokenizers))(
    "%s: no piece holds part of a character",
    (name, tokenizer) => {
      const stream = createStreamDecoder(tokenizer);
      const pieces = tokenizer.encode("a你b🙂 a").map((id) => stream.push(id));
      expect(pieces.join("")).not.toContain("\uFFFD");
      // Of a run of byte tokens the text shows once the run is over: a later byte may yet break all of it.
      expect(pieces.filter((piece) => piece !== "").join("|")).toBe(
        name === "byte-level" ? "a|你|b|🙂| |a" : "a|你b|🙂 a",
      );
      expect(stream.flush()).toBe("");
    },
  );

  test("bytes that never become a character appear as soon as the next token settles them", () => {
    const tokenizer = tokenizers["byte-level"];
    const stream = createStreamDecoder(tokenizer);
    const [first, second] = tokenizer.encode("你");
    expect([stream.push(first!), stream.push(second!)]).toEqual(["", ""]);
    expect(stream.push(261)).toBe("\uFFFDhello");
  });
});

const folder = new URL("../../../shared/data/", import.meta.url);
const file = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));

const loadReal = () =>
  createTokenizer(
    {
      tokenizer: file("minimind-tokenizer.json"),
      tokenizerConfig: file("minimind-tokenizer_config.json"),
    },
    "minimind",
  );

// Other people's file, so it is not in the repository; absent where the folder is.
describe.skipIf(!existsSync(folder))("a real tokenizer (minimind, 6,400 tokens)", () => {
  // Ids from the Rust library, tokenizers 0.23.3.
  test.each([
    [
      "Hello, world! It's 3.14 o'clock.",
      [1602, 47, 1707, 36, 1343, 628, 707, 49, 3095, 319, 42, 102, 722, 892, 49],
    ],
    ["请做一下自我介绍", [960, 1714, 2360, 2942, 2919]],
    [
      "<|im_start|>user\n你好 🙂<|im_end|>\n",
      [1, 832, 311, 234, 1968, 256, 4544, 283, 260, 2, 234],
    ],
    ["  two  spaces\n\n\ttab", [256, 2102, 256, 1772, 4985, 234, 234, 233, 119, 572]],
    ["naïve café — ½", [113, 100, 163, 143, 478, 317, 4249, 3006, 256, 3084, 256, 162, 157]],
    [
      "𠮷野家 👩‍👩‍👧",
      [
        208, 290, 142, 151, 4507, 726, 256, 4544, 275, 138, 462, 271, 4544, 275, 138, 462, 271,
        4544, 275, 136,
      ],
    ],
  ])("%j becomes the ids of the Rust library, and comes back", (text, ids) => {
    const tokenizer = loadReal();
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(text);
    const stream = createStreamDecoder(tokenizer);
    expect(ids.map((id) => stream.push(id)).join("")).toBe(text);
  });

  test("its special tokens and template are found", () => {
    const tokenizer = loadReal();
    expect(tokenizer).toMatchObject({ bosId: 1, eosIds: [2], padId: 0, vocabSize: 6400 });
    expect(tokenizer.chatTemplate).toContain("<|im_start|>");
    expect(tokenizer.decode([1, 960, 2], { skipSpecialTokens: true })).toBe("请");
  });
});
