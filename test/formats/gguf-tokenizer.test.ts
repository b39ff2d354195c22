import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { tokenizerFromGguf } from "../../src/formats/gguf-tokenizer.ts";
import type { GgufValue } from "../../src/formats/gguf.ts";
import { createSentencePieceEncoder } from "../../src/formats/sentencepiece-encoder.ts";
import { parseSentencePiece } from "../../src/formats/sentencepiece.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;
const TYPES = { normal: 1, unknown: 2, control: 3, "user-defined": 4, unused: 5, byte: 6 };

/** GPT-2's printable stand-ins for bytes, from their definition. */
function byteAlphabet(): string[] {
  let extra = 256;
  return Array.from({ length: 256 }, (_, b) => {
    const isPrintable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    return String.fromCharCode(isPrintable ? b : extra++);
  });
}

/** The 256 bytes, then what the merges make, then special tokens. */
function byteLevel(pre: string | undefined, more: Record<string, GgufValue> = {}) {
  const merges = ["1 2", "12 3", "h e", "Ġ a", "I '", "' m", "' M"];
  const made = merges.map((merge) => merge.replace(" ", ""));
  const special = ["<|bos|>", "<|im_end|>", "<tool>"];
  const tokens = [...byteAlphabet(), ...made, ...special];
  const types = tokens.map((token) =>
    token === "<tool>" ? USER_DEFINED : special.includes(token) ? CONTROL : NORMAL,
  );
  return new Map<string, GgufValue>([
    ["general.architecture", "llama"],
    ["llama.context_length", 2048],
    ["tokenizer.ggml.model", "gpt2"],
    ["tokenizer.ggml.tokens", tokens],
    ["tokenizer.ggml.token_type", Int32Array.from(types)],
    ["tokenizer.ggml.merges", merges],
    ["tokenizer.ggml.bos_token_id", tokens.indexOf("<|bos|>")],
    ["tokenizer.ggml.eos_token_id", tokens.indexOf("<|bos|>")],
    ...(pre === undefined ? [] : ([["tokenizer.ggml.pre", pre]] as const)),
    ...Object.entries(more),
  ]);
}

/** A SentencePiece model as llama.cpp's converter writes it. */
function fromModel(name: string, more: Record<string, GgufValue> = {}) {
  const bytes = readFileSync(new URL(`../fixtures/sentencepiece/${name}.model`, import.meta.url));
  const model = parseSentencePiece(bytes, name);
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", "llama"],
    ["tokenizer.ggml.tokens", model.pieces.map(({ text }) => text)],
    ["tokenizer.ggml.scores", Float32Array.from(model.pieces, ({ score }) => score)],
    ["tokenizer.ggml.token_type", Int32Array.from(model.pieces, ({ type }) => TYPES[type])],
    ["tokenizer.ggml.add_space_prefix", model.addDummyPrefix],
    ...Object.entries(more),
  ]);
}

const pieces = (pre: string, text: string) => {
  const tokenizer = createTokenizer(tokenizerFromGguf(byteLevel(pre), "m.gguf"), "m.gguf");
  return tokenizer.encode(text).map((id) => tokenizer.tokenOf(id));
};

const startsWithBos = (pre: string, more: Record<string, GgufValue>) => {
  const tokenizer = createTokenizer(tokenizerFromGguf(byteLevel(pre, more), "m"), "m");
  return tokenizer.encode("he", { addSpecialTokens: true })[0] === tokenizer.bosId;
};

describe("byte-level BPE", () => {
  test.each([
    ["gpt-2", ["123", "4"]],
    ["smollm", ["1", "2", "3", "4"]],
    ["qwen2", ["1", "2", "3", "4"]],
    ["tekken", ["1", "2", "3", "4"]],
    ["llama-bpe", ["123", "4"]],
    ["gpt-4o", ["123", "4"]],
  ])("%s cuts digits its own way", (pre, wanted) => {
    expect(pieces(pre, "1234")).toEqual(wanted);
  });

  test.each([
    ["gpt-2", ["I", "'m", "I", "'", "M"]],
    ["llama-bpe", ["I", "'m", "I", "'M"]],
    // Here the ending belongs to the word, so merges reach over the apostrophe.
    ["gpt-4o", ["I'", "m", "I'", "M"]],
  ])("%s cuts contractions its own way", (pre, wanted) => {
    expect(pieces(pre, "I'mI'M")).toEqual(wanted);
  });

  test("control tokens are special, user-defined ones are found in text but not special", () => {
    const tokenizer = createTokenizer(tokenizerFromGguf(byteLevel("gpt-2"), "m"), "m");
    const ids = tokenizer.encode("he<|im_end|><tool>");
    expect(ids.map((id) => tokenizer.tokenOf(id))).toEqual(["he", "<|im_end|>", "<tool>"]);
    expect(ids.map((id) => tokenizer.isSpecial(id))).toEqual([false, true, false]);
    expect(tokenizer.decode(ids)).toBe("he<|im_end|><tool>");
  });

  test("BOS is added where the file says so, or where the family does and the file says nothing", () => {
    expect(startsWithBos("gpt-2", {})).toBe(false);
    expect(startsWithBos("gpt-2", { "tokenizer.ggml.add_bos_token": true })).toBe(true);
    expect(startsWithBos("llama-bpe", {})).toBe(true);
    expect(startsWithBos("llama-bpe", { "tokenizer.ggml.add_bos_token": false })).toBe(false);
  });

  test("an answer also ends with the token that ends a turn, which older files do not number", () => {
    const files = tokenizerFromGguf(byteLevel("gpt-2"), "m");
    const tokenizer = createTokenizer(files, "m");
    expect(tokenizer.eosIds).toEqual([tokenizer.bosId, tokenizer.idOf("<|im_end|>")]);
  });

  test("chat template and context length come along", () => {
    const more = { "tokenizer.chat_template": "T" };
    const files = tokenizerFromGguf(byteLevel("gpt-2", more), "m");
    expect(files.tokenizerConfig).toMatchObject({ chat_template: "T", model_max_length: 2048 });
  });
});

describe("SentencePiece", () => {
  test("gives the ids of the model that the file was made from", () => {
    const metadata = fromModel("bpe-bytes");
    const tokenizer = createTokenizer(tokenizerFromGguf(metadata, "m"), "m");
    const bytes = readFileSync(
      new URL("../fixtures/sentencepiece/bpe-bytes.model", import.meta.url),
    );
    const encode = createSentencePieceEncoder(parseSentencePiece(bytes, "m"), "m");
    for (const text of ["Hello  world\n", " 你好🙂", "[UNUSED_TOKEN_145]a", "\0\u0301"]) {
      expect(tokenizer.encode(text)).toEqual(encode(text).ids);
    }
    expect(tokenizer.encode("a<s>").at(-1)).toBe(tokenizer.bosId);
  });

  test("has a dummy space and BOS unless the file says otherwise", () => {
    const more = { "tokenizer.ggml.add_space_prefix": true };
    const metadata = fromModel("bpe-bytes", more);
    metadata.delete("tokenizer.ggml.add_space_prefix");
    const tokenizer = createTokenizer(tokenizerFromGguf(metadata, "m"), "m");
    const [bos, space] = tokenizer.encode("你", { addSpecialTokens: true });
    expect([bos, tokenizer.tokenOf(space!)]).toEqual([tokenizer.bosId, "▁"]);
  });

  test("symbols written with spaces stand for the same with ▁", () => {
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    const tokens = ["<unk>", ...bytes, "   ", "▁", "a"];
    const types = [UNKNOWN, ...bytes.map(() => BYTE), USER_DEFINED, NORMAL, NORMAL];
    const metadata = new Map<string, GgufValue>([
      ["tokenizer.ggml.model", "llama"],
      ["tokenizer.ggml.tokens", tokens],
      ["tokenizer.ggml.scores", new Float32Array(tokens.length)],
      ["tokenizer.ggml.token_type", Int32Array.from(types)],
      ["tokenizer.ggml.add_space_prefix", false],
    ]);
    const tokenizer = createTokenizer(tokenizerFromGguf(metadata, "m"), "m");
    expect(tokenizer.encode("a    a")).toEqual([259, 257, 258, 259]);
    expect(tokenizer.decode([259, 257, 258, 259])).toBe("a    a");
  });

  test("with merges (Gemma 4) joins over spaces and falls back to bytes", () => {
    const bytes = Array.from(
      { length: 256 },
      (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    );
    const tokens = ["<unk>", "<bos>", ...bytes, "a", "▁", "a▁", "a▁a"];
    const metadata = new Map<string, GgufValue>([
      ["tokenizer.ggml.model", "gemma4"],
      ["tokenizer.ggml.tokens", tokens],
      [
        "tokenizer.ggml.token_type",
        Int32Array.from([UNKNOWN, CONTROL, ...bytes.map(() => BYTE), 1, 1, 1, 1]),
      ],
      ["tokenizer.ggml.merges", ["a ▁", "a▁ a"]],
      ["tokenizer.ggml.bos_token_id", 1],
      ["tokenizer.ggml.add_bos_token", false],
    ]);
    const tokenizer = createTokenizer(tokenizerFromGguf(metadata, "m"), "m");
    expect(tokenizer.encode("a aé", { addSpecialTokens: true })).toEqual([
      1,
      261,
      2 + 0xc3,
      2 + 0xa9,
    ]);
    expect(tokenizer.decode([261, 2 + 0xc3, 2 + 0xa9])).toBe("a aé");
  });
});

describe("refuses", () => {
  const without = (key: string, metadata = byteLevel("gpt-2")) => {
    metadata.delete(key);
    return metadata;
  };
  const repeated = [...byteAlphabet(), "a"];

  test.each<[string, Map<string, GgufValue>, string]>([
    ["a pre-tokenizer it does not know, by name", byteLevel("viking"), '"viking"'],
    ["a file that names no pre-tokenizer", byteLevel(undefined), "does not say how"],
    [
      "another kind of tokenizer, by name",
      byteLevel("gpt-2", { "tokenizer.ggml.model": "rwkv" }),
      '"rwkv"',
    ],
    ["no tokenizer", without("tokenizer.ggml.model"), "has no tokenizer"],
    ["no tokens", without("tokenizer.ggml.tokens"), '"tokenizer.ggml.tokens"'],
    ["no merges", without("tokenizer.ggml.merges"), '"tokenizer.ggml.merges"'],
    [
      "a merge of one text",
      byteLevel("gpt-2", { "tokenizer.ggml.merges": ["ab"] }),
      'merge 0, "ab"',
    ],
    [
      "equal tokens",
      byteLevel("gpt-2", { "tokenizer.ggml.tokens": repeated }),
      "tokens 97 and 256",
    ],
    [
      "fewer types than tokens",
      byteLevel("gpt-2", { "tokenizer.ggml.token_type": new Int32Array(3) }),
      "token_type",
    ],
    ["pieces without scores", without("tokenizer.ggml.scores", fromModel("bpe-bytes")), "scores"],
  ])("%s", (_, metadata, fact) => {
    expect(() => tokenizerFromGguf(metadata, "m.gguf")).toThrow(UserError);
    expect(() => tokenizerFromGguf(metadata, "m.gguf")).toThrow(fact);
  });
});
