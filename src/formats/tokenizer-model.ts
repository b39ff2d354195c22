// What the models of tokenizer.json have in common: words to ids.

/** A word's ids, and the units of the word that each stands for: several ids for one character's bytes. */
export interface EncodedWord {
  readonly ids: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

export interface TokenizerModel {
  encode(word: string): EncodedWord;
  readonly vocabulary: ReadonlyMap<string, number>;
}

/** A model needs its unknown token and has none. */
export class NoTokenError extends Error {}

const CACHE_WORDS = 1 << 15;
const CACHED_UNITS = 64;

/** Remembers short words: a text has most of its words many times. */
export function withCache(encode: (word: string) => EncodedWord): (word: string) => EncodedWord {
  const cache = new Map<string, EncodedWord>();
  return (word) => {
    if (word.length > CACHED_UNITS) return encode(word);
    let encoded = cache.get(word);
    if (encoded === undefined) {
      encoded = encode(word);
      if (cache.size >= CACHE_WORDS) cache.clear();
      cache.set(word, encoded);
    }
    return encoded;
  };
}

/** Collects a word's ids. */
export class WordBuilder implements EncodedWord {
  readonly ids: number[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];

  add(id: number, start: number, end: number): void {
    this.ids.push(id);
    this.starts.push(start);
    this.ends.push(end);
  }
}

/** More ids than any vocabulary has: what is made for each of them stays small. */
export const ID_LIMIT = 1 << 22;
