// The "normalizer" of tokenizer.json: what happens to text before it is cut.
// Each does what Rust's tokenizers 0.23 does, down to its version of Unicode.
import { isJsonObject, type JsonObject } from "./json.ts";
import {
  type Normalizer,
  patternOf,
  type Piece,
  PieceBuilder,
  slicePiece,
  startOf,
  unsupported,
} from "./tokenizer-piece.ts";
import { escapeRegex, translateRegex } from "./tokenizer-regex.ts";

/** Undefined where text stays as it is. */
export function createNormalizer(component: unknown, place: string): Normalizer | undefined {
  if (component === null || component === undefined) return undefined;
  if (!isJsonObject(component)) throw unsupported("normalizer", component, place);
  switch (component["type"]) {
    case "Sequence":
      return sequence(component, place);
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return normalizeUnicode(component["type"]);
    case "Replace":
      return replace(component, place);
    case "Prepend":
      return prepend(stringOf(component, "prepend"));
    case "Lowercase":
      return mapCharacters((char) => char.toLowerCase());
    case "StripAccents":
      return mapCharacters((char) => (/\p{M}/u.test(char) ? "" : char));
    case "Strip":
      return strip(component["strip_left"] === true, component["strip_right"] === true);
    default:
      throw unsupported("normalizer", component, place);
  }
}

function sequence(component: JsonObject, place: string): Normalizer {
  const listed = component["normalizers"];
  if (!Array.isArray(listed)) throw unsupported("normalizer", component, place);
  const stages = listed.flatMap((item) => createNormalizer(item, place) ?? []);
  return (piece, track) => {
    let result = piece;
    for (const stage of stages) result = stage(result, track);
    return result;
  };
}

function stringOf(component: JsonObject, key: string): string {
  const value = component[key];
  return typeof value === "string" ? value : "";
}

/**
 * Characters that Rust's unicode-normalization knows nothing of, for they came after Unicode 9 or so: they
 * neither compose nor reorder there. Those that would here, and the first halves of their compositions.
 */
const UNKNOWN_TO_RUST = new RegExp(
  String.raw`([\u{7fd}\u{897}-\u{89f}\u{8ca}-\u{8d3}\u{9fe}\u{c3c}\u{d3b}-\u{d3c}\u{eba}\u{1715}\u{1abf}-\u{1add}\u{1ae0}-\u{1aeb}\u{1df6}-\u{1dfa}\u{a82c}\u{105c9}\u{105d2}\u{105da}\u{105e4}\u{10d24}-\u{10d27}\u{10d69}-\u{10d6d}\u{10eab}-\u{10eac}\u{10efa}-\u{10efb}\u{10efd}-\u{10eff}\u{10f46}-\u{10f50}\u{10f82}-\u{10f85}\u{11070}\u{1133b}\u{11382}-\u{11385}\u{1138b}\u{1138e}\u{11390}-\u{11391}\u{113c2}\u{113c5}\u{113c7}-\u{113c8}\u{113ce}-\u{113d0}\u{1145e}\u{11839}-\u{1183a}\u{11935}\u{11938}\u{1193d}-\u{1193e}\u{11943}\u{119e0}\u{11a34}\u{11a47}\u{11a99}\u{11d42}\u{11d44}-\u{11d45}\u{11d97}\u{11f41}-\u{11f42}\u{1611e}\u{16121}-\u{16129}\u{1612f}\u{16d63}\u{16d67}-\u{16d6a}\u{16ff0}-\u{16ff1}\u{1e08f}\u{1e130}-\u{1e136}\u{1e2ae}\u{1e2ec}-\u{1e2ef}\u{1e4ec}-\u{1e4ef}\u{1e5ee}-\u{1e5ef}\u{1e6e3}\u{1e6e6}\u{1e6ee}-\u{1e6ef}\u{1e6f5}])`,
  "u",
);

/** A character with what may combine with it: marks and the later parts of Hangul syllables. */
const CLUSTER = /[^][\p{M}\u1160-\u11ff]*/gu;

function normalizeUnicode(form: "NFC" | "NFD" | "NFKC" | "NFKD"): Normalizer {
  const write = (text: string): string =>
    UNKNOWN_TO_RUST.test(text)
      ? text
          .split(UNKNOWN_TO_RUST)
          .map((part, i) => (i % 2 === 1 ? part : part.normalize(form)))
          .join("")
      : text.normalize(form);
  return (piece, track) => {
    if (isAscii(piece.text)) return piece;
    const text = write(piece.text);
    if (text === piece.text) return piece;
    if (!track) return { text, origin: startOf(piece, 0) };
    const builder = new PieceBuilder(piece, true);
    for (const { 0: cluster, index } of piece.text.matchAll(CLUSTER)) {
      builder.put(write(cluster), index, index + cluster.length);
    }
    const built = builder.build();
    if (built.text === text) return built;
    const whole = new PieceBuilder(piece, true);
    whole.put(text, 0, piece.text.length);
    return whole.build();
  };
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

function replace(component: JsonObject, place: string): Normalizer {
  const pattern = patternOf(component);
  const content = component["content"];
  if (pattern === undefined || typeof content !== "string") {
    throw unsupported("normalizer", component, place);
  }
  // One unit for another, such as "▁" for " ", moves nothing.
  if ("text" in pattern && pattern.text.length === 1 && content.length === 1) {
    return ({ text, origin }) => ({ text: text.replaceAll(pattern.text, content), origin });
  }
  const regex =
    "text" in pattern ? new RegExp(escapeRegex(pattern.text), "gv") : translateRegex(pattern.regex);
  return (piece, track) => rewrite(piece, regex, () => content, track);
}

function rewrite(
  piece: Piece,
  regex: RegExp,
  write: (match: string) => string,
  track: boolean,
): Piece {
  const builder = new PieceBuilder(piece, track);
  let done = 0;
  let isFound = false;
  for (const { 0: match, index } of piece.text.matchAll(regex)) {
    isFound = true;
    builder.keep(done, index);
    done = index + match.length;
    builder.put(write(match), index, done);
  }
  if (!isFound) return piece;
  builder.keep(done, piece.text.length);
  return builder.build();
}

function prepend(content: string): Normalizer {
  return (piece, track) => {
    if (piece.text === "") return piece;
    const builder = new PieceBuilder(piece, track);
    // As in Rust, what is put before the first character counts as made from it.
    const first = String.fromCodePoint(piece.text.codePointAt(0) ?? 0).length;
    builder.put(content, 0, first);
    builder.keep(0, piece.text.length);
    return builder.build();
  };
}

/** Character by character, without looking at its neighbors: Rust's lowercase of Σ is always σ. */
function mapCharacters(write: (char: string) => string): Normalizer {
  return (piece, track) => rewrite(piece, /[^]/gu, write, track);
}

function strip(left: boolean, right: boolean): Normalizer {
  const space = String.raw`[\t-\r\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]`;
  const isOne = new RegExp(`^${space}$`);
  return (piece) => {
    const { text } = piece;
    let start = 0;
    let end = text.length;
    while (left && start < end && isOne.test(text[start] ?? "")) start++;
    while (right && end > start && isOne.test(text[end - 1] ?? "")) end--;
    return slicePiece(piece, start, end);
  };
}
