// What SentencePiece does to a text before it cuts it into pieces: rules of replacement, whitespace, and
// the dummy space. User-defined symbols pass unchanged.
import { UserError } from "../base/error.ts";
import type { PieceTrie } from "./piece-trie.ts";
import type { SentencePieceModel } from "./sentencepiece.ts";
import { utf8Byte, utf8Length } from "./tokenizer-bytes.ts";
import { type Piece, PieceBuilder, slicePiece } from "./tokenizer-piece.ts";

const SPACE = "\u2581"; // ▁

export interface NormalizeOptions {
  /** Adds the dummy space of a model that has one. */
  readonly addPrefix: boolean;
  /** Asks for exact origins of every unit, which cost time. */
  readonly track: boolean;
}

export type NormalizeText = (text: string, options: NormalizeOptions) => Piece;

/** `symbols` holds the user-defined ones. `place` names the model's file in errors. */
export function createNormalizer(
  model: SentencePieceModel,
  symbols: PieceTrie | undefined,
  place: string,
): NormalizeText {
  const { removeExtraWhitespaces, whitespaceAsSuffix } = model;
  const charsmap = model.charsmap.length > 0 ? new Charsmap(model.charsmap, place) : undefined;
  const space = model.escapeWhitespaces ? SPACE : " ";
  const changesNothing = charsmap === undefined && !removeExtraWhitespaces && !whitespaceAsSuffix;
  const escape = (text: string) => (space === " " ? text : text.replaceAll(" ", space));

  return (text, { addPrefix, track }) => {
    const dummy = model.addDummyPrefix && addPrefix ? space : "";
    if (text === "") return { text, origin: 0 };
    if (changesNothing) return { text: dummy + escape(text), origin: -dummy.length };
    const builder = new PieceBuilder({ text, origin: 0 }, track);
    if (!whitespaceAsSuffix) builder.put(dummy, 0, 0);
    if (!replace(text, charsmap, symbols, removeExtraWhitespaces, builder)) {
      return { text: "", origin: 0 };
    }
    const built = builder.build();
    const piece = { text: escape(built.text), origin: built.origin };
    const kept = removeExtraWhitespaces ? withoutEnd(piece, space) : piece;
    return whitespaceAsSuffix ? withSuffix(kept, dummy, text.length, track) : kept;
  };
}

/** Writes the replaced text. False where it is nothing but white space to be removed. */
function replace(
  text: string,
  charsmap: Charsmap | undefined,
  symbols: PieceTrie | undefined,
  removeExtraWhitespaces: boolean,
  builder: PieceBuilder,
): boolean {
  let kept = 0; // text from here on is unchanged and not yet written
  let at = 0;
  let isLeading = removeExtraWhitespaces;
  let afterSpace = removeExtraWhitespaces;
  while (at < text.length) {
    const start = at;
    let fresh: string | undefined; // undefined where the text stays as it is
    const symbolEnd = symbols?.longestEnd(text, start) ?? start;
    if (symbolEnd > start) {
      at = symbolEnd;
    } else {
      const rule = charsmap?.longestRule(text, start);
      fresh = rule?.text;
      at = rule?.end ?? start + ((text.codePointAt(start) as number) > 0xffff ? 2 : 1);
    }
    if (removeExtraWhitespaces) {
      const now = fresh ?? text.slice(start, at);
      if (now !== " ") isLeading = false;
      if (afterSpace && now.startsWith(" ")) fresh = now.replace(/^ +/, "");
      // A replacement by nothing leaves the state as it was.
      const left = fresh ?? now;
      if (left !== "") afterSpace = left.endsWith(" ");
    }
    if (fresh === undefined) continue;
    builder.keep(kept, start);
    builder.put(fresh, start, at);
    kept = at;
  }
  builder.keep(kept, text.length);
  return !isLeading;
}

function withoutEnd(piece: Piece, space: string): Piece {
  let length = piece.text.length;
  while (length > 0 && piece.text[length - 1] === space) length--;
  return slicePiece(piece, 0, length);
}

function withSuffix(piece: Piece, suffix: string, end: number, track: boolean): Piece {
  const builder = new PieceBuilder(piece, track);
  builder.keep(0, piece.text.length);
  const { text, origin } = builder.build();
  if (typeof origin === "number") return { text: text + suffix, origin };
  const ends = Array.from(suffix, () => end);
  return {
    text: text + suffix,
    origin: {
      starts: [...Array.from(origin.starts), ...ends],
      ends: [...Array.from(origin.ends), ...ends],
    },
  };
}

/**
 * The compiled rules: a double-array trie over UTF-8 bytes (darts-clone's layout) whose values are
 * offsets into a block of texts that end in NUL.
 */
class Charsmap {
  readonly #units: Uint32Array;
  readonly #texts: Uint8Array;
  readonly #decoded = new Map<number, string>();

  constructor(bytes: Uint8Array, place: string) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const trieBytes = bytes.length > 4 ? view.getUint32(0, true) : 0;
    if (trieBytes < 1024 || trieBytes % 1024 !== 0 || 4 + trieBytes >= bytes.length) {
      throw new UserError(
        `${place}: its normalization rules take ${bytes.length} bytes, of which ${trieBytes} are said to be their index.`,
        "Download or copy the model's tokenizer file again.",
      );
    }
    this.#units = new Uint32Array(trieBytes / 4);
    for (let i = 0; i < this.#units.length; i++) this.#units[i] = view.getUint32(4 + 4 * i, true);
    this.#texts = bytes.subarray(4 + trieBytes);
  }

  /** The longest rule for what is at `start`, with where its left side ends. */
  longestRule(text: string, start: number): { text: string; end: number } | undefined {
    let value = -1;
    let end = start;
    let node = 0; // the root
    for (let at = start; at < text.length && node >= 0;) {
      const point = text.codePointAt(at) as number;
      at += point > 0xffff ? 2 : 1;
      const bytes = utf8Length(point);
      for (let i = 0; i < bytes && node >= 0; i++) {
        node = this.#child(node, utf8Byte(point, bytes, i));
      }
      const leaf = node >= 0 ? this.#leafOf(node) : -1;
      if (leaf >= 0) {
        value = leaf;
        end = at;
      }
    }
    return value < 0 || value >= this.#texts.length
      ? undefined
      : { text: this.#textAt(value), end };
  }

  /** The unit that `byte` leads to, or −1. */
  #child(node: number, byte: number): number {
    const next = (node ^ this.#offsetOf(node) ^ byte) >>> 0;
    const unit = this.#units[next];
    // A label is the low byte; the top bit marks a value.
    return unit !== undefined && (unit & 0x800000ff) >>> 0 === byte ? next : -1;
  }

  #offsetOf(node: number): number {
    const unit = this.#units[node] as number;
    return (unit >>> 10) << ((unit & 0x200) >>> 6);
  }

  #leafOf(node: number): number {
    const unit = this.#units[node] as number;
    if ((unit & 0x100) === 0) return -1;
    const value = this.#units[(node ^ this.#offsetOf(node)) >>> 0];
    return value === undefined ? -1 : value & 0x7fffffff; // the top bit marks it
  }

  #textAt(offset: number): string {
    let text = this.#decoded.get(offset);
    if (text === undefined) {
      let end = offset;
      while (end < this.#texts.length && this.#texts[end] !== 0) end++;
      text = new TextDecoder().decode(this.#texts.subarray(offset, end));
      this.#decoded.set(offset, text);
    }
    return text;
  }
}
