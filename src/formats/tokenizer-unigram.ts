// Unigram as Rust's tokenizers do it: of all ways to cut a word into pieces, the one with the highest sum of
// scores. Sums are doubles added from left to right, so that ties fall as they do there.
import type { JsonObject } from "./json.ts";
import { fallbackToken } from "./tokenizer-bytes.ts";
import {
  type EncodedWord,
  NoTokenError,
  type TokenizerModel,
  WordBuilder,
} from "./tokenizer-model.ts";
import { unsupported } from "./tokenizer-piece.ts";
import { PieceTrie } from "./piece-trie.ts";

/** How much worse than the worst piece an unknown character is. */
const UNKNOWN_PENALTY = 10;

export function createUnigram(model: JsonObject, place: string): TokenizerModel {
  const { vocab } = model;
  if (!Array.isArray(vocab)) throw unsupported("model", model, place);
  const vocabulary = new Map<string, number>();
  const scores: number[] = [];
  const trie = new PieceTrie();
  for (const [id, entry] of (vocab as unknown[]).entries()) {
    const [piece, score] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof piece !== "string" || typeof score !== "number") {
      throw unsupported("model", { type: "Unigram", vocab: { [id]: entry } }, place);
    }
    vocabulary.set(piece, id);
    scores.push(asRustReads(score));
    if (piece !== "") trie.add(piece, id);
  }
  const unknownId = typeof model["unk_id"] === "number" ? model["unk_id"] : undefined;
  const byteFallback = model["byte_fallback"] === true;
  const worst = scores.reduce((least, score) => Math.min(least, score), Infinity);
  const unknownScore = worst - UNKNOWN_PENALTY;

  return {
    encode(word) {
      const cuts = bestCuts(word, trie, scores, unknownId, unknownScore);
      return writeCuts(word, cuts, vocabulary, unknownId, byteFallback);
    },
    vocabulary,
  };
}

/**
 * The number that serde_json makes of a score's digits: all of them as an integer, divided by a power of
 * ten. That is up to a unit in the last place off, and decides between pieces of equal sums.
 */
function asRustReads(score: number): number {
  const [whole = "", fraction = "", ...rest] = String(Math.abs(score)).split(".");
  if (rest.length > 0 || /\D/.test(whole + fraction) || fraction.length > 22) return score;
  const read = Number(whole + fraction) / 10 ** fraction.length;
  return score < 0 ? -read : read;
}

interface Cut {
  start: number;
  end: number;
  isUnknown: boolean;
}

/** The best cuts, with runs of unknown characters as one. */
function bestCuts(
  word: string,
  trie: PieceTrie,
  scores: readonly number[],
  unknownId: number | undefined,
  unknownScore: number,
): Cut[] {
  const size = word.length;
  // Of the best way to each place: its score, where its last piece begins, and that piece.
  const best = new Float64Array(size + 1);
  const from = new Int32Array(size + 1).fill(-1);
  const pieces = new Int32Array(size + 1);
  const offer = (start: number, end: number, id: number, score: number) => {
    const sum = score + (best[start] ?? 0);
    if (from[end] !== -1 && sum <= (best[end] ?? 0)) return;
    best[end] = sum;
    from[end] = start;
    pieces[end] = id;
  };
  for (let start = 0; start < size;) {
    const after = start + ((word.codePointAt(start) ?? 0) > 0xffff ? 2 : 1);
    let hasCharacter = false;
    trie.matchAll(word, start, (id, end) => {
      offer(start, end, id, scores[id] ?? 0);
      if (end === after) hasCharacter = true;
    });
    if (!hasCharacter) {
      if (unknownId === undefined) throw new NoTokenError();
      offer(start, after, unknownId, unknownScore);
    }
    start = after;
  }
  const cuts: Cut[] = [];
  for (let end = size; end > 0;) {
    const start = from[end] ?? 0;
    const isUnknown = pieces[end] === unknownId;
    const later = cuts.at(-1);
    if (isUnknown && later?.isUnknown === true) later.start = start;
    else cuts.push({ start, end, isUnknown });
    end = start;
  }
  return cuts.toReversed();
}

function writeCuts(
  word: string,
  cuts: readonly Cut[],
  vocabulary: ReadonlyMap<string, number>,
  unknownId: number | undefined,
  byteFallback: boolean,
): EncodedWord {
  const result = new WordBuilder();
  for (const { start, end } of cuts) {
    const id = vocabulary.get(word.slice(start, end));
    if (id !== undefined) {
      result.add(id, start, end);
      continue;
    }
    const bytes = byteFallback ? bytePieces(word, start, end, vocabulary) : undefined;
    if (bytes) for (const [byteId, from, to] of bytes) result.add(byteId, from, to);
    else if (unknownId === undefined) throw new NoTokenError();
    else result.add(unknownId, start, end);
  }
  return result;
}

/** Ids of the UTF-8 of a stretch, each with the character it is of; undefined if one is missing. */
function bytePieces(
  word: string,
  start: number,
  end: number,
  vocabulary: ReadonlyMap<string, number>,
): [id: number, start: number, end: number][] | undefined {
  const encoder = new TextEncoder();
  const result: [number, number, number][] = [];
  let at = start;
  for (const char of word.slice(start, end)) {
    for (const byte of encoder.encode(char)) {
      const id = vocabulary.get(fallbackToken(byte));
      if (id === undefined) return undefined;
      result.push([id, at, at + char.length]);
    }
    at += char.length;
  }
  return result;
}
