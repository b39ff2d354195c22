// A reader of stored ZIP archives: what the central directory lists, and each entry's bytes.
//
// Written from PKWARE's APPNOTE 6.3.10, to judge what client-zip wrote. The archive is never held in memory.
import { UserError } from "../base/error.ts";

export interface ZipEntry {
  readonly name: string;
  readonly crc: number;
  readonly bytes: number;
  /** Where its local header begins. */
  readonly offset: number;
}

const LOCAL_HEADER = { signature: 0x04034b50, bytes: 30 };
const CENTRAL_HEADER = { signature: 0x02014b50, bytes: 46 };
const END = { signature: 0x06054b50, bytes: 22 };
const END_64_LOCATOR = { signature: 0x07064b50, bytes: 20 };
const END_64 = { signature: 0x06064b50, bytes: 56 };
const EXTRA_64 = 0x0001;
const STORED = 0;
/** Says that the number stands in a 64-bit field elsewhere. */
const ELSEWHERE = 0xffffffff;

const CHUNK_BYTES = 1 << 22;

/** The central directory, in its order. Archives with a comment are none of ours. */
export async function readZipEntries(zip: Blob, place: string): Promise<ZipEntry[]> {
  const { start, end, count } = await findDirectory(zip, place);
  const directory = await view(zip, start, end);
  const entries: ZipEntry[] = [];
  let at = 0;
  while (at < directory.byteLength) {
    if (directory.byteLength - at < CENTRAL_HEADER.bytes) throw broken(place, start + at);
    if (directory.getUint32(at, true) !== CENTRAL_HEADER.signature) throw broken(place, start + at);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      directory.getUint16(at + field, true),
    ) as [number, number, number];
    const next = at + CENTRAL_HEADER.bytes + nameBytes + extraBytes + commentBytes;
    if (next > directory.byteLength) throw broken(place, start + at);
    entries.push(
      readEntry(directory, at, { nameBytes, extraBytes, place: `${place}, byte ${start + at}` }),
    );
    at = next;
  }
  if (entries.length !== count) throw broken(place, start);
  return entries;
}

/** The bytes of an entry, after a look at its local header. */
export async function* readZipEntry(
  zip: Blob,
  { name, bytes, offset }: ZipEntry,
  place: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const header = await view(zip, offset, offset + LOCAL_HEADER.bytes);
  if (header.byteLength < LOCAL_HEADER.bytes) throw broken(place, offset);
  if (header.getUint32(0, true) !== LOCAL_HEADER.signature) throw broken(place, offset);
  const nameAt = offset + LOCAL_HEADER.bytes;
  const nameEnd = nameAt + header.getUint16(26, true);
  const found = new TextDecoder().decode(await view(zip, nameAt, nameEnd));
  if (found !== name || header.getUint16(8, true) !== STORED) throw broken(place, offset);
  const start = nameEnd + header.getUint16(28, true);
  for (let at = start; at < start + bytes; at += CHUNK_BYTES) {
    const end = Math.min(at + CHUNK_BYTES, start + bytes);
    yield new Uint8Array(await zip.slice(at, end).arrayBuffer());
  }
}

async function findDirectory(
  zip: Blob,
  place: string,
): Promise<{ start: number; end: number; count: number }> {
  const endAt = zip.size - END.bytes;
  const end = await view(zip, endAt, zip.size);
  if (end.byteLength < END.bytes || end.getUint32(0, true) !== END.signature) {
    throw broken(place, Math.max(0, endAt));
  }
  const locatorAt = endAt - END_64_LOCATOR.bytes;
  const locator = await view(zip, locatorAt, endAt);
  const is64 =
    locator.byteLength === END_64_LOCATOR.bytes &&
    locator.getUint32(0, true) === END_64_LOCATOR.signature;
  if (!is64) {
    const start = end.getUint32(16, true);
    return { start, end: start + end.getUint32(12, true), count: end.getUint16(10, true) };
  }
  const at = Number(locator.getBigUint64(8, true));
  const end64 = await view(zip, at, at + END_64.bytes);
  if (end64.byteLength < END_64.bytes || end64.getUint32(0, true) !== END_64.signature) {
    throw broken(place, at);
  }
  const start = Number(end64.getBigUint64(48, true));
  return {
    start,
    end: start + Number(end64.getBigUint64(40, true)),
    count: Number(end64.getBigUint64(32, true)),
  };
}

interface EntryShape {
  readonly nameBytes: number;
  readonly extraBytes: number;
  readonly place: string;
}

function readEntry(directory: DataView, at: number, shape: EntryShape): ZipEntry {
  const nameAt = at + CENTRAL_HEADER.bytes;
  const extraAt = nameAt + shape.nameBytes;
  const wide = wideNumbers(directory, extraAt, extraAt + shape.extraBytes);
  /** 64-bit fields stand in this order, each only where the 32-bit one is full. */
  const number = (field: number) => {
    const narrow = directory.getUint32(at + field, true);
    return narrow === ELSEWHERE ? (wide.shift() ?? narrow) : narrow;
  };
  const bytes = number(24);
  const storedBytes = number(20);
  const offset = number(42);
  if (storedBytes !== bytes) throw broken(shape.place, at);
  const name = new DataView(directory.buffer, directory.byteOffset + nameAt, shape.nameBytes);
  return {
    name: new TextDecoder().decode(name),
    crc: directory.getUint32(at + 16, true),
    bytes,
    offset,
  };
}

/** The 64-bit numbers of an entry's extra field, in their order. */
function wideNumbers(directory: DataView, start: number, end: number): number[] {
  const numbers: number[] = [];
  for (let at = start; at + 4 <= end;) {
    const fieldEnd = Math.min(at + 4 + directory.getUint16(at + 2, true), end);
    if (directory.getUint16(at, true) === EXTRA_64) {
      for (let field = at + 4; field + 8 <= fieldEnd; field += 8) {
        numbers.push(Number(directory.getBigUint64(field, true)));
      }
    }
    at = fieldEnd;
  }
  return numbers;
}

/** Bytes [start, end), or as many of them as there are. */
async function view(zip: Blob, start: number, end: number): Promise<DataView<ArrayBuffer>> {
  return new DataView(await zip.slice(Math.max(0, start), end).arrayBuffer());
}

function broken(place: string, byte: number): UserError {
  return new UserError(
    `${place} is not the archive that was written: byte ${byte} begins nothing that belongs there.`,
    "Check the disk and export again.",
  );
}
