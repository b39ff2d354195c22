// BPE and Unigram against the plainest way to say what they do.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBpe } from "../../src/formats/tokenizer-bpe.ts";
import { createUnigram } from "../../src/formats/tokenizer-unigram.ts";

/** Merges by looking through the whole list of merges for each step. */
function mergePlainly(word: string, merges: readonly [string, string][]): string[] {
  const parts = Array.from(word);
  for (;;) {
    const found = merges
      .map(([left, right]) => parts.findIndex((part, i) => part === left && parts[i + 1] === right))
      .find((place) => place >= 0);
    if (found === undefined) return parts;
    parts.splice(found, 2, parts[found]! + parts[found + 1]!);
  }
}

/** Merges of merges over a few characters, each of a kind that `allows` what it makes. */
const mergeLists = (alphabet: readonly string[], allows: (token: string) => boolean) =>
  fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { minLength: 1, maxLength: 25 }).map((picks) => {
    const tokens = [...alphabet];
    const merges: [string, string][] = [];
    for (const [i, j] of picks) {
      const [left, right] = [tokens[i % tokens.length]!, tokens[j % tokens.length]!];
      const token = left + right;
      if (tokens.includes(token) || token.length > 24 || !allows(token)) continue;
      merges.push([left, right]);
      tokens.push(token);
    }
    return { tokens, merges };
  });

describe("BPE", () => {
  // A space (▁) inside of tokens, only at their start, or in none.
  test.each([
    ["words short and long", ["a", "b", "c", "🙂"], () => true],
    ["texts with spaces anywhere in tokens", ["a", "▁", "🙂"], () => true],
    ["texts cut at spaces", ["a", "▁", "🙂"], (token: string) => !/[^▁]▁/.test(token)],
  ])("%s are merged in the order of ranks, from the left", (_, alphabet, allows) => {
    const words = fc.array(fc.constantFrom(...alphabet), { maxLength: 200 });
    fc.assert(
      fc.property(mergeLists(alphabet, allows), words, ({ tokens, merges }, letters) => {
        const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
        const word = letters.join("");
        const { ids, starts, ends } = createBpe({ vocab, merges }, "x").encode(word);
        const parts = mergePlainly(word, merges);
        expect(ids.map((id) => tokens[id])).toEqual(parts);
        expect(ids.map((__, i) => word.slice(starts[i], ends[i]))).toEqual(parts);
      }),
      { numRuns: 300 },
    );
  });

  const bytes = Object.fromEntries(
    Array.from({ length: 256 }, (_, byte) => [
      `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
      byte + 10,
    ]),
  );
  const base = { vocab: { "<unk>": 0, a: 1, b: 2, ab: 3 }, merges: ["a b"] };

  test.each([
    ["unknown characters are left out where there is no token for them", {}, "a?b", [3]],
    ["each unknown character is a token", { unk_token: "<unk>" }, "a??b", [1, 0, 0, 2]],
    ["a run is one if it says so", { unk_token: "<unk>", fuse_unk: true }, "a??b", [1, 0, 2]],
    ["a whole word that is a token is not merged", { ignore_merges: true, merges: [] }, "ab", [3]],
  ])("%s", (_, more, word, ids) => {
    expect(createBpe({ ...base, ...more }, "x").encode(word).ids).toEqual(ids);
  });

  test("bytes stand for a character, and each is of all of it", () => {
    const model = { ...base, vocab: { ...base.vocab, ...bytes }, byte_fallback: true };
    const { ids, starts, ends } = createBpe(model, "x").encode("a🙂b");
    expect(ids).toEqual([1, 0xf0 + 10, 0x9f + 10, 0x99 + 10, 0x82 + 10, 2]);
    expect(starts).toEqual([0, 1, 1, 1, 1, 3]);
    expect(ends).toEqual([1, 3, 3, 3, 3, 4]);
  });

  test("a merge of tokens that are not there is refused with its place", () => {
    expect(() => createBpe({ ...base, merges: ["a b", "b c"] }, "models/x")).toThrow(
      /models\/x: .* merge 1 "b c" has a token/,
    );
  });
});

describe("Unigram", () => {
  const unknown: [string, number] = ["<unk>", 0];

  test("the best of all ways to cut a word is taken", () => {
    const pieces = fc.uniqueArray(fc.stringMatching(/^[ab]{1,4}$/), {
      minLength: 1,
      maxLength: 12,
    });
    const word = fc.stringMatching(/^[ab]{1,9}$/);
    fc.assert(
      fc.property(
        pieces,
        fc.infiniteStream(fc.integer({ min: 1, max: 99 })),
        word,
        (list, points, text) => {
          const all = [...new Set([...list, "a", "b"])];
          // Powers of two add up without rounding, so that the best is one.
          const vocab = [
            unknown,
            ...all.map((piece) => [piece, -points.next().value! / 64] as [string, number]),
          ];
          const scores = new Map(vocab);
          const bestFrom = (start: number): number => {
            if (start === text.length) return 0;
            const ways = all
              .filter((piece) => text.startsWith(piece, start))
              .map((piece) => scores.get(piece)! + bestFrom(start + piece.length));
            return Math.max(...ways);
          };
          const { ids } = createUnigram({ vocab, unk_id: 0 }, "x").encode(text);
          expect(ids.map((id) => vocab[id]![0]).join("")).toBe(text);
          expect(ids.reduce((sum, id) => sum + vocab[id]![1], 0)).toBe(bestFrom(0));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a run of unknown characters is one token, or its bytes where all are there", () => {
    const vocab = [unknown, ["a", -1]];
    const plain = createUnigram({ vocab, unk_id: 0 }, "x").encode("a你好a");
    expect(plain).toMatchObject({ ids: [1, 0, 1], starts: [0, 1, 3], ends: [1, 3, 4] });
    const bytes = Array.from({ length: 256 }, (_, byte) => [
      `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
      -9,
    ]);
    const model = { vocab: [...vocab, ...bytes], unk_id: 0, byte_fallback: true };
    const { ids, starts } = createUnigram(model, "x").encode("é你");
    expect(ids).toEqual([0xc3, 0xa9, 0xe4, 0xbd, 0xa0].map((byte) => byte + 2));
    expect(starts).toEqual([0, 0, 1, 1, 1]);
  });

  test("scores are the numbers that Rust reads, up to a unit in the last place from those written", () => {
    // Of these two cuts the second is better by that unit as serde_json reads −8.640000000000001.
    const written = 8.640000000000001;
    const read = 8640000000000001 / 1e15;
    const better = Math.min(written, read);
    const vocab = [unknown, ["ab", -written], ["a", -read / 2], ["b", -read / 2]];
    const { ids } = createUnigram({ vocab, unk_id: 0 }, "x").encode("ab");
    expect(better).toBeGreaterThan(8);
    expect(ids).toEqual([1]);
  });
});
