// JSON text to checked values. What a file says is parsed here once, or refused with its place.
import { messageOf, UserError } from "../base/error.ts";

export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses `text`, which must be one JSON object. `place` names the file in the error. */
export function parseJsonObject(text: string, place: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(
      `${place} is not JSON: ${messageOf(error)}.`,
      "Download or export the file again.",
      { cause: error },
    );
  }
  if (isJsonObject(value)) return value;
  throw new UserError(
    `${place} holds ${describeJson(value)}, where a JSON object is needed.`,
    "Check that the right file was chosen.",
  );
}

/** What a JSON value is, in words: "a list", "the number 3". */
export function describeJson(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") {
    return `the text ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)}`;
  }
  return typeof value === "number" ? `the number ${value}` : JSON.stringify(value);
}

/**
 * The first key that some object of `text` has twice, or undefined. `JSON.parse` keeps the last of
 * two equal keys and says nothing. `text` must already have passed `JSON.parse`.
 */
export function findDuplicateKey(text: string): string | undefined {
  // One set of seen keys for each open object; null for an open list.
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const end = endOfString(text, i);
      const keys = open.at(-1);
      if (expectsKey && keys) {
        const key = JSON.parse(text.slice(i, end + 1)) as string;
        if (keys.has(key)) return key;
        keys.add(key);
        expectsKey = false;
      }
      i = end;
    } else if (char === "{") {
      open.push(new Set());
      expectsKey = true;
    } else if (char === "[") {
      open.push(null);
      expectsKey = false;
    } else if (char === "}" || char === "]") {
      open.pop();
      expectsKey = false;
    } else if (char === ",") {
      expectsKey = open.at(-1) !== null;
    }
  }
  return undefined;
}

/** The index of the quote that closes the string opened at `start`. */
function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}
