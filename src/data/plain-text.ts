// Texts for pre-training to examples. A text longer than an example goes on in the next one; none of it is cut
// off. All of it is learned but BOS.
import type { Tokenizer } from "../formats/tokenizer.ts";
import type { EncodedExample } from "./encode.ts";
import { IGNORE_INDEX } from "./pack.ts";

/** Long texts are encoded in pieces of about so many characters, cut where a line ends. */
const PIECE_CHARS = 1 << 14;
/** A line longer than this is cut where it is. */
const LINE_LIMIT_CHARS = 1 << 20;

/**
 * Encodes texts one after the other, each with BOS before it and EOS behind it, into examples of `maxLength`
 * tokens and a shorter last one. A text may come in several calls: `continues` says that there is more of it.
 */
export function createTextEncoder(
  tokenizer: Pick<Tokenizer, "encode" | "bosId" | "eosIds">,
  maxLength: number,
): (text: string, continues: boolean) => Generator<EncodedExample> {
  const cutter = createLineCutter();
  let ids: number[] = [];
  let beginsWithBos = false;
  let isOpen = false;

  const exampleOf = (taken: readonly number[], isEnd: boolean): EncodedExample => {
    const labels = Int32Array.from(taken);
    if (beginsWithBos) labels[0] = IGNORE_INDEX;
    const labelTokens = taken.length - (beginsWithBos ? 1 : 0);
    beginsWithBos = false;
    return {
      inputIds: Uint32Array.from(taken),
      labels,
      truncated: false,
      tokensLost: 0,
      // What goes on in the next example needs no end.
      eosSupervised: !isEnd || tokenizer.eosIds[0] !== undefined,
      labelTokens,
    };
  };
  const takeFull = function* (): Generator<EncodedExample> {
    let from = 0;
    // Two tokens at least are left, since the first of an example is never predicted.
    while (ids.length - from > maxLength + 1) {
      yield exampleOf(ids.slice(from, from + maxLength), false);
      from += maxLength;
    }
    if (from > 0) ids = ids.slice(from);
  };
  return function* (text, continues) {
    for (const piece of cutter(text, continues)) {
      if (!isOpen && tokenizer.bosId !== undefined) {
        ids.push(tokenizer.bosId);
        beginsWithBos = true;
      }
      isOpen = true;
      for (const id of tokenizer.encode(piece)) ids.push(id);
      yield* takeFull();
    }
    if (continues || !isOpen) return;
    isOpen = false;
    const [eosId] = tokenizer.eosIds;
    if (eosId !== undefined) ids.push(eosId);
    yield* takeFull();
    const whole = ids.length <= maxLength ? ids.length : maxLength - 1;
    if (whole < ids.length) yield exampleOf(ids.slice(0, whole), false);
    yield exampleOf(ids.slice(whole < ids.length ? whole : 0), true);
    ids = [];
  };
}

/** Cuts texts into pieces behind line ends, so that no token of a tokenizer that knows lines is cut. */
function createLineCutter(): (text: string, continues: boolean) => Generator<string> {
  let rest = "";
  return function* (text, continues) {
    rest += text;
    let from = 0;
    while (rest.length - from > PIECE_CHARS) {
      const cut = cutAfter(rest, from);
      if (cut === undefined) break;
      yield rest.slice(from, cut);
      from = cut;
    }
    rest = rest.slice(from);
    if (continues || rest === "") return;
    yield rest;
    rest = "";
  };
}

/** Where a piece that begins at `from` ends: before the first line with text in it past PIECE_CHARS. */
function cutAfter(text: string, from: number): number | undefined {
  const newline = text.indexOf("\n", from + PIECE_CHARS);
  if (newline === -1 || newline - from > LINE_LIMIT_CHARS) {
    if (text.length - from <= LINE_LIMIT_CHARS) return undefined;
    const end = from + LINE_LIMIT_CHARS;
    // Not between the halves of a character.
    return (text.charCodeAt(end) & 0xfc00) === 0xdc00 ? end - 1 : end;
  }
  let end = newline + 1;
  const last = Math.min(text.length, from + LINE_LIMIT_CHARS);
  while (end < last && (text[end] === "\n" || text[end] === "\r")) end++;
  // Blank lines may go on in what has not come yet.
  return end < text.length ? end : undefined;
}
