// Parquet to rows, one row group at a time, as the same values that JSON would hold.
// What the file says of its sizes is held against its bytes before anything is decoded: see parquet-column.ts.
import {
  type FileMetaData,
  parquetMetadata,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from "hyparquet";
import { assembleAsync } from "hyparquet/src/rowgroup.js";
import { getTreePath } from "hyparquet/src/schema.js";
import { messageOf, UserError } from "../base/error.ts";
import { formatBytes, formatCount } from "../base/format.ts";
import { DamagedParquet, within } from "./parquet-checks.ts";
import {
  COLUMN_LIMIT_BYTES,
  type ParquetColumn,
  readColumnPages,
  VALUES_LIMIT,
} from "./parquet-column.ts";
import { plainValue } from "./parquet-values.ts";
import type { DataFile } from "./read-data.ts";
import type { DataRow } from "./read.ts";

const AGAIN = "Download or copy the file again, or export it as JSONL.";

/** The file's description of itself, at its end. */
const FOOTER_LIMIT_BYTES = 64 << 20;
const SCHEMA_LIMIT = 2000;
const DEPTH_LIMIT = 24;
/** Of a row group, unpacked: what is held at once. */
const GROUP_LIMIT_BYTES = 2 ** 30;
/** Of a file that can only be read from front to back. */
const WHOLE_LIMIT_BYTES = 2 ** 29;

/** A file that can be read anywhere. */
interface OpenFile {
  readonly place: string;
  readonly bytes: number;
  readonly read: (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Reads rows; a row's line is its number. Refuses a file without rows, a damaged one, and one too large. */
export async function* readParquetRows(file: DataFile): AsyncGenerator<DataRow> {
  const opened = await openFile(file);
  const { place } = opened;
  const metadata = await readMetadata(opened);
  const schema = explained(place, "its schema", () => readSchema(metadata));
  let row = 0;
  for (const [i, group] of metadata.row_groups.entries()) {
    const where = `row group ${i + 1} of ${metadata.row_groups.length}`;
    const columns = await readGroup(opened, group, schema, where);
    const count = Number(group.num_rows);
    for (let at = 0; at < count; at++) {
      row++;
      const entries = columns.map(({ name, values }) => {
        const said = () => `${place}, row ${row}, column "${name}"`;
        return [name, plainValue(values[at], said)] as const;
      });
      yield { value: Object.fromEntries(entries), row, line: row };
    }
  }
  if (row === 0) throw new UserError(`${place} holds no rows.`, "Choose a file with data in it.");
}

/** The file, held whole where it can only be read from front to back. */
async function openFile(file: DataFile): Promise<OpenFile> {
  const { name: place, bytes, read } = file;
  if (bytes !== undefined && read !== undefined) return { place, bytes, read };
  const encoder = new TextEncoder();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of file.stream()) {
    const piece = typeof chunk === "string" ? encoder.encode(chunk) : chunk;
    length += piece.length;
    if (length > WHOLE_LIMIT_BYTES) {
      throw new UserError(
        `${place} is larger than ${formatBytes(WHOLE_LIMIT_BYTES)}, and Parquet cannot be read from front to back.`,
        "Save the file on the disk and name it there.",
      );
    }
    chunks.push(piece);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return { place, bytes: length, read: async (start, end) => whole.slice(start, end) };
}

const MAGIC_BYTES = 4;

async function readMetadata({ place, bytes, read }: OpenFile): Promise<FileMetaData> {
  const cut = (fact: string) => new UserError(`${place} is no whole Parquet file: ${fact}.`, AGAIN);
  // Magic, at least a byte, the footer's length, magic.
  if (bytes < 2 * MAGIC_BYTES + 5) throw cut(`it has ${bytes} bytes`);
  const tail = await read(bytes - 8, bytes);
  if (String.fromCharCode(...tail.subarray(4)) !== "PAR1") throw cut("it does not end with PAR1");
  const length = new DataView(tail.buffer, tail.byteOffset, 8).getUint32(0, true);
  if (length > bytes - 12) throw cut(`its footer of ${length} bytes is longer than the file`);
  if (length > FOOTER_LIMIT_BYTES) {
    throw cut(
      `its footer has ${formatBytes(length)}, the limit is ${formatBytes(FOOTER_LIMIT_BYTES)}`,
    );
  }
  const footer = await read(bytes - 8 - length, bytes);
  // Statistics are not asked for, and their bytes are whatever they are.
  return explained(place, "its footer", () => {
    const parsers = { stringFromBytes: () => "", dateFromDays: () => new Date(0) };
    return parquetMetadata(footer, { geoparquet: false, parsers });
  });
}

function readSchema(metadata: FileMetaData): SchemaTree {
  within(metadata.schema.length, SCHEMA_LIMIT, "its columns");
  const tree = parquetSchema(metadata);
  const check = (node: SchemaTree, depth: number): void => {
    within(depth, DEPTH_LIMIT, "the depth of its columns");
    const type = node.element.logical_type?.type;
    if (type === "VARIANT" || type === "GEOMETRY" || type === "GEOGRAPHY") {
      throw new DamagedParquet(`has a column of the type ${type}, which is not known here`);
    }
    for (const child of node.children) check(child, depth + 1);
  };
  check(tree, 0);
  return tree;
}

interface GroupColumn {
  readonly name: string;
  /** One for each row. */
  readonly values: ArrayLike<unknown>;
}

/** All columns of a row group, nested ones put together. */
async function readGroup(
  { place, bytes, read }: OpenFile,
  group: RowGroup,
  schema: SchemaTree,
  where: string,
): Promise<GroupColumn[]> {
  const rows = explained(place, where, () => {
    const sizes = group.columns.map(({ meta_data: data }) => Number(data?.total_uncompressed_size));
    refuseLarge(
      sizes.reduce((sum, size) => sum + size, 0),
      Number(group.num_rows),
      place,
      where,
    );
    return within(Number(group.num_rows), VALUES_LIMIT, "its rows");
  });
  const asyncColumns: Parameters<typeof assembleAsync>[0]["asyncColumns"] = [];
  for (const { meta_data: metadata, file_path: elsewhere } of group.columns) {
    if (!metadata || elsewhere) {
      throw new UserError(
        `${place} has ${elsewhere ? `columns in another file, ${elsewhere}` : "a column without a description"}.`,
        "Export it as one file of its own.",
      );
    }
    const what = `${where}, column ${metadata.path_in_schema.join(".")}`;
    const [start, end] = explained(place, what, () => rangeOf(metadata, bytes));
    const chunk = await read(start, end);
    const pathInSchema = metadata.path_in_schema;
    const data = explained(place, what, () => {
      const schemaPath = getTreePath(schema, pathInSchema);
      return readColumnPages(chunk, { metadata, schemaPath });
    });
    asyncColumns.push({ pathInSchema, data: Promise.resolve({ data, skipped: 0 }) });
  }
  const assembled = explained(place, where, () =>
    assembleAsync({ groupStart: 0, groupRows: rows, asyncColumns }, schema),
  );
  const columns: GroupColumn[] = [];
  for (const { pathInSchema, data } of assembled.asyncColumns) {
    const name = pathInSchema[0] ?? "";
    const chunks = await data.then(
      (pages) => pages.data,
      (error: unknown) => {
        throw damaged(place, `${where}, column ${name}`, error);
      },
    );
    const values = chunks.length === 1 ? chunks[0] : chunks.flatMap((chunk) => Array.from(chunk));
    if (values?.length !== rows && rows > 0) {
      const fact = new DamagedParquet(`has ${values?.length ?? 0} values for ${rows} rows`);
      throw damaged(place, `${where}, column ${name}`, fact);
    }
    columns.push({ name, values: values ?? [] });
  }
  return columns;
}

function refuseLarge(bytes: number, rows: number, place: string, where: string): void {
  if (!(bytes > GROUP_LIMIT_BYTES || rows > VALUES_LIMIT)) return;
  throw new UserError(
    `${place}: ${where} has ${formatCount(rows)} rows of ${formatBytes(bytes)} together, and is read whole; the limits are ${formatCount(VALUES_LIMIT)} and ${formatBytes(GROUP_LIMIT_BYTES)}.`,
    "Write it with smaller row groups (row_group_size=10000), or export it as JSONL.",
  );
}

/** Where a column's pages are in the file. */
function rangeOf(metadata: ParquetColumn["metadata"], bytes: number): [number, number] {
  const first = Number(metadata.data_page_offset);
  const dictionary = Number(metadata.dictionary_page_offset ?? 0);
  const start = within(
    dictionary > 0 ? Math.min(first, dictionary) : first,
    bytes,
    "where it begins",
  );
  const size = within(Number(metadata.total_compressed_size), bytes - start, "its bytes");
  within(Number(metadata.total_uncompressed_size), COLUMN_LIMIT_BYTES, "its unpacked bytes");
  within(Number(metadata.num_values), VALUES_LIMIT, "its values");
  return [start, start + size];
}

/** Whatever a damaged file makes a decoder throw, as a fact about the file. */
function explained<T>(place: string, what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof UserError ? error : damaged(place, what, error);
  }
}

function damaged(place: string, what: string, error: unknown): UserError {
  const fact =
    error instanceof DamagedParquet ? error.message : `cannot be decoded: ${messageOf(error)}`;
  return new UserError(`${place} is damaged or of a kind not known here: ${what} ${fact}.`, AGAIN, {
    cause: error,
  });
}
