// The "pre_tokenizer" of tokenizer.json: text cut into the words that the model then sees one by one.
import { isJsonObject, type JsonObject } from "./json.ts";
import { BYTE_CHARS, toByteChars, utf8Byte, utf8Length } from "./tokenizer-bytes.ts";
import {
  endOf,
  type Normalizer,
  patternOf,
  type Piece,
  type ScanWords,
  slicePiece,
  type Splitter,
  startOf,
  unsupported,
} from "./tokenizer-piece.ts";
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
      return sequence(listed.flatMap((item) => createSplitter(item, place) ?? []));
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

/** Each stage after the other. What the last one writes is left to be done word by word. */
function sequence(stages: readonly Splitter[]): Splitter | undefined {
  const [first, second, ...rest] = stages;
  if (!first || !second) return first;
  return sequence([inTurn(first, second), ...rest]);
}

function inTurn(first: Splitter, second: Splitter): Splitter {
  const { write } = first;
  const scan = write ? undefined : scanInTurn(first.scan, second.scan);
  return {
    cut(pieces, track) {
      const words = first.cut(pieces, track);
      return second.cut(write ? words.map((piece) => write(piece, track)) : words, track);
    },
    ...(scan && { scan }),
    ...(second.write && { write: second.write }),
  };
}

function scanInTurn(
  first: ScanWords | undefined,
  second: ScanWords | undefined,
): ScanWords | undefined {
  if (!first || !second) return undefined;
  if (second === scanWhole) return first;
  return (text, found) =>
    first(text, (from, to) =>
      second(text.slice(from, to), (start, end) => found(from + start, from + end)),
    );
}

const scanWhole: ScanWords = (text, found) => {
  if (text !== "") found(0, text.length);
};

/** A stage that leaves texts as they are. */
function splitterOf(scan: ScanWords, write?: Normalizer): Splitter {
  return {
    cut(pieces) {
      const result: Piece[] = [];
      for (const piece of pieces) {
        scan(piece.text, (start, end) => result.push(slicePiece(piece, start, end)));
      }
      return result;
    },
    scan,
    ...(write && { write }),
  };
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
  if (behavior === "Isolated") return splitterOf(createIsolator(regex));
  return splitterOf((text, found) => {
    for (const [start, end] of cut(text, regex, behavior, invert)) {
      if (end > start) found(start, end);
    }
  });
}

/**
 * Matches, and what is between them, as words of their own: what most tokenizers do, and most of the time a
 * match begins where the last one ended. Then no match has to be made into an object.
 */
function createIsolator(regex: RegExp): ScanWords {
  const next = new RegExp(regex.source, regex.flags.replace("g", "y"));
  return (text, found) => {
    let done = 0;
    for (let at = 0; at <= text.length;) {
      next.lastIndex = at;
      if (at === done && next.test(text) && next.lastIndex > at) {
        done = next.lastIndex;
        found(at, done);
        at = done;
        continue;
      }
      regex.lastIndex = at;
      const match = regex.exec(text);
      if (match === null) break;
      if (match.index > done) found(done, match.index);
      done = regex.lastIndex;
      if (done > match.index) found(match.index, done);
      // By a whole character: between the halves of one, the next match would begin here again.
      at = match[0] === "" ? done + ((text.codePointAt(done) ?? 0) > 0xffff ? 2 : 1) : done;
    }
    if (done < text.length) found(done, text.length);
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
  const splitter = split ? splitBy(split, "Isolated") : splitterOf(scanWhole);
  if (!addSpace) return { ...splitter, write: writeBytes };
  return {
    cut: (pieces, track) => splitter.cut(pieces.map(withSpace), track),
    write: writeBytes,
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

/** The word in byte stand-ins. Every byte of a character comes from all of it. */
function writeBytes(piece: Piece, track: boolean): Piece {
  const { text } = piece;
  let written = "";
  let at = 0;
  for (; at < text.length && text.charCodeAt(at) < 0x80; at++) {
    written += BYTE_CHARS[text.charCodeAt(at)];
  }
  if (at === text.length) return { text: written, origin: piece.origin };
  if (!track) return { text: toByteChars(text), origin: startOf(piece, 0) };
  const starts: number[] = [];
  const ends: number[] = [];
  for (let i = 0; i < at; i++) {
    starts.push(startOf(piece, i));
    ends.push(endOf(piece, i));
  }
  while (at < text.length) {
    const point = text.codePointAt(at) as number;
    const next = at + (point > 0xffff ? 2 : 1);
    const length = utf8Length(point);
    for (let i = 0; i < length; i++) {
      written += BYTE_CHARS[utf8Byte(point, length, i)];
      starts.push(startOf(piece, at));
      ends.push(endOf(piece, next - 1));
    }
    at = next;
  }
  return { text: written, origin: { starts, ends } };
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
  const mark = (pieces: readonly Piece[]) =>
    pieces.map((piece) => {
      const text = piece.text.replaceAll(" ", replacement);
      const same = { text, origin: piece.origin };
      const wanted = scheme === "always" || (scheme === "first" && startOf(piece, 0) === 0);
      return wanted && !text.startsWith(replacement) ? prefixed(same, replacement) : same;
    });
  return { cut: (pieces, track) => (split ? split.cut(mark(pieces), track) : mark(pieces)) };
}

/** "always", "first" or "never"; older files say only whether. */
export function prependScheme(component: JsonObject): unknown {
  const scheme = component["prepend_scheme"];
  if (scheme !== undefined) return scheme;
  return component["add_prefix_space"] === false ? "never" : "always";
}
