// SentencePiece's BPE: of all neighbors whose joint text is a piece, those of the best score are joined,
// the leftmost first, until none is left. There is no list of merges; only the result's score counts.
import type { PieceTrie } from "./piece-trie.ts";
import { isPlain, type SentencePieceModel } from "./sentencepiece.ts";
import { type EncodedWord, WordBuilder } from "./tokenizer-model.ts";
import { WordTable } from "./word-table.ts";

/** Cuts a normalized text into pieces, in order. The id is −1 where the text is no piece. */
export type CutText = (
  text: string,
  emit: (start: number, end: number, id: number) => void,
) => void;

/** A symbol that became part of its left neighbor. */
const GONE = -1;
/** A user-defined symbol, which nothing is joined to. */
const FROZEN = -2;

/** `symbols` holds the user-defined ones. */
export function createBpe(model: SentencePieceModel, symbols: PieceTrie | undefined): CutText {
  const plain = new Map<string, number>();
  for (const [id, piece] of model.pieces.entries()) {
    if (isPlain(model, piece)) plain.set(piece.text, id);
  }
  const idOf = (text: string) => plain.get(text) ?? -1;
  const chain = new Chain();
  const splits: Splits = new Map();
  const join = createJoiner(model, chain, idOf, splits);
  const tools = { model, symbols, idOf, chain, join };
  return model.pieces.some(({ type }) => type === "unused")
    ? createWholeCutter(tools, splits)
    : createPartCutter(tools, new Neighbors(plain.keys()));
}

/** How each unused piece was last made: the length of its left part, to take it apart again. */
type Splits = Map<string, number>;

interface Tools {
  readonly model: SentencePieceModel;
  readonly symbols: PieceTrie | undefined;
  /** The id of a piece that text becomes, or −1. */
  readonly idOf: (text: string) => number;
  readonly chain: Chain;
  readonly join: (text: string) => void;
}

/** Cuts the whole text: where pieces are taken apart again, what was made elsewhere in it counts. */
function createWholeCutter({ model, symbols, idOf, chain, join }: Tools, splits: Splits): CutText {
  const count = model.pieces.length;
  const isUnused = model.pieces.map(({ type }) => type === "unused");
  return (text, emit) => {
    /** A piece that must not be used is taken apart in the way it came about. */
    const emitParts = (start: number, end: number): void => {
      const part = text.slice(start, end);
      const id = idOf(part);
      if (isUnused[id] !== true) return emit(start, end, id);
      const split = splits.get(part);
      if (split === undefined) return emit(start, end, -1);
      emitParts(start, start + split);
      emitParts(start + split, end);
    };
    splits.clear();
    for (let at = 0; at < text.length;) {
      const symbolEnd = symbols ? symbols.longestEnd(text, at) : at;
      const point = text.codePointAt(at) as number;
      const end = symbolEnd > at ? symbolEnd : at + (point > 0xffff ? 2 : 1);
      chain.append(at, end, symbolEnd > at ? FROZEN : count + point);
      at = end;
    }
    if (chain.length > 1) join(text);
    for (let i = chain.length > 0 ? 0 : -1; i >= 0; i = chain.next[i] as number) {
      emitParts(chain.start[i] as number, chain.end[i] as number);
    }
    chain.length = 0;
  };
}

/** Cuts the text at symbols and where no piece can cross, and each part by itself; parts are remembered. */
function createPartCutter(
  { model, symbols, idOf, chain, join }: Tools,
  neighbors: Neighbors,
): CutText {
  const count = model.pieces.length;

  /** Cuts a text that has no symbol in it and no border inside. */
  const cutPart = (text: string): EncodedWord => {
    for (let at = 0; at < text.length;) {
      const point = text.codePointAt(at) as number;
      const end = at + (point > 0xffff ? 2 : 1);
      chain.append(at, end, count + point);
      at = end;
    }
    if (chain.length > 1) join(text);
    const pieces = new WordBuilder();
    for (let i = chain.length > 0 ? 0 : -1; i >= 0; i = chain.next[i] as number) {
      const symbol = chain.symbol[i] as number;
      const start = chain.start[i] as number;
      const end = chain.end[i] as number;
      pieces.add(symbol < count ? symbol : idOf(text.slice(start, end)), start, end);
    }
    chain.length = 0;
    return pieces;
  };
  const parts = new WordTable(cutPart);

  return (text, emit) => {
    const finish = (start: number, end: number): void => {
      if (start === end) return;
      const known = parts.find(text, start, end);
      const { ids, starts, ends } = known >= 0 ? parts : cutPart(text.slice(start, end));
      const first = known >= 0 ? (parts.firsts[known] as number) : 0;
      const last = known >= 0 ? (parts.firsts[known + 1] as number) : ids.length;
      for (let i = first; i < last; i++) {
        emit(start + (starts[i] as number), start + (ends[i] as number), ids[i] as number);
      }
    };
    let start = 0; // of the part under way
    let before = -1;
    for (let at = 0; at < text.length;) {
      const symbolEnd = symbols ? symbols.longestEnd(text, at) : at;
      if (symbolEnd > at) {
        finish(start, at);
        emit(at, symbolEnd, idOf(text.slice(at, symbolEnd)));
        before = -1;
        start = at = symbolEnd;
        continue;
      }
      const point = text.codePointAt(at) as number;
      // No piece crosses such a border, so each side can be joined for itself.
      if (before >= 0 && !neighbors.has(before, point)) {
        finish(start, at);
        start = at;
      }
      before = point;
      at += point > 0xffff ? 2 : 1;
    }
    finish(start, text.length);
  };
}

/** Gives what joins all that can be joined in the chain, and notes in `splits` how unused pieces came about. */
function createJoiner(
  model: SentencePieceModel,
  chain: Chain,
  idOf: (text: string) => number,
  splits: Splits,
): (text: string) => void {
  const ranks = rankScores(model);
  const pairs = new PairMemory();
  const agenda = new Agenda();

  /** The piece that two symbols make, or −1. */
  const findJoint = (text: string, left: number, right: number): number => {
    const first = chain.symbol[left] as number;
    const second = chain.symbol[right] as number;
    if (first === FROZEN || second === FROZEN) return -1;
    const known = pairs.find(first, second);
    if (known !== undefined) return known;
    const id = idOf(text.slice(chain.start[left], chain.end[right]));
    pairs.keep(first, second, id);
    return id;
  };
  const offer = (text: string, left: number, right: number): void => {
    const id = left < 0 || right < 0 ? -1 : findJoint(text, left, right);
    if (id < 0) return;
    const start = chain.start[left] as number;
    const end = chain.end[right] as number;
    agenda.push(ranks[id] as number, left, right, end, id);
    if (model.pieces[id]?.type !== "unused") return;
    splits.set(text.slice(start, end), (chain.start[right] as number) - start);
  };
  return (text) => {
    for (let i = 1; i < chain.length; i++) offer(text, i - 1, i);
    for (let top = agenda.pop(); top >= 0; top = agenda.pop()) {
      const left = agenda.left[top] as number;
      const right = agenda.right[top] as number;
      // Since the pair was offered, one of the two may have been joined to another.
      const isStale =
        chain.symbol[left] === GONE ||
        chain.symbol[right] === GONE ||
        chain.end[right] !== agenda.end[top];
      if (isStale) continue;
      chain.join(left, right, agenda.id[top] as number);
      offer(text, chain.previous[left] as number, left);
      offer(text, left, chain.next[left] as number);
    }
    agenda.clear();
  };
}

/** Scores as ranks, 0 the best; equal scores have equal ranks. */
function rankScores(model: SentencePieceModel): Int32Array {
  const scores = Float32Array.from(model.pieces, ({ score }) => score);
  const order = [...new Set(scores)].toSorted((a, b) => b - a);
  const rankOf = new Map(order.map((score, rank) => [score, rank]));
  return Int32Array.from(scores, (score) => rankOf.get(score) as number);
}

/** The text as a list of symbols linked both ways. A symbol is a joint piece's id, or count + code point. */
class Chain {
  length = 0;
  start = new Int32Array(256);
  end = new Int32Array(256);
  symbol = new Int32Array(256);
  previous = new Int32Array(256);
  /** −1 behind the last. */
  next = new Int32Array(256);

  append(start: number, end: number, symbol: number): void {
    const i = this.length++;
    if (i === this.start.length) {
      for (const key of ["start", "end", "symbol", "previous", "next"] as const) {
        this[key] = doubled(this[key]);
      }
    }
    this.start[i] = start;
    this.end[i] = end;
    this.symbol[i] = symbol;
    this.previous[i] = i - 1;
    this.next[i] = -1;
    if (i > 0) this.next[i - 1] = i;
  }

  /** Makes two neighbors one, in the left one's place. */
  join(left: number, right: number, symbol: number): void {
    const next = this.next[right] as number;
    this.symbol[left] = symbol;
    this.symbol[right] = GONE;
    this.end[left] = this.end[right] as number;
    this.next[left] = next;
    if (next >= 0) this.previous[next] = left;
  }
}

/** Pairs that can be joined: a heap with the best rank on top, the leftmost of equals first. */
class Agenda {
  left = new Int32Array(256);
  right = new Int32Array(256);
  /** Where the right symbol ended when the pair was offered. */
  end = new Int32Array(256);
  id = new Int32Array(256);
  #key = new Float64Array(256);
  #heap = new Int32Array(256);
  #length = 0;
  #entries = 0;

  push(rank: number, left: number, right: number, end: number, id: number): void {
    const entry = this.#entries++;
    if (entry === this.left.length) {
      for (const key of ["left", "right", "end", "id"] as const) this[key] = doubled(this[key]);
      this.#heap = doubled(this.#heap);
      this.#key = doubled(this.#key);
    }
    this.left[entry] = left;
    this.right[entry] = right;
    this.end[entry] = end;
    this.id[entry] = id;
    const key = rank * 2 ** 31 + left;
    this.#key[entry] = key;
    let at = this.#length++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = this.#heap[parent] as number;
      if ((this.#key[above] as number) <= key) break;
      this.#heap[at] = above;
      at = parent;
    }
    this.#heap[at] = entry;
  }

  /** The best entry, or −1. Its fields stay until `clear`. */
  pop(): number {
    if (this.#length === 0) return -1;
    const top = this.#heap[0] as number;
    const last = this.#heap[--this.#length] as number;
    const key = this.#key[last] as number;
    let at = 0;
    for (let child = 1; child < this.#length; child = 2 * at + 1) {
      const isRightBetter = child + 1 < this.#length && this.#keyAt(child + 1) < this.#keyAt(child);
      const best = isRightBetter ? child + 1 : child;
      if (key <= this.#keyAt(best)) break;
      this.#heap[at] = this.#heap[best] as number;
      at = best;
    }
    this.#heap[at] = last;
    return top;
  }

  clear(): void {
    this.#length = 0;
    this.#entries = 0;
  }

  #keyAt(at: number): number {
    return this.#key[this.#heap[at] as number] as number;
  }
}

/** What pairs of symbols make, for the pairs seen last: a table where a newer pair takes an older's place. */
class PairMemory {
  static readonly #slots = 1 << 17;
  readonly #first = new Int32Array(PairMemory.#slots).fill(-1);
  readonly #second = new Int32Array(PairMemory.#slots);
  readonly #joint = new Int32Array(PairMemory.#slots);

  find(first: number, second: number): number | undefined {
    const slot = hashPair(first, second) & (PairMemory.#slots - 1);
    const isKnown = this.#first[slot] === first && this.#second[slot] === second;
    return isKnown ? this.#joint[slot] : undefined;
  }

  keep(first: number, second: number, joint: number): void {
    const slot = hashPair(first, second) & (PairMemory.#slots - 1);
    this.#first[slot] = first;
    this.#second[slot] = second;
    this.#joint[slot] = joint;
  }
}

/**
 * Which characters meet inside a piece. One bit for a hash of both, so it may say yes where the answer
 * is no, and never the other way round.
 */
class Neighbors {
  static readonly #bits = 1 << 22;
  readonly #words = new Int32Array(Neighbors.#bits / 32);

  constructor(texts: Iterable<string>) {
    for (const text of texts) {
      let before = -1;
      for (let at = 0; at < text.length;) {
        const point = text.codePointAt(at) as number;
        if (before >= 0) {
          const bit = hashPair(before, point) & (Neighbors.#bits - 1);
          this.#words[bit >> 5] = (this.#words[bit >> 5] as number) | (1 << (bit & 31));
        }
        before = point;
        at += point > 0xffff ? 2 : 1;
      }
    }
  }

  has(before: number, point: number): boolean {
    const bit = hashPair(before, point) & (Neighbors.#bits - 1);
    return ((this.#words[bit >> 5] as number) & (1 << (bit & 31))) !== 0;
  }
}

function hashPair(first: number, second: number): number {
  const hash = Math.imul(first + 1, 0x9e3779b1) ^ Math.imul(second + 1, 0x85ebca6b);
  return hash ^ (hash >>> 15);
}

function doubled<T extends Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(values: T): T {
  const Type = values.constructor as new (length: number) => T;
  const larger = new Type(2 * values.length);
  larger.set(values);
  return larger;
}
