// Data sets in the origin's private files: taken in once, then read a few rows at a time.
//
//   data/<id>/data.jsonl    rows that can be trained on, one a line: what the engine reads
//             source.jsonl  all rows of a set whose columns somebody must name, each with its place
//             issues.jsonl  what is wrong with which row
//             index.json    where lines begin, and which rows are left out
//             data.json     the record, written last: a folder without it is nobody's
//             next/         what another choice of columns makes of it, until all of that is written
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { type DataRow, readRows } from "../data/read.ts";
import { isJsonObject } from "../formats/json.ts";
import type { ColumnMapping, DataIssue, StoredData } from "./api.ts";
import { broadcast } from "./broadcast.ts";
import { mappedForm, type RowForm } from "./data-forms.ts";
import { createIntake, type Intake, type SourceRow } from "./data-intake.ts";
import { createLineWriter, type LineIndex } from "./data-lines.ts";
import { dataLock, dataRecordLock, takeLock, withLock } from "./locks.ts";
import {
  checkId,
  DATA_FILE,
  DATA_INDEX,
  DATA_RECORD,
  entryFolder,
  entryIds,
  halfWritten,
  makeUniqueId,
  readRecord,
  shelfFolder,
  writeRecord,
} from "./storage.ts";

const SOURCE_FILE = "source.jsonl";
export const ISSUES_FILE = "issues.jsonl";
const NEXT = "next";

/** What `index.json` holds. */
export interface DataIndex {
  /** Of data.jsonl, or of source.jsonl while there is no other. */
  readonly data: LineIndex;
  readonly issues: LineIndex;
  /** The row of each issue. */
  readonly issueRows: readonly number[];
  /** Rows without a line in data.jsonl. */
  readonly leftOut: readonly number[];
}

/** Rows on their way in. Faults of single rows go to `intake`; others are thrown. */
export type RowSource = (intake: Intake) => AsyncIterable<DataRow> | Iterable<DataRow>;

/** The newest first. */
export async function listData(): Promise<readonly StoredData[]> {
  const records: StoredData[] = [];
  for (const id of await entryIds("data")) {
    const record = await findData(id).catch(() => undefined);
    if (record) records.push(record);
  }
  return records.toSorted((a, b) => (a.addedAt < b.addedAt ? 1 : -1));
}

export async function findData(id: string): Promise<StoredData | undefined> {
  const record = await readRecord(await entryFolder("data", id), DATA_RECORD);
  return isStoredData(record, id) ? record : undefined;
}

export async function readData(id: string): Promise<StoredData> {
  const record = await findData(id);
  if (record) return record;
  throw new UserError(
    `There is no data set "${id}" in this browser's storage.`,
    "Choose one of the list; it may have been deleted in another tab.",
  );
}

export interface NewData {
  readonly name: string;
  /** Where it may not be just any. */
  readonly id?: string;
  readonly rows: RowSource;
}

/** Takes a data set in. One that cannot be used, or that is canceled, leaves nothing behind. */
export async function addData({
  name,
  rows,
  id = makeUniqueId(name),
}: NewData): Promise<StoredData> {
  checkId(id);
  return withLock(dataLock(id), async () => {
    const known = await findData(id);
    if (known) return known; // taken in by another tab, meanwhile
    const folder = await entryFolder("data", id);
    try {
      const called = cleanName(name);
      const { record } = await writeRows(folder, rows, called);
      const stored = {
        ...record,
        id,
        name: called,
        addedAt: new Date().toISOString(),
        mapping: null,
      };
      await writeRecord(folder, DATA_RECORD, stored);
      tellChanged();
      return stored;
    } catch (error) {
      // The first failure is the one to tell; what could not be removed goes at the next start.
      await (await shelfFolder("data")).remove(id).catch(() => {});
      throw error;
    }
  });
}

/** Makes a data set of the columns that somebody named; may be done again with others, unless a run reads it. */
export async function mapData(id: string, mapping: ColumnMapping): Promise<StoredData> {
  return whileUnused(id, "choose its columns", async () => {
    const before = await readData(id);
    const folder = await entryFolder("data", id);
    if ((await folder.size(SOURCE_FILE)) === undefined) {
      throw new UserError(
        `${before.name} is read as ${before.format ?? "nothing"}, so it needs no columns.`,
        "Use it as it is.",
      );
    }
    const wanted = [mapping.input, mapping.output, mapping.system ?? mapping.input];
    const unknown = wanted.find((column) => !before.columns.includes(column));
    if (unknown !== undefined) {
      throw new UserError(
        `${before.name} has no column "${unknown}".`,
        `Choose among: ${before.columns.join(", ")}.`,
      );
    }
    const rows: RowSource = (intake) => sourceRows(folder, intake, before.name);
    await folder.remove(NEXT);
    try {
      const next = folder.folder(NEXT);
      const { record } = await writeRows(next, rows, before.name, mappedForm(mapping));
      const { name, columns, addedAt } = before;
      const stored = { ...record, id, name, addedAt, columns, mapping };
      await writeRecord(next, DATA_RECORD, stored);
      await replace(folder);
      return stored;
    } finally {
      await folder.remove(NEXT).catch(() => {}); // else it goes at the next start
      tellChanged();
    }
  });
}

/** Puts what was written anew in its place. A tab that is closed meanwhile leaves no index. */
async function replace(folder: Folder): Promise<void> {
  await folder.remove(DATA_INDEX);
  for (const name of [DATA_FILE, ISSUES_FILE, DATA_RECORD, DATA_INDEX]) {
    await folder.rename(`${NEXT}/${name}`, name);
  }
}

export async function renameData(id: string, name: string): Promise<StoredData> {
  return withLock(dataRecordLock(id), async () => {
    const stored = { ...(await readData(id)), name: cleanName(name) };
    await writeRecord(await entryFolder("data", id), DATA_RECORD, stored);
    tellChanged();
    return stored;
  });
}

export async function deleteData(id: string): Promise<void> {
  checkId(id);
  await whileUnused(id, "delete it", async () => {
    // The record first: a folder without one goes at the next start.
    await (await entryFolder("data", id)).remove(DATA_RECORD);
    await (await shelfFolder("data")).remove(id);
  });
  tellChanged();
}

/** Changes a data set after whoever changes it now. Refused in words while a run reads it. */
async function whileUnused<T>(id: string, what: string, action: () => Promise<T>): Promise<T> {
  return withLock(dataRecordLock(id), async () => {
    const release = await takeLock(dataLock(id), { ifAvailable: true });
    if (!release) {
      const name = (await findData(id))?.name ?? id;
      throw new UserError(
        `${name} is in use: a run or a measurement in one of Hone's tabs reads it.`,
        `Stop that first, then ${what}.`,
      );
    }
    try {
      return await action();
    } finally {
      release();
    }
  });
}

/** Removes what is left of imports and mappings that were cut off with their tab. */
export async function cleanData(): Promise<void> {
  for (const id of await entryIds("data")) {
    // A lock that is taken only to look would refuse somebody else's change.
    if ((await leftOver(id)).length === 0) continue;
    const release = await takeLock(dataLock(id), { ifAvailable: true });
    if (!release) continue;
    try {
      const shelf = await shelfFolder("data");
      for (const path of await leftOver(id)) await shelf.remove(path);
    } finally {
      release();
    }
  }
}

/** Paths on the shelf that are nobody's, of one entry. */
async function leftOver(id: string): Promise<readonly string[]> {
  const names = await (await entryFolder("data", id)).list();
  if (!names.includes(DATA_RECORD)) return [id];
  return names.includes(NEXT) ? [`${id}/${NEXT}`] : [];
}

export async function readIndex(folder: Folder, record: StoredData): Promise<DataIndex> {
  const index = (await readRecord(folder, DATA_INDEX)) as DataIndex | undefined;
  const size = await folder.size(rowsFile(record));
  if (index !== undefined && index.data.bytes === size) return index;
  throw halfWritten(record.name, record.mapping !== null || record.format === null);
}

/** The file that the index is of. */
export function rowsFile(record: StoredData): string {
  return record.format === null ? SOURCE_FILE : DATA_FILE;
}

const isLeftOut = ({ kind }: DataIssue) => kind === "broken" || kind === "format";

type Counted = Omit<StoredData, "id" | "name" | "addedAt" | "mapping">;

/** Writes all files of a data set but its record. */
async function writeRows(
  folder: Folder,
  rows: RowSource,
  place: string,
  form?: RowForm,
): Promise<{ record: Counted }> {
  const intake = createIntake(place, form);
  const data = createLineWriter();
  await folder.write(DATA_FILE, linesOf(rows(intake), intake, data));
  const { issues, ...counts } = intake.report();
  if (counts.format === null) await folder.rename(DATA_FILE, SOURCE_FILE);

  const notes = createLineWriter();
  await folder.write(ISSUES_FILE, chunksOf(issues, notes));
  const index: DataIndex = {
    data: data.index(),
    issues: notes.index(),
    issueRows: issues.map(({ row }) => row),
    leftOut: counts.format === null ? [] : issues.filter(isLeftOut).map(({ row }) => row),
  };
  await folder.write(DATA_INDEX, JSON.stringify(index));
  return { record: { ...counts, bytes: index.data.bytes, issueCount: issues.length } };
}

async function* linesOf(
  rows: AsyncIterable<DataRow> | Iterable<DataRow>,
  intake: Intake,
  writer: ReturnType<typeof createLineWriter>,
): AsyncGenerator<Uint8Array> {
  const pause = createPause();
  const drain = function* () {
    for (const line of intake.drain()) {
      const chunk = writer.add(line);
      if (chunk) yield chunk;
    }
  };
  for await (const row of rows) {
    intake.take(row);
    yield* drain();
    await pause();
  }
  intake.end();
  yield* drain();
  yield writer.end();
}

async function* chunksOf(
  values: readonly unknown[],
  writer: ReturnType<typeof createLineWriter>,
): AsyncGenerator<Uint8Array> {
  for (const value of values) {
    const chunk = writer.add(JSON.stringify(value));
    if (chunk) yield chunk;
  }
  yield writer.end();
}

const BUSY_MS = 30;

/** Lets other calls be answered, once a stretch of work has become long. */
export function createPause(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < BUSY_MS) return undefined;
    return new Promise((resolve) => {
      setTimeout(() => {
        since = performance.now();
        resolve();
      });
    });
  };
}

async function* sourceRows(folder: Folder, intake: Intake, place: string): AsyncGenerator<DataRow> {
  for await (const { value } of readRows(folder.stream(SOURCE_FILE), { place })) {
    const source = value as SourceRow;
    if (source.fault === undefined) {
      yield { value: source.value, row: source.row, line: source.line };
    } else {
      intake.noteBroken(new UserError(source.fault, "Correct that row."), source, source.kind);
    }
  }
}

const NAME_CHARACTERS = 120;

/** A name on one line, without what cannot be seen. */
function cleanName(name: string): string {
  const seen = name.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim();
  return Array.from(seen).slice(0, NAME_CHARACTERS).join("") || "Untitled";
}

function isStoredData(record: unknown, id: string): record is StoredData {
  return isJsonObject(record) && record["id"] === id && typeof record["rows"] === "number";
}

function tellChanged(): void {
  broadcast({ type: "changed", what: "data" });
}
