// Encoded examples by the hundred thousand in a few large arrays, where objects of their own would cost the
// garbage collector more than the encoding. An example is built anew each time it is asked for.
//
// A token is one 32-bit word: twice its id, plus one where it is learned. Ids are below 2²², so that it fits.
import type { EncodedExample, ExampleList } from "./encode.ts";
import { type Example, IGNORE_INDEX } from "./pack.ts";

const CHUNK_WORDS = 1 << 20;

/** Examples with no other memory than 4 bytes a token and 24 an example. Equal ones may share their tokens. */
export class TokenStore implements ExampleList {
  readonly #chunks: Uint32Array<ArrayBuffer>[] = [];
  #words = 0;
  #count = 0;
  #starts = new Float64Array(1024);
  #lengths = new Uint32Array(1024);
  #labelTokens = new Uint32Array(1024);
  #tokensLost = new Uint32Array(1024);
  /** 1 where the last learned answer keeps its end. */
  #hasEnd = new Uint8Array(1024);

  get length(): number {
    return this.#count;
  }

  /** Adds an example, whose labels are its ids where they are learned. Returns its index. */
  add(example: EncodedExample): number {
    const { inputIds, labels, labelTokens, tokensLost, eosSupervised } = example;
    const index = this.#next();
    this.#starts[index] = this.#words;
    this.#lengths[index] = inputIds.length;
    this.#labelTokens[index] = labelTokens;
    this.#tokensLost[index] = tokensLost;
    this.#hasEnd[index] = eosSupervised ? 1 : 0;
    let offset = this.#words % CHUNK_WORDS;
    let chunk = this.#chunks[this.#chunks.length - 1];
    for (let i = 0; i < inputIds.length; i++) {
      if (offset === 0 || chunk === undefined) {
        chunk = new Uint32Array(CHUNK_WORDS);
        this.#chunks.push(chunk);
      }
      chunk[offset] = 2 * (inputIds[i] as number) + ((labels[i] as number) >= 0 ? 1 : 0);
      offset = (offset + 1) % CHUNK_WORDS;
    }
    this.#words += inputIds.length;
    return index;
  }

  /** Adds example `index` once more, without its tokens. */
  repeat(index: number): void {
    const copy = this.#next();
    for (const column of this.#columns()) column[copy] = column[index] as number;
  }

  at(index: number): EncodedExample | undefined {
    if (!(index >= 0 && index < this.#count)) return undefined;
    const length = this.lengthOf(index);
    const inputIds = new Uint32Array(length);
    const labels = new Int32Array(length);
    this.copy(index, 0, { inputIds, labels }, 0, length);
    const tokensLost = this.#tokensLost[index] as number;
    return {
      inputIds,
      labels,
      tokensLost,
      truncated: tokensLost > 0,
      eosSupervised: this.#hasEnd[index] === 1,
      labelTokens: this.#labelTokens[index] as number,
    };
  }

  lengthOf(index: number): number {
    return this.#lengths[index] ?? 0;
  }

  /** What is known of an example without making it. */
  countsOf(index: number): {
    tokens: number;
    labelTokens: number;
    tokensLost: number;
    hasEnd: boolean;
  } {
    return {
      tokens: this.lengthOf(index),
      labelTokens: this.#labelTokens[index] ?? 0,
      tokensLost: this.#tokensLost[index] ?? 0,
      hasEnd: this.#hasEnd[index] === 1,
    };
  }

  /** Copies `count` tokens of an example, from its token `from` on, to place `at` of a row. */
  copy(
    index: number,
    from: number,
    { inputIds, labels }: Example,
    at: number,
    count: number,
  ): void {
    const start = (this.#starts[index] as number) + from;
    let place = Math.floor(start / CHUNK_WORDS);
    let offset = start % CHUNK_WORDS;
    let chunk = this.#chunks[place] as Uint32Array;
    for (let i = at; i < at + count; i++) {
      if (offset === CHUNK_WORDS) {
        chunk = this.#chunks[++place] as Uint32Array;
        offset = 0;
      }
      const word = chunk[offset++] as number;
      const id = word >>> 1;
      inputIds[i] = id;
      labels[i] = (word & 1) === 1 ? id : IGNORE_INDEX;
    }
  }

  /** The index of a new example, with room for it. */
  #next(): number {
    if (this.#count === this.#lengths.length) {
      this.#starts = doubled(this.#starts);
      this.#lengths = doubled(this.#lengths);
      this.#labelTokens = doubled(this.#labelTokens);
      this.#tokensLost = doubled(this.#tokensLost);
      this.#hasEnd = doubled(this.#hasEnd);
    }
    return this.#count++;
  }

  #columns(): (Float64Array | Uint32Array | Uint8Array)[] {
    return [this.#starts, this.#lengths, this.#labelTokens, this.#tokensLost, this.#hasEnd];
  }
}

function doubled<T extends Float64Array | Uint32Array | Uint8Array>(values: T): T {
  const Type = values.constructor as new (length: number) => T;
  const larger = new Type(2 * values.length);
  larger.set(values);
  return larger;
}
