// A stretch of text on its way through a tokenizer, and where in the original each of its units came from.
// Every stage makes new pieces; positions are UTF-16 units, as everywhere in JavaScript.
import { UserError } from "../base/error.ts";
import type { JsonObject } from "./json.ts";

export interface Piece {
  readonly text: string;
  /**
   * A number where unit i of `text` is unit `origin + i` of the original. Otherwise the stretch of the
   * original behind each unit. Where positions are not wanted, a number that is right only for i = 0.
   */
  readonly origin: number | Spans;
}

export interface Spans {
  readonly starts: ArrayLike<number>;
  readonly ends: ArrayLike<number>;
}

/** A stage that changes a piece's text. `track` asks for exact origins, which cost time. */
export type Normalizer = (piece: Piece, track: boolean) => Piece;

/** Says where each word of a text is, in order. */
export type ScanWords = (text: string, found: (start: number, end: number) => void) => void;

/** A stage that cuts pieces into smaller ones. */
export interface Splitter {
  cut(pieces: readonly Piece[], track: boolean): readonly Piece[];
  /** The same cuts, where they only depend on the piece's text and leave it as it is. */
  readonly scan?: ScanWords;
  /** What then happens to each word by itself, whatever is beside it; nothing if undefined. */
  readonly write?: Normalizer;
}

/** Where in the original unit `index` begins. */
export function startOf({ origin }: Piece, index: number): number {
  if (typeof origin === "number") return origin + index;
  return origin.starts[index] ?? origin.ends[index - 1] ?? 0;
}

/** Where in the original unit `index` ends. */
export function endOf({ origin }: Piece, index: number): number {
  return typeof origin === "number" ? origin + index + 1 : (origin.ends[index] ?? 0);
}

export function slicePiece(piece: Piece, start: number, end: number): Piece {
  if (start === 0 && end === piece.text.length) return piece;
  const { origin } = piece;
  return {
    text: piece.text.slice(start, end),
    origin:
      typeof origin === "number"
        ? origin + start
        : {
            starts: Array.prototype.slice.call(origin.starts, start, end),
            ends: Array.prototype.slice.call(origin.ends, start, end),
          },
  };
}

/** Collects a new text stretch by stretch, with its origins if asked. */
export class PieceBuilder {
  readonly #piece: Piece;
  readonly #track: boolean;
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #text = "";

  constructor(piece: Piece, track: boolean) {
    this.#piece = piece;
    this.#track = track;
  }

  /** Units [start, end) of the old text as they are. */
  keep(start: number, end: number): void {
    this.#text += this.#piece.text.slice(start, end);
    if (!this.#track) return;
    for (let i = start; i < end; i++) {
      this.#starts.push(startOf(this.#piece, i));
      this.#ends.push(endOf(this.#piece, i));
    }
  }

  /** Units [start, end) of the old text, written as `text`. */
  put(text: string, start: number, end: number): void {
    this.#text += text;
    if (!this.#track) return;
    const from = startOf(this.#piece, start);
    const to = end > start ? endOf(this.#piece, end - 1) : from;
    for (let i = 0; i < text.length; i++) {
      this.#starts.push(from);
      this.#ends.push(to);
    }
  }

  build(): Piece {
    if (!this.#track) return { text: this.#text, origin: startOf(this.#piece, 0) };
    return { text: this.#text, origin: { starts: this.#starts, ends: this.#ends } };
  }
}

/** A part of tokenizer.json of a kind that Hone does not know. */
export function unsupported(part: string, component: unknown, place: string): UserError {
  const name = JSON.stringify(component)?.slice(0, 80) ?? "nothing";
  return new UserError(
    `${place}: tokenizer.json cannot be used: its ${part} ${name} is of a kind that Hone does not know.`,
    "Choose a model with a BPE or Unigram tokenizer.",
  );
}

/** `{"String": "a"}` or `{"Regex": "a+"}`, as tokenizer.json writes what to look for. */
export function patternOf(component: JsonObject): { text: string } | { regex: string } | undefined {
  const pattern = component["pattern"];
  if (typeof pattern === "string") return { text: pattern };
  if (typeof pattern !== "object" || pattern === null) return undefined;
  const { String: text, Regex: regex } = pattern as Record<string, unknown>;
  if (typeof text === "string") return { text };
  return typeof regex === "string" ? { regex } : undefined;
}
