import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { createSentencePieceEncoder } from "../../src/formats/sentencepiece-encoder.ts";
import { tokenizerFromSentencePiece } from "../../src/formats/sentencepiece-tokenizer.ts";
import { parseSentencePiece } from "../../src/formats/sentencepiece.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";

const FIXTURES = new URL("../fixtures/sentencepiece/", import.meta.url);
const NAMES = ["bpe-bytes", "bpe-symbols", "unigram-bytes", "unigram-suffix"] as const;

interface Expected {
  texts: string[];
  ids: Record<string, number[][]>;
  decoded: Record<string, string[]>;
}

/** By the original package: test/reference/make_sentencepiece_fixtures.py. */
const expected = JSON.parse(readFileSync(new URL("expected.json", FIXTURES), "utf8")) as Expected;
const readModel = (name: string) =>
  new Uint8Array(readFileSync(new URL(`${name}.model`, FIXTURES)));

// A writer of protobuf, enough for models of a few pieces.
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(Math.floor(value / 128))];
const field = (number: number, bytes: readonly number[]): number[] => [
  ...varint(number * 8 + 2),
  ...varint(bytes.length),
  ...bytes,
];
const text = (number: number, value: string) => field(number, [...new TextEncoder().encode(value)]);
const integer = (number: number, value: number) => [...varint(number * 8), ...varint(value)];
const float = (number: number, value: number) => [
  ...varint(number * 8 + 5),
  ...new Uint8Array(new Float32Array([value]).buffer),
];

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const UNUSED = 5;
const BYTE = 6;

/** A BPE model without a dummy space. */
function bpeModel(
  pieces: readonly [text: string, score: number, type?: number][],
  trainer = [integer(3, 2)],
) {
  return Uint8Array.from([
    ...pieces.flatMap(([piece, score, type = NORMAL]) =>
      field(1, [...text(1, piece), ...float(2, score), ...integer(3, type)]),
    ),
    ...field(2, trainer.flat()),
    ...field(3, [...text(1, "identity"), ...integer(3, 0), ...integer(4, 0)]),
  ]);
}

const encoderOf = (bytes: Uint8Array) => {
  const encode = createSentencePieceEncoder(parseSentencePiece(bytes, "m"), "m");
  return (input: string) => encode(input).ids;
};

const failureOf = (bytes: Uint8Array): unknown => {
  try {
    createSentencePieceEncoder(parseSentencePiece(bytes, "f"), "f")("a <s> 你好");
    return undefined;
  } catch (error) {
    return error;
  }
};

describe.each(NAMES)("%s", (name) => {
  const files = tokenizerFromSentencePiece(readModel(name), undefined, name);
  const { model } = files.sentencePiece;

  test("gives the ids of the original package", () => {
    const encode = createSentencePieceEncoder(model, name);
    const found = expected.texts.map((input) => encode(input).ids);
    expect(expected.texts.length).toBeGreaterThan(200);
    expect(found).toEqual(expected.ids[name]);
  });

  const trim = (value: string) => (model.removeExtraWhitespaces ? value.trimStart() : value);

  test("decodes to the texts of the original package", () => {
    const tokenizer = createTokenizer(files, name);
    let compared = 0;
    for (const [i, ids] of expected.ids[name]!.entries()) {
      // The package writes what is unknown as it was, or as "⁇".
      if (ids.includes(model.unknownId)) continue;
      expect(trim(tokenizer.decode(ids))).toBe(trim(expected.decoded[name]![i]!));
      compared++;
    }
    expect(compared).toBeGreaterThan(50);
  });

  test("spans are in order, within the text, and as many as ids", () => {
    const encode = createSentencePieceEncoder(model, name);
    for (const input of expected.texts) {
      const { ids, starts, ends } = encode(input, { track: true });
      expect([starts.length, ends.length]).toEqual([ids.length, ids.length]);
      expect(starts.toSorted((a, b) => a - b)).toEqual(starts);
      expect(ends.every((end, i) => starts[i]! <= end && end <= input.length)).toBe(true);
    }
  });
});

test("with byte fallback and no rules, any text comes back", () => {
  const files = tokenizerFromSentencePiece(readModel("bpe-bytes"), undefined, "bpe-bytes");
  const tokenizer = createTokenizer(files, "bpe-bytes");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (input) => {
      // "▁" is how spaces are written, so it comes back as one. Lone surrogates are no text.
      fc.pre(input.isWellFormed() && !input.includes("▁"));
      expect(tokenizer.decode(tokenizer.encode(input))).toBe(input);
    }),
  );
}, 60_000);

describe("BPE", () => {
  test("joins by the score of what is made, the leftmost of equals first", () => {
    const encode = encoderOf(
      bpeModel([
        ["<unk>", 0, UNKNOWN],
        ["a", -9],
        ["b", -9],
        ["aa", -1],
        ["ab", -2],
        ["aab", -3],
      ]),
    );
    expect(encode("aaa")).toEqual([3, 1]);
    expect(encode("aab")).toEqual([5]);
    expect(encode("aaab")).toEqual([3, 4]);
  });

  test("takes an unused piece apart again, in the way it came about", () => {
    const encode = encoderOf(
      bpeModel([
        ["<unk>", 0, UNKNOWN],
        ["a", -9],
        ["b", -9],
        ["c", -9],
        ["ab", -1],
        ["abc", -2, UNUSED],
      ]),
    );
    expect(encode("abc")).toEqual([4, 3]);
  });

  test("takes the byte for NUL, though a piece has its text", () => {
    const bytes = Array.from({ length: 256 }, (_, byte): [string, number, number] => [
      `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
      0,
      BYTE,
    ]);
    const encode = encoderOf(
      bpeModel([["<unk>", 0, UNKNOWN], ...bytes, ["\0", -1]], [integer(3, 2), integer(35, 1)]),
    );
    expect(encode("\0")).toEqual([1]);
    expect(encode("é")).toEqual([1 + 0xc3, 1 + 0xa9]);
  });

  test("a hundred thousand letters without a boundary take no time squared", () => {
    const encode = encoderOf(readModel("bpe-bytes"));
    const started = performance.now();
    const length = encode("ab".repeat(50_000)).length;
    // Linear but for a logarithm: a second at most on a slow machine, where squared would be an hour.
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(length).toBeGreaterThan(1_000);
  });
});

test("unknown characters in a row are one token, and none where a known one is between", () => {
  const encode = encoderOf(
    bpeModel([
      ["<unk>", 0, UNKNOWN],
      ["a", -9],
    ]),
  );
  expect(encode("你好a🙂")).toEqual([0, 1, 0]);
});

describe("special tokens", () => {
  const model = parseSentencePiece(readModel("bpe-bytes"), "m");
  const idOfSymbol = (symbol: string) => model.pieces.findIndex((piece) => piece.text === symbol);
  const start = idOfSymbol("[UNUSED_TOKEN_145]");
  const end = idOfSymbol("[UNUSED_TOKEN_146]");
  const config = {
    add_bos_token: true,
    chat_template: "T",
    additional_special_tokens: ["<|im_end|>", "<|new|>"],
    tokenizer_class: "OtherTokenizer",
    auto_map: { AutoTokenizer: ["code.py", null] },
    added_tokens_decoder: {
      [start]: { content: "<|im_start|>", special: true },
      [end]: { content: "<|im_end|>", special: true, rstrip: true },
    },
  };
  const files = tokenizerFromSentencePiece(readModel("bpe-bytes"), config, "m");
  const tokenizer = createTokenizer(files, "m");

  test("lie over symbols of the model, are found in text, and decode to their own text", () => {
    const ids = tokenizer.encode("<|im_start|>a<|im_end|>\n<s>");
    expect(ids).toEqual([start, ...tokenizer.encode("a"), end, model.bosId]);
    expect(tokenizer.decode(ids)).toBe("<|im_start|>a<|im_end|><s>");
    expect(tokenizer.isSpecial(end)).toBe(true);
    expect(tokenizer.encode("a", { addSpecialTokens: true })[0]).toBe(model.bosId);
    expect(tokenizer.chatTemplate).toBe("T");
  });

  test("a token that only the config names gets the next id", () => {
    expect(tokenizer.idOf("<|new|>")).toBe(model.pieces.length);
    expect(tokenizer.vocabSize).toBe(model.pieces.length + 1);
  });

  test("the name of a symbol that the model has is found too, where nothing lies over it", () => {
    expect(tokenizer.encode("[UNUSED_TOKEN_141]")).toEqual([idOfSymbol("[UNUSED_TOKEN_141]")]);
  });

  test("the config that is written names no code", () => {
    expect(files.tokenizerConfig["tokenizer_class"]).toBe("PreTrainedTokenizerFast");
    expect(files.tokenizerConfig).not.toHaveProperty("auto_map");
  });

  const withPrefix = (legacy: boolean) =>
    createTokenizer(tokenizerFromSentencePiece(readModel("bpe-symbols"), { legacy }, "m"), "m");

  test("the dummy space comes after each special token, or once where the config says it is not legacy", () => {
    const [both, once] = [withPrefix(true), withPrefix(false)];
    expect(both.encode("a<s>a")).toEqual([...both.encode("a"), 1, ...both.encode("a")]);
    expect(once.encode("a<s>a").slice(0, -1)).toEqual([...once.encode("a"), 1]);
    expect(once.tokenOf(once.encode("a<s>a").at(-1)!)).toBe("a");
  });
});

describe("refuses", () => {
  const whole = readModel("bpe-symbols");
  const unknown = ["<unk>", 0, UNKNOWN] as [string, number, number];

  test.each([
    ["word", 3],
    ["char", 4],
  ])("%s models by name", (kind, number) => {
    const bytes = bpeModel([unknown], [integer(3, number)]);
    expect(() => parseSentencePiece(bytes, "f/tokenizer.model")).toThrow(
      `f/tokenizer.model is a "${kind}" model`,
    );
  });

  test.each<[string, Uint8Array, string]>([
    ["a file that ends early", whole.subarray(0, 100), "bytes where"],
    ["another kind of file", new TextEncoder().encode("<!DOCTYPE html>"), "no whole SentencePiece"],
    ["an endless number", Uint8Array.from({ length: 12 }, () => 0xff), "more than 10 bytes"],
    ["a text that is not UTF-8", Uint8Array.from(field(1, field(1, [0xff]))), "not UTF-8"],
    ["an empty file", new Uint8Array(), "0 pieces for what is unknown"],
    ["an empty piece", bpeModel([unknown, ["", 0]]), "piece 1 is empty"],
    ["equal pieces", bpeModel([unknown, ["a", 0], ["a", -1]]), 'pieces 1 and 2 are both "a"'],
    ["a score that is no number", bpeModel([unknown, ["a", NaN]]), "the score of piece 1 is NaN"],
    ["bytes without byte fallback", bpeModel([unknown, ["<0x00>", 0, BYTE]]), "is off"],
    ["byte fallback without bytes", bpeModel([unknown], [integer(3, 2), integer(35, 1)]), "256"],
    ["an unknown type of piece", bpeModel([unknown, ["a", 0, 9]]), "unknown type 9"],
  ])("%s", (_, bytes, fact) => {
    expect(() => parseSentencePiece(bytes, "f")).toThrow(UserError);
    expect(() => parseSentencePiece(bytes, "f")).toThrow(fact);
  });

  test("rules of replacement that are not whole", () => {
    const model = { ...parseSentencePiece(whole, "f"), charsmap: new Uint8Array(50) };
    expect(() => createSentencePieceEncoder(model, "f")).toThrow("rules take 50 bytes");
  });

  test("any broken file with a UserError, or reads it", () => {
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, byte) => {
        const broken = whole.slice();
        broken[at] = byte;
        expect(failureOf(broken) ?? new UserError("", "")).toBeInstanceOf(UserError);
      }),
    );
  }, 60_000);
});

test("fields that it does not know are skipped", () => {
  const bytes = [
    ...bpeModel([
      ["<unk>", 0, UNKNOWN],
      ["<s>", 0, CONTROL],
      ["a", -1],
    ]),
    ...text(200, "later"),
    ...integer(201, 2 ** 40),
    ...float(202, 1),
    ...varint(203 * 8 + 1),
    ...new Uint8Array(8),
  ];
  expect(encoderOf(Uint8Array.from(bytes))("aa")).toEqual([2, 2]);
});
