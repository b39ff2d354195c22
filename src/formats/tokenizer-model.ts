// What the models of tokenizer.json have in common: words to ids.

/** A word's ids, and the units of the word that each stands for: several ids for one character's bytes. */
export interface EncodedWord {
  readonly ids: readonly number[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** Tokens of many words, side by side. */
export interface WordTokens {
  readonly ids: ArrayLike<number>;
  readonly starts: ArrayLike<number>;
  readonly ends: ArrayLike<number>;
}

export interface TokenizerModel {
  readonly encode: (word: string) => EncodedWord;
  readonly vocabulary: ReadonlyMap<string, number>;
}

/** A model needs its unknown token and has none. */
export class NoTokenError extends Error {}

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
