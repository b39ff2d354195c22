// The "decoder" of tokenizer.json: tokens back to text.
import { isJsonObject, type JsonObject } from "./json.ts";
import { byteOfFallback, bytesOfToken } from "./tokenizer-bytes.ts";
import { patternOf, unsupported } from "./tokenizer-piece.ts";
import { escapeRegex, translateRegex } from "./tokenizer-regex.ts";
import { prependScheme } from "./tokenizer-splitters.ts";

type Stage = (tokens: string[]) => string[];

export interface TokenDecoder {
  decode(tokens: string[]): string;
  /** Whether a run of byte tokens is read as one, so that its text is known only at its end. */
  readonly readsByteRuns: boolean;
}

export function createDecoder(component: unknown, place: string): TokenDecoder {
  // Without a decoder Rust writes the tokens with spaces between them.
  if (component === null || component === undefined) {
    return { decode: (tokens) => tokens.join(" "), readsByteRuns: false };
  }
  const stage = createStage(component, place);
  return {
    decode: (tokens) => stage(tokens).join(""),
    readsByteRuns: JSON.stringify(component).includes('"ByteFallback"'),
  };
}

function createStage(component: unknown, place: string): Stage {
  if (!isJsonObject(component)) throw unsupported("decoder", component, place);
  switch (component["type"]) {
    case "Sequence": {
      const listed = component["decoders"];
      if (!Array.isArray(listed)) throw unsupported("decoder", component, place);
      const stages = listed.map((item) => createStage(item, place));
      return (tokens) => stages.reduce((result, stage) => stage(result), tokens);
    }
    case "ByteLevel":
      return readBytes;
    case "ByteFallback":
      return readByteRuns;
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "Replace":
      return createReplace(component, place);
    case "Strip":
      return createStrip(component);
    case "Metaspace":
      return createMetaspace(component);
    default:
      throw unsupported("decoder", component, place);
  }
}

/** All tokens' bytes as one text. U+FEFF is text too, and each broken sequence is one U+FFFD. */
const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

function readBytes(tokens: string[]): string[] {
  const bytes: number[] = [];
  for (const token of tokens) {
    const own = bytesOfToken(token);
    for (let i = 0; i < own.length; i++) bytes.push(own[i] ?? 0);
  }
  return [lossy.decode(Uint8Array.from(bytes))];
}

/** A run of "<0xE4>" tokens is UTF-8 as a whole, or else one U+FFFD for each. */
function readByteRuns(tokens: string[]): string[] {
  const result: string[] = [];
  let run: number[] = [];
  const flush = () => {
    if (run.length === 0) return;
    try {
      result.push(strict.decode(Uint8Array.from(run)));
    } catch {
      result.push("\uFFFD".repeat(run.length));
    }
    run = [];
  };
  for (const token of tokens) {
    const byte = byteOfFallback(token);
    if (byte !== undefined) {
      run.push(byte);
      continue;
    }
    flush();
    result.push(token);
  }
  flush();
  return result;
}

function createReplace(component: JsonObject, place: string): Stage {
  const pattern = patternOf(component);
  const content = component["content"];
  if (pattern === undefined || typeof content !== "string") {
    throw unsupported("decoder", component, place);
  }
  const regex =
    "text" in pattern ? new RegExp(escapeRegex(pattern.text), "gv") : translateRegex(pattern.regex);
  return (tokens) => tokens.map((token) => token.replaceAll(regex, () => content));
}

/** Takes up to so many of a character from either end of each token. */
function createStrip(component: JsonObject): Stage {
  const { content } = component;
  const count = (key: string) => (typeof component[key] === "number" ? component[key] : 0);
  const start = count("start");
  const stop = count("stop");
  return (tokens) =>
    tokens.map((token) => {
      const chars = Array.from(token);
      let from = 0;
      while (from < start && chars[from] === content) from++;
      let to = chars.length;
      while (chars.length - to < stop && to > 0 && chars[to - 1] === content) to--;
      return chars.slice(from, Math.max(from, to)).join("");
    });
}

function createMetaspace(component: JsonObject): Stage {
  const replacement = String(component["replacement"]);
  const dropsFirst = prependScheme(component) !== "never";
  return (tokens) =>
    tokens.map((token, i) => token.replaceAll(replacement, i === 0 && dropsFirst ? "" : " "));
}
