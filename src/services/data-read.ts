// Reading what is stored of a data set: rows for the table, issues, single rows, the file.
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import type { Conversation } from "../data/conversation.ts";
import { DATASET_FORMATS, mapRow } from "../data/formats.ts";
import { opfsFile } from "../hosts/opfs.ts";
import type { DataIssue, ShownMessage, StoredData, TableRow } from "./api.ts";
import { fieldsOf, messagesOf } from "./data-forms.ts";
import type { SourceRow } from "./data-intake.ts";
import { countUpTo, readLines } from "./data-lines.ts";
import { type DataIndex, ISSUES_FILE, readData, readIndex, rowsFile } from "./data-store.ts";
import { DATA_FILE, DATA_INDEX, entryFolder, notMapped } from "./storage.ts";

interface OpenData {
  readonly folder: Folder;
  readonly record: StoredData;
  readonly index: DataIndex;
}

/** The index of the set that was read last, since a table asks for one page after the other. */
let last: { key: string; index: DataIndex } | undefined;

async function openData(id: string): Promise<OpenData> {
  const record = await readData(id);
  const folder = await entryFolder("data", id);
  const key = JSON.stringify({ ...record, name: "", indexBytes: await folder.size(DATA_INDEX) });
  if (last?.key !== key) last = { key, index: await readIndex(folder, record) };
  return { folder, record, index: last.index };
}

/** Rows [start, start + count) for the table, counted from 0. */
export async function tableRows(id: string, start: number, count: number): Promise<TableRow[]> {
  const open = await openData(id);
  const end = Math.min(start + count, open.record.rows);
  if (start >= end) return [];
  const texts = await issueTexts(open, start + 1, end);
  const stored = await storedRows(open, start, end);
  return Array.from({ length: end - start }, (_, i) => {
    const row = start + i + 1;
    const issue = texts.get(row);
    const told = issue === undefined ? {} : { issue };
    const value = stored[i];
    if (value === undefined) return { row, messages: [], ...told };
    if (open.record.format === null) {
      const fields = fieldsOf(value, open.record.columns).map(clipField);
      return { row, messages: [], fields, ...told };
    }
    const conversation = conversationOf(open.record, value, row);
    return { row, messages: messagesOf(conversation).slice(0, SHOWN_MESSAGES).map(clip), ...told };
  });
}

/** One row, counted from 0, as a conversation. Throws the fault of one that is left out. */
export async function readConversation(id: string, at: number): Promise<Conversation> {
  const open = await openData(id);
  const [value] = await storedRows(open, at, at + 1);
  if (value !== undefined && open.record.format !== null) {
    return conversationOf(open.record, value, at + 1);
  }
  const fault = (await issueTexts(open, at + 1, at + 1)).get(at + 1);
  throw new UserError(
    `Row ${at + 1} of ${open.record.name} is left out: ${fault ?? "it has no mapping yet"}.`,
    "Look at another row, or correct the file and add it again.",
  );
}

export async function readIssues(id: string, start: number, count: number): Promise<DataIssue[]> {
  const { folder, index } = await openData(id);
  const lines = await readLines(folder, ISSUES_FILE, index.issues, start, start + count);
  return lines.map((line) => JSON.parse(line) as DataIssue);
}

/** The rows that are trained on, in a file that the command line reads too. */
export async function dataFile(id: string): Promise<File> {
  const record = await readData(id);
  if (record.format !== null) return opfsFile(await entryFolder("data", id), DATA_FILE);
  throw notMapped(record.name);
}

/** Stored values of rows [start, end), counted from 0; undefined for those left out. */
async function storedRows(
  { folder, record, index }: OpenData,
  start: number,
  end: number,
): Promise<unknown[]> {
  const leftOutBefore = countUpTo(index.leftOut, start);
  const leftOut = new Set(index.leftOut.slice(leftOutBefore, countUpTo(index.leftOut, end)));
  const from = start - leftOutBefore;
  const to = from + (end - start) - leftOut.size;
  const lines = await readLines(folder, rowsFile(record), index.data, from, to);
  let used = 0;
  return Array.from({ length: end - start }, (_, i) => {
    if (leftOut.has(start + i + 1)) return undefined;
    const value: unknown = JSON.parse(lines[used++] ?? "null");
    return record.format === null ? (value as SourceRow).value : value;
  });
}

/** The faults of rows from `first` to `last`, counted from 1; the first one of each. */
async function issueTexts(
  { folder, index }: OpenData,
  first: number,
  final: number,
): Promise<Map<number, string>> {
  const from = countUpTo(index.issueRows, first - 1);
  const to = countUpTo(index.issueRows, final);
  const lines = await readLines(folder, ISSUES_FILE, index.issues, from, to);
  const issues = lines.map((line) => JSON.parse(line) as DataIssue);
  return new Map(issues.map(({ row, message }) => [row, message]));
}

function conversationOf({ format, name }: StoredData, value: unknown, row: number): Conversation {
  // What the engine does not know by name was stored as messages.
  const known = DATASET_FORMATS.find((own) => own === format) ?? "openai";
  return mapRow(known, { value, row, line: row }, name);
}

// A table shows the beginning of a row; a row may be as long as it likes.
const SHOWN_MESSAGES = 24;
const SHOWN_CHARACTERS = 2000;

function clip({ role, content }: ShownMessage): ShownMessage {
  return { role, content: clipText(content) };
}

function clipField([column, text]: readonly [string, string]): readonly [string, string] {
  return [clipText(column), clipText(text)];
}

function clipText(text: string): string {
  return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
}
