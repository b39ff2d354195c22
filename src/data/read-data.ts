// A data file to rows, whatever kind of file it is. One row is held at a time, or of Parquet one row group.
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import { type DataKind, dataKind, SNIFFED_BYTES, unpackedName } from "./data-kind.ts";
import { readCsvRows } from "./read-csv.ts";
import { type DataRow, type ReadOptions, readRows, type TextChunks } from "./read.ts";
import { readTextRows } from "./read-text.ts";

/** One file of data. */
export interface DataFile {
  /** For errors and the report: the file's name or path. */
  readonly name: string;
  /** The whole file, in pieces of any size, as UTF-8 or as text. */
  stream(): TextChunks;
  /** Its size, and bytes [start, end) of it: what Parquet, which begins at its end, is read by. */
  readonly bytes?: number;
  readonly read?: (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;
}

/** Reads the rows of a file of any kind. Refuses one without rows, and one that holds none. */
export async function* readDataRows(
  file: DataFile,
  onBrokenRow?: ReadOptions["onBrokenRow"],
): AsyncGenerator<DataRow> {
  const options = { place: file.name, onBrokenRow };
  const { head, chunks, close } = await beginning(file.stream());
  try {
    const kind = dataKind(file.name, head);
    if (kind === "parquet") {
      await close();
      // Its decoders are large, and most data is text.
      const { readParquetRows } = await import("./read-parquet.ts");
      yield* readParquetRows(file);
    } else if (kind === "gzip") {
      const inside = await beginning(unpacked(chunks, file.name));
      const innerKind = dataKind(unpackedName(file.name), inside.head);
      yield* readKind(innerKind, inside.chunks, options);
    } else {
      yield* readKind(kind, chunks, options);
    }
  } finally {
    await close();
  }
}

function readKind(
  kind: DataKind,
  chunks: TextChunks,
  options: ReadOptions,
): AsyncGenerator<DataRow> {
  switch (kind) {
    case "json":
      return readRows(chunks, options);
    case "table":
      return readCsvRows(chunks, options);
    case "text":
      return readTextRows(chunks, options.place);
    default:
      throw new UserError(
        `${options.place} holds ${kind === "gzip" ? "another packed file" : "Parquet, which packs its own columns"}.`,
        "Unpack it and choose the file inside.",
      );
  }
}

interface Begun {
  /** The first bytes. */
  readonly head: Uint8Array;
  /** All of the file. */
  readonly chunks: AsyncGenerator<string | Uint8Array>;
  /** Lets the file go, wherever it was left. */
  readonly close: () => Promise<void>;
}

async function beginning(stream: TextChunks): Promise<Begun> {
  const iterator =
    Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]();
  const first: (string | Uint8Array)[] = [];
  const encoder = new TextEncoder();
  const head = new Uint8Array(SNIFFED_BYTES);
  let length = 0;
  while (length < SNIFFED_BYTES) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    first.push(value);
    // A surrogate takes three bytes at most, so no more characters than bytes are needed.
    const bytes = typeof value === "string" ? encoder.encode(value.slice(0, SNIFFED_BYTES)) : value;
    head.set(bytes.subarray(0, SNIFFED_BYTES - length), length);
    length = Math.min(SNIFFED_BYTES, length + bytes.length);
  }
  const chunks = async function* () {
    yield* first.splice(0);
    for (;;) {
      const { done, value } = await iterator.next();
      if (done === true) return;
      yield value;
    }
  };
  const close = async () => void (await iterator.return?.());
  return { head: head.subarray(0, length), chunks: chunks(), close };
}

/** Text packs to a fifth as a rule, and to a hundredth where it repeats itself. */
const RATIO_LIMIT = 200;
/** What a file of any size may unpack to. */
const FREE_BYTES = 16 << 20;

/** A packed file's content, refused where it grows beyond reason. */
async function* unpacked(
  chunks: AsyncIterable<string | Uint8Array>,
  place: string,
): AsyncGenerator<Uint8Array> {
  let packedBytes = 0;
  let bytes = 0;
  const source = chunks[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = await source.next();
      if (done === true) return controller.close();
      const chunk = typeof value === "string" ? encoder.encode(value) : value;
      packedBytes += chunk.length;
      controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
    },
    cancel: async () => void (await source.return?.(undefined)),
  });
  const reader = packed.pipeThrough(new DecompressionStream("gzip")).getReader();
  try {
    for (;;) {
      const { done, value } = await readPiece(reader, place);
      if (done || value === undefined) return;
      bytes += value.length;
      if (bytes > Math.max(FREE_BYTES, packedBytes * RATIO_LIMIT))
        throw grown(place, packedBytes, bytes);
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // what broke it has been told
  }
}

async function readPiece(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  place: string,
): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
  try {
    return await reader.read();
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(
      `${place} cannot be unpacked: its gzip data is damaged or cut off.`,
      "Download or copy the file again.",
      { cause: error },
    );
  }
}

function grown(place: string, packedBytes: number, bytes: number): UserError {
  return new UserError(
    `${place} unpacks to more than ${formatBytes(bytes)} after ${formatBytes(packedBytes)}, over ${RATIO_LIMIT} times its size.`,
    "Unpack it yourself, and choose the file inside if that is what you expect.",
  );
}
