// Byte-pair encoding as Rust's tokenizers do it: characters to ids, then the pair of lowest rank is merged,
// the leftmost of equals, until no pair has a merge.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import { fallbackToken } from "./tokenizer-bytes.ts";
import {
  type EncodedWord,
  NoTokenError,
  type TokenizerModel,
  WordBuilder,
} from "./tokenizer-model.ts";
import { unsupported } from "./tokenizer-piece.ts";
import { WordTable } from "./word-table.ts";

export function createBpe(model: JsonObject, place: string): TokenizerModel {
  const { vocab, merges } = model;
  if (!isJsonObject(vocab) || !Array.isArray(merges)) throw unsupported("model", model, place);
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    const affix = model[key];
    if (typeof affix === "string" && affix !== "") {
      throw unsupported("model", { type: "BPE", [key]: affix }, place);
    }
  }
  const vocabulary = new Map(Object.entries(vocab) as [string, number][]);
  const symbols = createSymbols(model, vocabulary);
  const table = createMergeTable(merges, vocabulary, place);
  const ignoreMerges = model["ignore_merges"] === true;

  const encodeWord = (word: string): EncodedWord => {
    const whole = ignoreMerges ? vocabulary.get(word) : undefined;
    if (whole !== undefined) return { ids: [whole], starts: [0], ends: [word.length] };
    const characters = symbols(word);
    const count = characters.ids.length;
    if (count < 2) return characters;
    return count <= SHORT_WORD ? mergeShort(characters, table) : mergeLong(characters, table);
  };
  if (ignoreMerges || !keepsSpacesFirst(vocabulary)) return { encode: encodeWord, vocabulary };
  const words = new WordTable(encodeWord);
  return { encode: (text) => encodeByWords(text, words, encodeWord), vocabulary };
}

/** SentencePiece's sign for a space. */
const SPACE = "\u2581";

/**
 * Whether a space is in no token but at its start. Then no merge crosses the place before one, and words can be
 * encoded one by one, most of them from the cache, where the model itself sees a whole text as one word.
 */
function keepsSpacesFirst(vocabulary: ReadonlyMap<string, number>): boolean {
  if (!vocabulary.has(SPACE)) return false;
  for (const token of vocabulary.keys()) if (/[^\u2581]\u2581/.test(token)) return false;
  return true;
}

function encodeByWords(
  text: string,
  words: WordTable,
  encodeWord: (word: string) => EncodedWord,
): EncodedWord {
  const result = new WordBuilder();
  let start = 0;
  for (let end = 1; end <= text.length; end++) {
    const isBorder = text[end] === SPACE && text[end - 1] !== SPACE;
    if (!isBorder && end < text.length) continue;
    const known = words.find(text, start, end);
    const { ids, starts, ends } = known >= 0 ? words : encodeWord(text.slice(start, end));
    const first = known >= 0 ? (words.firsts[known] as number) : 0;
    const last = known >= 0 ? (words.firsts[known + 1] as number) : ids.length;
    for (let i = first; i < last; i++) {
      result.add(ids[i] ?? -1, start + (starts[i] ?? 0), start + (ends[i] ?? 0));
    }
    start = end;
  }
  return result;
}

/** Characters to ids: its own, its bytes', or the unknown token's. */
function createSymbols(
  model: JsonObject,
  vocabulary: ReadonlyMap<string, number>,
): (word: string) => WordBuilder {
  const unknownToken = model["unk_token"];
  const unknownId = typeof unknownToken === "string" ? vocabulary.get(unknownToken) : undefined;
  const hasUnknown = typeof unknownToken === "string";
  const fuseUnknown = model["fuse_unk"] === true;
  const byteIds =
    model["byte_fallback"] === true
      ? Array.from({ length: 256 }, (_, byte) => vocabulary.get(fallbackToken(byte)))
      : undefined;
  const encoder = new TextEncoder();
  const idOfUnit = new Int32Array(0x10000).fill(-1);
  for (const [token, id] of vocabulary) if (token.length === 1) idOfUnit[token.charCodeAt(0)] = id;

  return (word) => {
    const result = new WordBuilder();
    // A run of unknown characters is one token; it is written when a known one follows.
    let pending: { start: number; end: number } | undefined;
    const flush = () => {
      if (pending === undefined) return;
      if (unknownId === undefined) throw new NoTokenError();
      result.add(unknownId, pending.start, pending.end);
      pending = undefined;
    };
    for (let start = 0; start < word.length;) {
      const point = word.codePointAt(start) ?? 0;
      const end = start + (point > 0xffff ? 2 : 1);
      const id =
        point > 0xffff ? (vocabulary.get(word.slice(start, end)) ?? -1) : (idOfUnit[point] ?? -1);
      if (id >= 0) {
        flush();
        result.add(id, start, end);
      } else {
        const bytes = byteIds && byteTokens(encoder.encode(word.slice(start, end)), byteIds);
        // Rust leaves an unknown run pending here, so it comes after the bytes.
        if (bytes) for (const byte of bytes) result.add(byte, start, end);
        else if (hasUnknown) {
          if (pending && fuseUnknown) pending.end = end;
          else {
            flush();
            pending = { start, end };
          }
        }
      }
      start = end;
    }
    flush();
    return result;
  };
}

/** Undefined unless the vocabulary has each byte. */
function byteTokens(
  bytes: Uint8Array,
  byteIds: readonly (number | undefined)[],
): number[] | undefined {
  const ids: number[] = [];
  for (const byte of bytes) {
    const id = byteIds[byte];
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}

/** A hash table from a pair of ids to its merge: rank and the id that comes of it. */
interface MergeTable {
  /** The rank of merging `left` with `right`, or -1. */
  rank(left: number, right: number): number;
  /** The id that a merge of this rank makes. */
  merged(rank: number): number;
}

function createMergeTable(
  merges: readonly unknown[],
  vocabulary: ReadonlyMap<string, number>,
  place: string,
): MergeTable {
  let size = 16;
  while (size < merges.length * 2) size *= 2;
  // Left, right and rank side by side, since they are looked at together.
  const slots = new Int32Array(size * 4).fill(-1);
  const mergedIds = new Int32Array(merges.length);
  const slotOf = (left: number, right: number): number => {
    const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    let slot = ((hash ^ (hash >>> 15)) & (size - 1)) * 4;
    while (slots[slot] !== -1 && (slots[slot] !== left || slots[slot + 1] !== right)) {
      slot = (slot + 4) & (size * 4 - 1);
    }
    return slot;
  };
  for (const [rank, merge] of merges.entries()) {
    const [left, right] = halvesOf(merge);
    const leftId = vocabulary.get(left);
    const rightId = vocabulary.get(right);
    const mergedId = vocabulary.get(left + right);
    if (leftId === undefined || rightId === undefined || mergedId === undefined) {
      throw new UserError(
        `${place}: tokenizer.json cannot be used: its merge ${rank} ${JSON.stringify(merge)} has a token that is not in its vocabulary.`,
        "Download the model's tokenizer.json again, or choose another model.",
      );
    }
    const slot = slotOf(leftId, rightId);
    slots[slot] = leftId;
    slots[slot + 1] = rightId;
    slots[slot + 2] = rank;
    mergedIds[rank] = mergedId;
  }
  return {
    rank: (left, right) => slots[slotOf(left, right) + 2] as number,
    merged: (rank) => mergedIds[rank] ?? -1,
  };
}

/** "a b", or ["a", "b"] where tokens may hold spaces. Nothing sensible gives tokens that are not there. */
function halvesOf(merge: unknown): readonly [string, string] {
  if (Array.isArray(merge)) return [String(merge[0]), String(merge[1])];
  const text = String(merge);
  const space = text.indexOf(" ");
  return [text.slice(0, Math.max(0, space)), text.slice(space + 1)];
}

const SHORT_WORD = 96;
const NO_RANK = 0x7fffffff;

// Of the word under way: ids, where each begins and ends, and the rank of each with the one after it.
const shortIds = new Int32Array(SHORT_WORD);
const shortStarts = new Int32Array(SHORT_WORD);
const shortEnds = new Int32Array(SHORT_WORD);
const shortRanks = new Int32Array(SHORT_WORD);

/** Looks at every pair for each merge: the quickest way for a few characters. */
function mergeShort(word: WordBuilder, table: MergeTable): EncodedWord {
  let count = word.ids.length;
  for (let i = 0; i < count; i++) {
    shortIds[i] = word.ids[i] as number;
    shortStarts[i] = word.starts[i] as number;
    shortEnds[i] = word.ends[i] as number;
  }
  const rankAt = (i: number) => {
    const rank = table.rank(shortIds[i] as number, shortIds[i + 1] as number);
    return rank < 0 ? NO_RANK : rank;
  };
  for (let i = 0; i + 1 < count; i++) shortRanks[i] = rankAt(i);
  for (;;) {
    let best = NO_RANK;
    let at = -1;
    for (let i = 0; i + 1 < count; i++) {
      const rank = shortRanks[i] as number;
      if (rank < best) {
        best = rank;
        at = i;
      }
    }
    if (at < 0) break;
    shortIds[at] = table.merged(best);
    shortIds.copyWithin(at + 1, at + 2, count);
    shortStarts.copyWithin(at + 1, at + 2, count);
    shortEnds.copyWithin(at, at + 1, count);
    shortRanks.copyWithin(at, at + 1, count);
    count--;
    if (at > 0) shortRanks[at - 1] = rankAt(at - 1);
    if (at + 1 < count) shortRanks[at] = rankAt(at);
  }
  return {
    ids: Array.from(shortIds.subarray(0, count)),
    starts: Array.from(shortStarts.subarray(0, count)),
    ends: Array.from(shortEnds.subarray(0, count)),
  };
}

/** Ranks are below 2^22, places below 2^31: a pair in the queue is one number that sorts by both. */
const PLACES = 2 ** 31;

/** Keeps the pairs in a queue and the characters in a linked list: a text without spaces may be long. */
function mergeLong(word: WordBuilder, table: MergeTable): EncodedWord {
  const count = word.ids.length;
  const ids = Int32Array.from(word.ids);
  const next = Int32Array.from(ids, (_, i) => i + 1);
  const previous = Int32Array.from(ids, (_, i) => i - 1);
  const queue: number[] = [];
  const rankAt = (i: number): number => {
    const after = next[i] ?? count;
    return after < count ? table.rank(ids[i] ?? -1, ids[after] ?? -1) : -1;
  };
  const offer = (i: number) => {
    const rank = rankAt(i);
    if (rank >= 0) pushHeap(queue, rank * PLACES + i);
  };
  for (let i = 0; i + 1 < count; i++) offer(i);
  while (queue.length > 0) {
    const top = popHeap(queue);
    const rank = Math.floor(top / PLACES);
    const i = top % PLACES;
    // Stale where one half has been merged since: gone, or part of something larger.
    if (ids[i] === -1 || rankAt(i) !== rank) continue;
    const gone = next[i] ?? count;
    const after = next[gone] ?? count;
    ids[i] = table.merged(rank);
    ids[gone] = -1;
    next[i] = after;
    if (after < count) previous[after] = i;
    const before = previous[i] ?? -1;
    if (before >= 0) offer(before);
    offer(i);
  }
  const result = new WordBuilder();
  for (let i = 0; i < count;) {
    const after = next[i] ?? count;
    result.add(ids[i] ?? -1, word.starts[i] ?? 0, word.ends[after - 1] ?? 0);
    i = after;
  }
  return result;
}

function pushHeap(heap: number[], value: number): void {
  let i = heap.length;
  heap.push(value);
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const above = heap[parent] ?? 0;
    if (above <= value) break;
    heap[i] = above;
    i = parent;
  }
  heap[i] = value;
}

function popHeap(heap: number[]): number {
  const top = heap[0] ?? 0;
  const value = heap.pop() ?? 0;
  const size = heap.length;
  if (size === 0) return top;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= size) break;
    if (child + 1 < size && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
    const below = heap[child] ?? 0;
    if (below >= value) break;
    heap[i] = below;
    i = child;
  }
  heap[i] = value;
  return top;
}
