// arXiv's dump of metadata to a data set: the rows of some categories from a date on, as XTuner's
// `preprocess arxiv` keeps and writes them. Rows go through one at a time.
import { UserError } from "../base/error.ts";
import { isJsonObject } from "../formats/json.ts";
import { decodeText, type TextChunks } from "./read.ts";

export interface ArxivOptions {
  /** For errors: the dump's name or path. */
  readonly place: string;
  /** A row is kept where it is in one of these. */
  readonly categories: readonly string[];
  /** First day that is kept, from `readDay`. */
  readonly since: number;
  /** Called for a line that is no JSON, or has not its categories or its day, which is left out. */
  readonly onBroken: (text: string, line: number) => void;
  /** Called for each row that is kept. */
  readonly onKept: () => void;
}

/** A line of the dump is some kilobytes. Anything near this is another kind of file. */
const MAX_LINE_LENGTH = 1 << 26;

/** Text is passed on in pieces of about this many characters. */
const PIECE_LENGTH = 1 << 16;

/** The list of kept rows as JSON, in pieces: what Python's `json.dump` writes for them. */
export async function* filterArxiv(
  chunks: TextChunks,
  options: ArxivOptions,
): AsyncGenerator<string> {
  let piece = "[";
  let separator = "";
  let number = 0;
  for await (const line of linesOf(decodeText(chunks, options.place), options.place)) {
    number++;
    const keeps = isWanted(line, options);
    if (keeps === undefined) options.onBroken(line, number);
    if (keeps !== true) continue;
    options.onKept();
    piece += separator + rewriteJson(line);
    separator = ", ";
    if (piece.length < PIECE_LENGTH) continue;
    yield piece;
    piece = "";
  }
  yield `${piece}]`;
}

/**
 * A day as a number that grows with time, read as `strptime` reads "%Y-%m-%d": "2020-1-5" is one too.
 * Undefined for a text that names no day.
 */
export function readDay(text: string): number | undefined {
  const pattern = /^(\d{4})-(1[0-2]|0[1-9]|[1-9])-(3[01]|[12]\d|0[1-9]|[1-9]| [1-9])$/;
  const [, ...parts] = pattern.exec(text) ?? [];
  const [year = 0, month = 0, day = 0] = parts.map(Number);
  if (year < 1) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  // The 31st of a shorter month has become a day of the next.
  return date.getUTCDate() === day ? date.getTime() : undefined;
}

/** Lines as Python's text files have them: ended by \n, \r\n or \r, which become \n. */
async function* linesOf(texts: AsyncIterable<string>, place: string): AsyncGenerator<string> {
  let rest = "";
  let hasCarriageReturn = false; // at the end of what came last: its \n may be still to come
  for await (const chunk of texts) {
    let text: string = hasCarriageReturn ? `\r${chunk}` : chunk;
    hasCarriageReturn = text.endsWith("\r");
    if (hasCarriageReturn) text = text.slice(0, -1);
    // Joining only what has no line break yet keeps a long line linear.
    if (!/[\r\n]/.test(text)) {
      rest += text;
    } else {
      const lines = (rest + text).split(/\r\n|\r|\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) yield `${line}\n`;
    }
    if (rest.length > MAX_LINE_LENGTH) {
      throw new UserError(
        `A line of ${place} is longer than ${MAX_LINE_LENGTH} characters.`,
        "Name arXiv's metadata dump, which has one JSON object a line.",
      );
    }
  }
  if (hasCarriageReturn) yield `${rest}\n`;
  else if (rest !== "") yield rest;
}

/** Whether the paper of a line is kept; undefined where it is not JSON, or has not what it is chosen by. */
function isWanted(line: string, { categories, since }: ArxivOptions): boolean | undefined {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isJsonObject(row)) return undefined;
  const { categories: own, update_date: date } = row;
  if (typeof own !== "string") return undefined;
  const isOne = (category: string) => category !== "" && categories.includes(category);
  if (!own.split(PYTHON_SPACE).some(isOne)) return false;
  const day = typeof date === "string" ? readDay(date) : undefined;
  return day === undefined ? undefined : day >= since;
}

/** What Python's `str.split` takes for white space: the separators of files, groups, records, units too. */
// oxlint-disable-next-line no-control-regex
const PYTHON_SPACE = /(?:[^\S\ufeff]|[\u001c-\u001f\u0085])+/;

/**
 * JSON with Python's spaces, and ASCII alone. Rewritten from the text, so that keys keep their order and
 * numbers all their digits.
 */
function rewriteJson(json: string): string {
  return json.replaceAll(/"[^"\\]*(?:\\.[^"\\]*)*"|\s+|[,:]/g, (token) => {
    if (token === "," || token === ":") return `${token} `;
    return token.startsWith('"') ? asciiText(token) : "";
  });
}

/** A JSON text as Python writes it: every character that is not printable ASCII as \uXXXX. */
function asciiText(json: string): string {
  if (/^[ -~]*$/.test(json) && !json.includes("\\")) return json;
  const text = JSON.stringify(JSON.parse(json));
  return text.replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
