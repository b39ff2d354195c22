// The "pre_tokenizer" of tokenizer.json: text cut into the words that the model then sees one by one.

import { isJsonObject } from "./json.ts";
import type { JsonObject } from "./json.ts";
import { BYTE_CHARS, toByteChars } from "./tokenizer-bytes.ts";
import { patternOf, slicePiece, startOf, endOf, unsupported } from "./tokenizer-piece.ts";
import type { Piece, Splitter } from "./tokenizer-piece.ts";
import { escapeRegex, translateRegex } from "./tokenizer-regex.ts";

/** What to do with a match: cut it out, leave it alone, or join it to what is beside it. */
type Behavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

const BEHAVIORS: ReadonlySet<string> = new Set<Behavior>([
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
]);

/** GPT-2's own pattern, which a ByteLevel stage uses unless told not to. */
const GPT2_PATTERN = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

/** Undefined where text is not cut. */
export function createSplitter(component: unknown, place: string): Splitter | undefined {
  if (component === null || component === undefined) return undefined;
  if (!isJsonObject(component)) throw unsupported("pre-tokenizer", component, place);
  switch (component["type"]) {
    case "Sequence": {
      const listed = component["pretokenizers"];
      if (!Array.isArray(listed)) throw unsupported("pre-tokenizer", component, place);
      const stages = listed.flatMap((item) => createSplitter(item, place) ?? []);
      return (pieces, track) => {
        let result = pieces;
        for (const stage of stages) result = stage(result, track);
        return result;
      };
    }
    case "Split":
      return createSplit(component, place);
    case "ByteLevel":
      return createByteLevel(component);
    case "Metaspace":
      return createMetaspace(component, place);
    case "Digits":
      return splitBy(
        /\p{N}/gu,
        component["individual_digits"] === true ? "Isolated" : "Contiguous",
      );
    case "Whitespace":
      return splitBy(translateRegex(String.raw`\w+|[^\w\s]+`), "Removed", true);
    case "WhitespaceSplit":
      return splitBy(translateRegex(String.raw`\s`), "Removed");
    default:
      throw unsupported("pre-tokenizer", component, place);
  }
}

function createSplit(component: JsonObject, place: string): Splitter {
  const pattern = patternOf(component);
  const { behavior } = component;
  if (pattern === undefined || typeof behavior !== "string" || !BEHAVIORS.has(behavior)) {
    throw unsupported("pre-tokenizer", component, place);
  }
  const regex =
    "text" in pattern ? new RegExp(escapeRegex(pattern.text), "gv") : translateRegex(pattern.regex);
  return splitBy(regex, behavior as Behavior, component["invert"] === true);
}

function splitBy(regex: RegExp, behavior: Behavior, invert = false): Splitter {
  return (pieces) => {
    const result: Piece[] = [];
    for (const piece of pieces) {
      for (const [start, end] of cut(piece.text, regex, behavior, invert)) {
        if (end > start) result.push(slicePiece(piece, start, end));
      }
    }
    return result;
  };
}

type Cut = [start: number, end: number];

/** Where the words are. */
function cut(text: string, regex: RegExp, behavior: Behavior, invert: boolean): Cut[] {
  const cuts: Cut[] = [];
  let previousMatch = false;
  const add = (start: number, end: number, found: boolean) => {
    const isMatch = found !== invert;
    const last = cuts.at(-1);
    const joins =
      last !== undefined &&
      ((behavior === "Contiguous" && isMatch === previousMatch) ||
        (behavior === "MergedWithPrevious" && isMatch && !previousMatch) ||
        // The mirror image: a match takes in the text after it, unless a match follows.
        (behavior === "MergedWithNext" && !isMatch && previousMatch));
    if (joins) last[1] = end;
    else if (behavior !== "Removed" || !isMatch) cuts.push([start, end]);
    previousMatch = isMatch;
  };
  let done = 0;
  regex.lastIndex = 0;
  for (let match = regex.exec(text); match !== null; match = regex.exec(text)) {
    const end = regex.lastIndex;
    if (match.index > done) add(done, match.index, false);
    add(match.index, end, true);
    done = end;
    // By a whole character: between the halves of one, the next match would begin here again.
    if (match[0] === "") regex.lastIndex += (text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1;
  }
  if (done < text.length) add(done, text.length, false);
  return cuts;
}

function createByteLevel(component: JsonObject): Splitter {
  const split = component["use_regex"] === false ? undefined : translateRegex(GPT2_PATTERN);
  const addSpace = component["add_prefix_space"] === true;
  const splitter = split && splitBy(split, "Isolated");
  return (pieces, track) => {
    const spaced = addSpace ? pieces.map(withSpace) : pieces;
    const words = splitter ? splitter(spaced, track) : spaced;
    return words.map((word) => writeBytes(word, track));
  };
}

function withSpace(piece: Piece): Piece {
  return piece.text.startsWith(" ") ? piece : prefixed(piece, " ");
}

/** With `prefix` before it, which counts as made from the first character. */
function prefixed(piece: Piece, prefix: string): Piece {
  const first = String.fromCodePoint(piece.text.codePointAt(0) ?? 0).length;
  const starts = [startOf(piece, 0)];
  const ends = [endOf(piece, first - 1)];
  for (let i = 0; i < piece.text.length; i++) {
    starts.push(startOf(piece, i));
    ends.push(endOf(piece, i));
  }
  return { text: prefix + piece.text, origin: { starts, ends } };
}

const encoder = new TextEncoder();

/** The word in byte stand-ins. Every byte of a character comes from all of it. */
function writeBytes(piece: Piece, track: boolean): Piece {
  const { text } = piece;
  let result = "";
  let sameLength = true;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) {
      sameLength = false;
      break;
    }
    result += BYTE_CHARS[unit];
  }
  if (sameLength) return { text: result, origin: piece.origin };
  if (!track) return { text: toByteChars(text), origin: startOf(piece, 0) };
  result = "";
  const starts: number[] = [];
  const ends: number[] = [];
  let at = 0;
  for (const char of text) {
    for (const byte of encoder.encode(char)) {
      result += BYTE_CHARS[byte];
      starts.push(startOf(piece, at));
      ends.push(endOf(piece, at + char.length - 1));
    }
    at += char.length;
  }
  return { text: result, origin: { starts, ends } };
}

function createMetaspace(component: JsonObject, place: string): Splitter {
  const { replacement } = component;
  if (typeof replacement !== "string" || replacement.length !== 1) {
    throw unsupported("pre-tokenizer", component, place);
  }
  const scheme = prependScheme(component);
  const split =
    component["split"] === false
      ? undefined
      : splitBy(new RegExp(escapeRegex(replacement), "gv"), "MergedWithNext");
  return (pieces, track) => {
    const marked = pieces.map((piece) => {
      const text = piece.text.replaceAll(" ", replacement);
      const same = { text, origin: piece.origin };
      const wanted = scheme === "always" || (scheme === "first" && startOf(piece, 0) === 0);
      return wanted && !text.startsWith(replacement) ? prefixed(same, replacement) : same;
    });
    return split ? split(marked, track) : marked;
  };
}

/** "always", "first" or "never"; older files say only whether. */
export function prependScheme(component: JsonObject): unknown {
  const scheme = component["prepend_scheme"];
  if (scheme !== undefined) return scheme;
  return component["add_prefix_space"] === false ? "never" : "always";
}
