// JSON lists and JSONL to rows, from a stream of text or bytes.
// One row is held at a time. Each knows its number and line, so that every later fault can be found.
import { messageOf, UserError } from "../base/error.ts";

export interface DataRow {
  value: unknown;
  /** Counted from 1. */
  row: number;
  /** Line of the file where the row begins, counted from 1. */
  line: number;
}

export interface ReadOptions {
  /** The file's name, for errors. */
  place: string;
  /** Called for a row that cannot be read, which is then left out. Without it, the first one ends the read. */
  onBrokenRow?: ((fault: UserError, at: Pick<DataRow, "row" | "line">) => void) | undefined;
}

/** A whole file, in pieces of any size, as text or as UTF-8. */
export type TextChunks = AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>;

/** Text of one row, and where it is. */
interface RowText {
  text: string;
  line: number;
}

const FORMS = "Use a JSON list, or one JSON object a line.";

/**
 * Reads rows. A file that begins with `[` is one JSON list; any other holds one value a line, and
 * blank lines count for nothing. Refuses a file without rows.
 */
export async function* readRows(chunks: TextChunks, options: ReadOptions): AsyncGenerator<DataRow> {
  const { place } = options;
  let splitter: RowSplitter | undefined;
  let row = 0;
  let line = 1;

  const parse = function* (texts: Iterable<RowText>): Generator<DataRow> {
    for (const text of texts) {
      row++;
      const value = parseRow(text, row, options);
      if (value !== BROKEN) yield { value, row, line: text.line };
    }
  };
  for await (const chunk of decodeText(chunks, place)) {
    let text = chunk;
    if (splitter === undefined) {
      text = chunk.trimStart();
      line += countNewlines(chunk.slice(0, chunk.length - text.length));
      if (text === "") continue;
      splitter = text.startsWith("[") ? createListSplitter(place, line) : createLineSplitter(line);
    }
    yield* parse(splitter.push(text));
  }
  if (splitter !== undefined) yield* parse(splitter.end());
  if (row === 0)
    throw new UserError(`${place} holds no rows.`, `Choose a file with data in it. ${FORMS}`);
}

/** Bytes to text, without the byte order mark. */
export async function* decodeText(chunks: TextChunks, place: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (bytes?: Uint8Array) => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch (error) {
      throw new UserError(
        `${place} is not UTF-8 text.`,
        "Save the file as UTF-8 and choose it again.",
        { cause: error },
      );
    }
  };
  let isFirst = true;
  for await (const chunk of chunks) {
    if (typeof chunk !== "string") {
      yield decode(chunk);
    } else if (chunk !== "") {
      yield isFirst && chunk.startsWith("\uFEFF") ? chunk.slice(1) : chunk;
      isFirst = false;
    }
  }
  yield decode();
}

const BROKEN = Symbol("broken");

function parseRow({ text, line }: RowText, row: number, options: ReadOptions): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const fault = explainBroken(text, line, row, error, options.place);
    if (options.onBrokenRow === undefined) throw fault;
    options.onBrokenRow(fault, { row, line });
    return BROKEN;
  }
}

function explainBroken(
  text: string,
  line: number,
  row: number,
  error: unknown,
  place: string,
): UserError {
  const position = Number(/position (\d+)/.exec(messageOf(error))?.[1] ?? 0);
  const faultLine = line + countNewlines(text.slice(0, position));
  const from = Math.max(0, position - 30);
  const excerpt = text
    .slice(from, from + 60)
    .replaceAll(/\s+/g, " ")
    .trim();
  const dots = from > 0 ? "…" : "";
  return new UserError(
    `${place}, line ${faultLine} (row ${row}) is not JSON: ${dots}${excerpt}${from + 60 < text.length ? "…" : ""}`,
    `Correct that line. ${FORMS}`,
    { cause: error },
  );
}

/** Cuts a file's text into the texts of its rows. */
interface RowSplitter {
  push(chunk: string): Iterable<RowText>;
  end(): Iterable<RowText>;
}

function createLineSplitter(firstLine: number): RowSplitter {
  let rest = "";
  let line = firstLine;
  return {
    *push(chunk) {
      // Joining only what has no newline yet keeps a long line linear.
      if (!chunk.includes("\n")) {
        rest += chunk;
        return;
      }
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) {
        if (text.trim() !== "") yield { text, line };
        line++;
      }
    },
    *end() {
      if (rest.trim() !== "") yield { text: rest, line };
    },
  };
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const NEWLINE = 0x0a;

/**
 * Cuts a JSON list into its elements by following brackets and strings only; whether an element is
 * JSON is seen when it is parsed, so the text is scanned once and parsed once.
 */
function createListSplitter(place: string, firstLine: number): RowSplitter {
  let depth = 0; // 1 is inside the list, outside its elements' brackets
  let isOpened = false;
  let inString = false;
  let escaped = false;
  let line = firstLine;
  let pieces: string[] = []; // of the element that earlier chunks began
  let elementLine = line;
  let rows = 0;

  const finish = (piece: string): RowText | undefined => {
    const raw = pieces.length === 0 ? piece : pieces.join("") + piece;
    pieces = [];
    const trimmed = raw.trimStart();
    const text = trimmed.trimEnd();
    const start = elementLine + countNewlines(raw.slice(0, raw.length - trimmed.length));
    return text === "" ? undefined : { text, line: start };
  };
  const refuse = (fact: string, remedy: string) =>
    new UserError(`${place}, line ${line}: ${fact}.`, remedy);

  const take = (element: RowText | undefined): RowText => {
    if (element === undefined) {
      throw refuse(
        `no value stands before the comma or bracket after row ${rows}`,
        "Remove that comma.",
      );
    }
    rows++;
    return element;
  };
  const scan = function* (chunk: string): Generator<RowText> {
    let start = 0; // of the current element within this chunk
    for (let i = 0; i < chunk.length; i++) {
      const code = chunk.charCodeAt(i);
      if (code === NEWLINE) line++;
      if (inString) {
        if (escaped) escaped = false;
        else if (code === BACKSLASH) escaped = true;
        else if (code === QUOTE) inString = false;
        continue;
      }
      if (depth === 0 && isOpened && code > 0x20) {
        throw refuse(`text follows the end of the list`, "Keep one JSON list in the file.");
      }
      if (code === QUOTE) inString = true;
      else if (code === OPEN_OBJECT || code === OPEN_LIST) {
        if (depth++ === 0) start = i + 1;
        isOpened = true;
      } else if (code === COMMA && depth === 1) {
        yield take(finish(chunk.slice(start, i)));
        start = i + 1;
        elementLine = line;
      } else if (code === CLOSE_OBJECT || code === CLOSE_LIST) {
        if (--depth === 0) {
          const last = finish(chunk.slice(start, i));
          if (last !== undefined || rows > 0) yield take(last);
        }
      }
    }
    if (depth > 0) pieces.push(chunk.slice(start));
  };
  return {
    push: scan,
    end() {
      if (depth === 0) return [];
      throw refuse(
        `the file ends inside row ${rows + 1}; the list is never closed`,
        "Export or copy the file again: its end is missing.",
      );
    },
  };
}

function countNewlines(text: string): number {
  let count = 0;
  for (let i = text.indexOf("\n"); i !== -1; i = text.indexOf("\n", i + 1)) count++;
  return count;
}
