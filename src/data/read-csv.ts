// Tables (CSV, TSV) to rows: one object a record, with the names of the first record as keys.
// RFC 4180, read with good will: a quote inside a field is a letter, text after a closing quote too.
import { UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import { type DataRow, decodeText, type ReadOptions, type TextChunks } from "./read.ts";

interface TableRecord {
  fields: string[];
  line: number;
  /** False where the text ends inside quotes. */
  isClosed: boolean;
}

const DELIMITERS = [",", "\t", ";", "|"] as const;

/** Text looked at to find the delimiter. */
const SAMPLE_CHARS = 1 << 16;
const SAMPLE_RECORDS = 20;

// Beyond these it is no table, or a quote was never closed.
const COLUMN_LIMIT = 1000;
const RECORD_LIMIT_CHARS = 1 << 25;

/** Reads rows of a table; the delimiter is found from its beginning. Refuses one without rows or names. */
export async function* readCsvRows(
  chunks: TextChunks,
  options: ReadOptions,
): AsyncGenerator<DataRow> {
  const { place } = options;
  let columns: readonly string[] | undefined;
  let row = 0;
  for await (const record of readRecords(chunks, place)) {
    if (columns === undefined) {
      columns = readColumns(record, place);
      continue;
    }
    row++;
    const fault = faultOf(record, columns, row, place);
    if (fault === undefined) {
      const entries = record.fields.map((text, i) => [columns?.[i] ?? "", text] as const);
      yield { value: Object.fromEntries(entries), row, line: record.line };
    } else if (options.onBrokenRow === undefined) throw fault;
    else options.onBrokenRow(fault, { row, line: record.line });
  }
  if (row === 0) {
    throw new UserError(
      `${place} holds no rows${columns === undefined ? "" : " below its column names"}.`,
      "Choose a file with data in it.",
    );
  }
}

async function* readRecords(chunks: TextChunks, place: string): AsyncGenerator<TableRecord> {
  let splitter: RecordSplitter | undefined;
  let sample = "";
  for await (const chunk of decodeText(chunks, place)) {
    if (splitter !== undefined) {
      yield* splitter.push(chunk);
      continue;
    }
    sample += chunk;
    if (sample.length < SAMPLE_CHARS) continue;
    splitter = createRecordSplitter(findDelimiter(sample), place);
    yield* splitter.push(sample);
  }
  if (splitter === undefined) {
    splitter = createRecordSplitter(findDelimiter(sample), place);
    yield* splitter.push(sample);
  }
  yield* splitter.end();
}

/** Whether some delimiter cuts most of the first records, two at least, into as many fields, below names. */
export function looksLikeTable(sample: string): boolean {
  const { records, share, names } = bestDelimiter(`${sample}\n`);
  return records > 1 && share >= LEAST_SHARE && names.every(looksLikeName);
}

/** A part of a sentence is longer, or ends with a mark. */
function looksLikeName(field: string): boolean {
  return field.length <= 40 && !/[.!?…。！？]\s*$/.test(field);
}

/** Below this, commas are punctuation. */
const LEAST_SHARE = 0.75;

/** The delimiter that cuts most of the first records into as many fields as the first; "," if none does. */
function findDelimiter(sample: string): string {
  return bestDelimiter(sample).delimiter;
}

/** How many of the first records have as many fields as the first, which are the names of a table's columns. */
interface Cutting {
  readonly delimiter: string;
  readonly share: number;
  readonly records: number;
  readonly names: readonly string[];
}

function bestDelimiter(sample: string): Cutting {
  const text = sample.slice(0, SAMPLE_CHARS);
  let best: Cutting & { score: number } = {
    delimiter: ",",
    score: 0,
    share: 0,
    records: 0,
    names: [],
  };
  for (const delimiter of DELIMITERS) {
    const counts: number[] = [];
    let names: readonly string[] = [];
    for (const { fields } of createRecordSplitter(delimiter, "").push(text, true)) {
      if (counts.length === 0) names = fields;
      counts.push(fields.length);
      if (counts.length === SAMPLE_RECORDS) break;
    }
    const wanted = counts[0] ?? 1;
    const share = counts.filter((count) => count === wanted).length / counts.length;
    // Ties go to the delimiter with more columns, then to the commoner one.
    const score = wanted < 2 ? 0 : share + Math.min(wanted, COLUMN_LIMIT) / (100 * COLUMN_LIMIT);
    if (score > best.score) best = { delimiter, score, share, records: counts.length, names };
  }
  return best;
}

/** The names of the columns; one without a name is called by its number. */
function readColumns({ fields, line }: TableRecord, place: string): string[] {
  const names = fields.map((field, i) => field.trim() || `column ${i + 1}`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new UserError(
      `${place}, line ${line}: two columns are named "${clip(twice)}".`,
      "Give each column a name of its own in the first line.",
    );
  }
  return names;
}

function faultOf(
  { fields, line, isClosed }: TableRecord,
  columns: readonly string[],
  row: number,
  place: string,
): UserError | undefined {
  const where = `${place}, row ${row} (line ${line})`;
  if (!isClosed) {
    return new UserError(
      `${where}: the file ends inside quotes.`,
      `Close the quotes that open after line ${line - 1}.`,
    );
  }
  if (fields.length === columns.length) return undefined;
  return new UserError(
    `${where}: it has ${formatCount(fields.length)} fields, where the first line names ${formatCount(columns.length)} columns.`,
    "Put quotes around fields that hold a delimiter or a line end.",
  );
}

const QUOTE = 0x22;
const NEWLINE = 0x0a;
const RETURN = 0x0d;

interface RecordSplitter {
  /** With `isSample`, sizes are not checked. */
  push(chunk: string, isSample?: boolean): Iterable<TableRecord>;
  end(): Iterable<TableRecord>;
}

/** Cuts text into records. Blank lines count for nothing. */
function createRecordSplitter(delimiter: string, place: string): RecordSplitter {
  const separator = delimiter.charCodeAt(0);
  const record = new RecordUnderWay(place);
  /** At a field's start, in a plain one, inside quotes, or just after a quote that may have closed them. */
  let state: "start" | "plain" | "quoted" | "closed" = "start";
  let line = 1;
  let wasReturn = false;
  return {
    *push(chunk, isSample = false) {
      let from = 0; // of the field under way, within this chunk
      for (let i = 0; i < chunk.length; i++) {
        const code = chunk.charCodeAt(i);
        const isSecondOfPair = code === NEWLINE && wasReturn;
        wasReturn = code === RETURN && state !== "quoted";
        if (code === NEWLINE && !isSecondOfPair) line++;
        if (state === "quoted") {
          if (code !== QUOTE) continue;
          record.field += chunk.slice(from, i);
          state = "closed";
        } else if (state === "closed" && code === QUOTE) {
          record.field += '"';
          from = i + 1;
          state = "quoted";
        } else if (state === "start" && code === QUOTE) {
          from = i + 1;
          state = "quoted";
        } else if (isSecondOfPair) {
          from = i + 1;
          record.line = line;
        } else if (code === separator || code === NEWLINE || code === RETURN) {
          record.endField(state === "plain" ? chunk.slice(from, i) : "");
          state = "start";
          from = i + 1;
          if (code === RETURN) line++;
          if (code !== separator) yield* record.end(line);
          else if (!isSample) record.checkSize();
        } else if (state !== "plain") {
          from = i;
          state = "plain";
        }
      }
      if (state === "plain" || state === "quoted") record.field += chunk.slice(from);
      record.chars += chunk.length - Math.min(from, chunk.length);
      if (!isSample) record.checkSize();
    },
    *end() {
      if (state === "start" && record.isEmpty) return;
      record.endField("");
      yield* record.end(line, state !== "quoted");
    },
  };
}

/** The record that is being read, which may have begun in an earlier piece of the text. */
class RecordUnderWay {
  /** What earlier pieces began of a field. */
  field = "";
  chars = 0;
  line = 1;
  #fields: string[] = [];
  readonly #place: string;

  constructor(place: string) {
    this.#place = place;
  }

  get isEmpty(): boolean {
    return this.#fields.length === 0 && this.field === "";
  }

  endField(piece: string): void {
    this.#fields.push(this.field + piece);
    this.field = "";
  }

  /** The record, unless its line is blank; the next one begins at `nextLine`. */
  *end(nextLine: number, isClosed = true): Generator<TableRecord> {
    const record = { fields: this.#fields, line: this.line, isClosed };
    const isBlank = record.fields.length === 1 && record.fields[0] === "" && isClosed;
    this.#fields = [];
    this.chars = 0;
    this.line = nextLine;
    if (!isBlank) yield record;
  }

  checkSize(): void {
    const hasManyFields = this.#fields.length > COLUMN_LIMIT;
    if (!hasManyFields && this.chars <= RECORD_LIMIT_CHARS) return;
    const fact = hasManyFields
      ? `has more than ${formatCount(COLUMN_LIMIT)} columns`
      : `is longer than ${formatCount(RECORD_LIMIT_CHARS)} characters`;
    throw new UserError(
      `${this.#place}, line ${this.line}: the record that begins there ${fact}.`,
      "Check the delimiter, and whether a quote is never closed.",
    );
  }
}

function clip(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
