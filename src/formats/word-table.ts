// What words become, for words that come again: found by their units where they stand in a text, so that a word
// that is known costs neither a string nor an object. Numbers in a few arrays, emptied when they are full.
import type { EncodedWord, WordTokens } from "./tokenizer-model.ts";

/** Longer words hardly come again. */
const WORD_UNITS = 64;
const MOST_WORDS = 1 << 16;
const MOST_UNITS = 1 << 20;
const MOST_IDS = 1 << 19;
const SLOTS = 1 << 17;

export class WordTable implements WordTokens {
  /** Of all words' tokens: ids, and the units of the word that each is made of. */
  ids = new Int32Array(256);
  starts = new Uint8Array(256);
  ends = new Uint8Array(256);
  /** Where the tokens of each word begin in the arrays above; they end where those of the next word begin. */
  firsts = new Int32Array(64);

  readonly #encode: (word: string) => EncodedWord;
  /** By hash: words, plus one; 0 where the slot is free. Made when the first word comes. */
  #slots = new Int32Array(0);
  #hashes = new Int32Array(64);
  #units = new Uint16Array(256);
  #unitStarts = new Int32Array(64);
  #words = 0;

  /** What `encode` gives is to follow from the word alone. */
  constructor(encode: (word: string) => EncodedWord) {
    this.#encode = encode;
  }

  /**
   * Units [start, end) of the text as a word of the table, valid until the next call; −1 for a long word, which
   * is to be encoded by itself.
   */
  find(text: string, start: number, end: number): number {
    const length = end - start;
    if (length > WORD_UNITS) return -1;
    let hash = length;
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    hash ^= hash >>> 15;
    if (this.#slots.length === 0) this.#slots = new Int32Array(SLOTS);
    for (let slot = hash & (SLOTS - 1); ; slot = (slot + 1) & (SLOTS - 1)) {
      const word = (this.#slots[slot] as number) - 1;
      if (word < 0) return this.#add(hash, text.slice(start, end));
      if (this.#hashes[word] === hash && this.#holds(word, text, start, length)) return word;
    }
  }

  #holds(word: number, text: string, start: number, length: number): boolean {
    const from = this.#unitStarts[word] as number;
    if ((this.#unitStarts[word + 1] as number) - from !== length) return false;
    for (let i = 0; i < length; i++) {
      if (this.#units[from + i] !== text.charCodeAt(start + i)) return false;
    }
    return true;
  }

  #add(hash: number, text: string): number {
    const { ids, starts, ends } = this.#encode(text);
    const full =
      this.#words + 1 >= MOST_WORDS ||
      (this.#unitStarts[this.#words] as number) + text.length > MOST_UNITS ||
      (this.firsts[this.#words] as number) + ids.length > MOST_IDS;
    if (full) {
      this.#slots.fill(0);
      this.#words = 0;
    }
    const word = this.#words++;
    this.#grow(word, text.length, ids.length);
    const unitStart = this.#unitStarts[word] as number;
    for (let i = 0; i < text.length; i++) this.#units[unitStart + i] = text.charCodeAt(i);
    this.#unitStarts[word + 1] = unitStart + text.length;
    const first = this.firsts[word] as number;
    this.ids.set(ids, first);
    this.starts.set(starts, first);
    this.ends.set(ends, first);
    this.firsts[word + 1] = first + ids.length;
    this.#hashes[word] = hash;
    let slot = hash & (SLOTS - 1);
    while (this.#slots[slot] !== 0) slot = (slot + 1) & (SLOTS - 1);
    this.#slots[slot] = word + 1;
    return word;
  }

  /** Room for a word of so many units and tokens. */
  #grow(word: number, units: number, tokens: number): void {
    if (word + 2 > this.firsts.length) {
      this.firsts = grown(this.firsts, word + 2);
      this.#hashes = grown(this.#hashes, word + 2);
      this.#unitStarts = grown(this.#unitStarts, word + 2);
    }
    this.#units = grown(this.#units, (this.#unitStarts[word] as number) + units);
    const most = (this.firsts[word] as number) + tokens;
    this.ids = grown(this.ids, most);
    this.starts = grown(this.starts, most);
    this.ends = grown(this.ends, most);
  }
}

function grown<T extends Int32Array | Uint16Array | Uint8Array>(values: T, size: number): T {
  if (size <= values.length) return values;
  const Type = values.constructor as new (length: number) => T;
  const larger = new Type(Math.max(size, 2 * values.length));
  larger.set(values);
  return larger;
}
