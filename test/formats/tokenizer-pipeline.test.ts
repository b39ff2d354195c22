// The parts of tokenizer.json, each as Rust's tokenizers reads it. Expected values are from tokenizers 0.23.3.
import { describe, expect, test } from "vitest";
import { createTokenizer } from "../../src/formats/tokenizer.ts";

type Json = Record<string, unknown>;

const CHARACTERS = Array.from(" ▁abcdefABxyzé你好.,'12?!\nĠĊÃ©\u0301σΣ");

/** A BPE of single characters, so that ids show what the other parts did. Added tokens are from id 100. */
function tokenizerOf(parts: Json, added: Json[] = []) {
  const vocab = Object.fromEntries(["?u", ...new Set(CHARACTERS)].map((char, id) => [char, id]));
  return createTokenizer(
    {
      tokenizer: {
        model: { type: "BPE", vocab, merges: [], unk_token: "?u" },
        ...parts,
        added_tokens: added.map((token, i) => ({ id: 100 + i, ...token })),
      },
    },
    "x",
  );
}

/** Each token with the text that it comes from. */
function show(tokenizer: ReturnType<typeof tokenizerOf>, text: string): string {
  const { ids, starts, ends } = tokenizer.encodeWithSpans(text);
  expect(tokenizer.encode(text)).toEqual(ids);
  return ids.map((id, i) => `${tokenizer.tokenOf(id)}<${text.slice(starts[i], ends[i])}`).join(" ");
}

/** With "ab" as a merge, whether a and b are in one word. */
const words = (preTokenizer: Json, text: string): string => {
  const letters = Object.fromEntries(["a", "b", ".", "ab", "▁", "1", "▁a"].map((t, id) => [t, id]));
  const tokenizer = createTokenizer(
    {
      tokenizer: {
        pre_tokenizer: preTokenizer,
        model: { type: "BPE", vocab: letters, merges: ["a b", "▁ a"] },
      },
    },
    "x",
  );
  return show(tokenizer, text);
};

const split = (behavior: string, invert = false) => ({
  type: "Split",
  pattern: { String: "." },
  behavior,
  invert,
});

const decode = (decoder: unknown, tokens: string[]) =>
  createTokenizer(
    {
      tokenizer: {
        decoder,
        model: {
          type: "BPE",
          vocab: Object.fromEntries(tokens.map((t, id) => [t, id])),
          merges: [],
        },
      },
    },
    "x",
  ).decode([...tokens.keys()]);

describe("added tokens", () => {
  test.each([
    ["the longest is taken", [{ content: "ab" }, { content: "abc" }], "abcab", "abc<abc ab<ab"],
    ["white space before it", [{ content: "x", lstrip: true }], "a \n x", "a<a x< \n x"],
    ["white space after it", [{ content: "x", rstrip: true }], "x \x85a", "x<x \x85 a<a"],
    [
      "white space that another took",
      [{ content: "x", rstrip: true, lstrip: true }],
      "x  x",
      "x<x   x<x",
    ],
    ["not inside a word", [{ content: "x", single_word: true }], "ax x", "a<a x<x  <  x<x"],
    ["two are one after the other", [{ content: "xy" }, { content: "yz" }], "xyz", "xy<xy z<z"],
  ])("%s", (_, added, text, expected) => {
    expect(show(tokenizerOf({}, added), text)).toBe(expected);
  });

  test("one that is normalized is found in the normalized text, another only as it is written", () => {
    const normalizer = { type: "Lowercase" };
    const added = [
      { content: "AB", normalized: true },
      { content: "CD", normalized: false },
    ];
    expect(show(tokenizerOf({ normalizer }, added), "abAB cdCD")).toBe(
      "AB<ab AB<AB  <  c<c d<d CD<CD",
    );
  });

  test("the text between is normalized piece by piece: each gets its own prefix", () => {
    const normalizer = {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    };
    const tokenizer = tokenizerOf({ normalizer }, [{ content: "x", normalized: false }]);
    expect(show(tokenizer, "a bx c")).toBe("▁<a a<a ▁<  b<b x<x ▁<  ▁<  c<c");
    expect(tokenizer.encode("")).toEqual([]);
  });
});

describe("normalizers", () => {
  test.each([
    ["NFC composes, and what came composed stays", { type: "NFC" }, "e\u0301é", "é<e\u0301 é<é"],
    ["Lowercase knows no end of a word", { type: "Lowercase" }, "AΣ", "a<A σ<Σ"],
    ["Strip", { type: "Strip", strip_left: true, strip_right: true }, " a b\x85", "a<a  <  b<b"],
    [
      "Replace by a pattern",
      { type: "Replace", pattern: { Regex: "[12]+" }, content: "ab" },
      "x12",
      "x<x a<12 b<12",
    ],
  ])("%s", (_, normalizer, text, expected) => {
    expect(show(tokenizerOf({ normalizer }), text)).toBe(expected);
  });

  test("NFC leaves alone what Rust's tables do not know: U+105D2 and U+0307 stay two", () => {
    const tokenizer = tokenizerOf({ normalizer: { type: "NFC" } }, [
      { content: "\u{105D2}\u0307", normalized: true, special: false },
    ]);
    expect(tokenizer.encode("\u{105D2}\u0307")).toEqual([100]);
  });
});

describe("pre-tokenizers", () => {
  test.each([
    [split("Isolated"), "ab.ab", "ab<ab .<. ab<ab"],
    [split("Removed"), "ab.a.b", "ab<ab a<a b<b"],
    [split("Removed", true), "ab.a.b", ".<. .<."],
    [split("MergedWithPrevious"), "ab..ab", "ab<ab .<. .<. ab<ab"],
    [split("Contiguous"), "ab..ab", "ab<ab .<. .<. ab<ab"],
    [{ type: "Digits", individual_digits: true }, "a1b11", "a<a 1<1 b<b 1<1 1<1"],
    [{ type: "WhitespaceSplit" }, "a b\x85ab", "a<a b<b ab<ab"],
    [
      { type: "Metaspace", replacement: "▁", prepend_scheme: "first" },
      "ab ab",
      "▁<a ab<ab ▁<  ab<ab",
    ],
    [{ type: "Metaspace", replacement: "▁", add_prefix_space: false }, "ab a", "ab<ab ▁a< a"],
    [
      { type: "Metaspace", replacement: "▁", prepend_scheme: "never", split: false },
      " ab",
      "▁<  ab<ab",
    ],
  ])("%j on %j", (preTokenizer, text, expected) => {
    expect(words(preTokenizer, text)).toBe(expected);
  });

  test("byte-level: every byte of a character comes from all of it", () => {
    const preTokenizer = { type: "ByteLevel", add_prefix_space: true, use_regex: false };
    expect(show(tokenizerOf({ pre_tokenizer: preTokenizer }), "aé\n")).toBe("Ġ<a a<a Ã<é ©<é Ċ<\n");
  });
});

describe("post-processors", () => {
  test.each([
    [
      {
        type: "TemplateProcessing",
        single: [
          { SpecialToken: { id: "x" } },
          { Sequence: { id: "A" } },
          { SpecialToken: { id: "y" } },
        ],
        special_tokens: { x: { ids: [7, 8] }, y: { ids: [9] } },
      },
      [7, 8, 3, 9],
    ],
    [{ type: "RobertaProcessing", cls: ["x", 5], sep: ["y", 6] }, [5, 3, 6]],
    [{ type: "Sequence", processors: [{ type: "ByteLevel" }] }, [3]],
  ])("%j", (postProcessor, ids) => {
    const tokenizer = tokenizerOf({ post_processor: postProcessor });
    expect(tokenizer.encode("a", { addSpecialTokens: true })).toEqual(ids);
    expect(tokenizer.encode("a")).toEqual([3]);
  });
});

describe("decoders", () => {
  test.each([
    [null, ["a", "b"], "a b"],
    [{ type: "Fuse" }, ["a", "b"], "ab"],
    [{ type: "Metaspace", replacement: "▁" }, ["▁a▁", "▁b"], "a b"],
    [{ type: "Metaspace", replacement: "▁", prepend_scheme: "never" }, ["▁a"], " a"],
    [{ type: "Strip", content: " ", start: 1, stop: 1 }, ["  a  ", " b"], " a b"],
    // A run of bytes is whole or not at all.
    [
      { type: "ByteFallback" },
      ["<0xE4>", "<0xBD>", "<0xA0>", "a", "<0x41>", "<0xFF>"],
      "你a\uFFFD\uFFFD",
    ],
    // An added token outside the byte alphabet is its own text; a broken sequence is one mark.
    [{ type: "ByteLevel" }, ["ä½", "a", "ä½ł", "你 "], "\uFFFDa你你 "],
    [{ type: "ByteLevel" }, ["ï»¿", "a"], "\uFEFFa"],
  ])("%j of %j", (decoder, tokens, text) => {
    expect(decode(decoder, tokens)).toBe(text);
  });
});

test.each([
  ["normalizer", { normalizer: { type: "Precompiled", precompiled_charsmap: "" } }],
  ["pre-tokenizer", { pre_tokenizer: { type: "UnicodeScripts" } }],
  ["post-processor", { post_processor: { type: "Unheard" } }],
  ["decoder", { decoder: { type: "CTC" } }],
  ["model", { model: { type: "WordPiece", vocab: {} } }],
])("a %s of a kind that is not known is refused by name", (part, parts) => {
  expect(() => tokenizerOf(parts)).toThrow(
    new RegExp(`its ${part} .*(Precompiled|Unicode|Unheard|CTC|WordPiece)`),
  );
});

test("a pattern that cannot be read is refused with what is wrong", () => {
  const preTokenizer = { type: "Split", pattern: { Regex: "(?x)a" }, behavior: "Isolated" };
  expect(() => tokenizerOf({ pre_tokenizer: preTokenizer })).toThrow(/regular expression .*\(\?x/);
});

test("half a surrogate pair is encoded as U+FFFD, since it has no bytes", () => {
  expect(tokenizerOf({}).encode("a\ud83d")).toEqual(tokenizerOf({}).encode("a\uFFFD"));
});

test("a pattern that matches nothing walks over characters of two units", () => {
  const byLetters = {
    type: "Split",
    pattern: { Regex: "a*" },
    behavior: "Isolated",
    invert: false,
  };
  expect(tokenizerOf({ pre_tokenizer: byLetters }).encode("\u{1f600}a")).toHaveLength(2);
});

test("a match of nothing at the start of a text is one", () => {
  const normalizer = { type: "Replace", pattern: { Regex: "^" }, content: "▁" };
  expect(show(tokenizerOf({ normalizer }), "ab")).toBe(
    show(tokenizerOf({}), "▁ab").replace("▁<▁", "▁<"),
  );
});

test.each([[100_000_000], [-1], [1.5]])("the id %d is refused with its token", (id) => {
  expect(() => tokenizerOf({}, [{ id, content: "<x>", special: true }])).toThrow(
    /gives "<x>" the id .*whole number from 0/,
  );
});
