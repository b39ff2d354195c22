// The table of contents of a ZIP archive whose files are stored, not compressed: as PyTorch writes models, and the
// page its exports.
//
// Written from PKWARE's APPNOTE 6.3.10. What other readers could understand differently is refused: bytes
// before, between or after that belong to two entries or to none of the archive's end, names that lead out of
// a folder, two entries of one name, local headers that say something else than the central directory.
import { UserError } from "../base/error.ts";

/** Bytes [start, end) of a file. */
export type ReadRange = (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;

export interface StoredEntry {
  readonly name: string;
  readonly bytes: number;
  /** The CRC-32 of its bytes, as the list has it; nothing here looks at them. */
  readonly crc: number;
  /** Where its local header begins. */
  readonly headerAt: number;
  /** Where the next entry, or the central directory, begins. */
  readonly limit: number;
}

export const ZIP_MAGIC = [0x50, 0x4b, 0x03, 0x04];

const LOCAL = { signature: 0x04034b50, bytes: 30 };
const CENTRAL = { signature: 0x02014b50, bytes: 46 };
const END = { signature: 0x06054b50, bytes: 22 };
const LOCATOR_64 = { signature: 0x07064b50, bytes: 20 };
const END_64 = { signature: 0x06064b50, bytes: 56 };
const EXTRA_64 = 0x0001;
const STORED = 0;
/** Encrypted, a patch, strongly encrypted, or with its header hidden. */
const UNREADABLE_FLAGS = 0x0001 | 0x0020 | 0x0040 | 0x2000;
/** The sizes stand behind the data; zeros may stand in the local header. */
const SIZES_FOLLOW = 0x0008;
/** The most that may stand behind an entry's data: its sizes once more. */
const DESCRIPTOR_BYTES = 24;
/** Says that the number stands in a 64-bit field elsewhere. */
const ELSEWHERE = 0xffffffff;
const ELSEWHERE_COUNT = 0xffff;
/** A model of 36,000 tensors has 4 MB. */
const DIRECTORY_LIMIT_BYTES = 64 * 2 ** 20;

const AGAIN = "Download or copy the file again.";
const SAVE_AGAIN = "Save it again with torch.save, or ask for the weights as safetensors.";

/** The entries in the order of their bytes. `fileBytes` is the whole file's size, `place` names it in errors. */
export async function readZipDirectory(
  read: ReadRange,
  fileBytes: number,
  place: string,
): Promise<StoredEntry[]> {
  const { start, end, count } = await findDirectory(read, fileBytes, place);
  if (end - start > DIRECTORY_LIMIT_BYTES) {
    throw new UserError(
      `${place}: its list of entries has ${end - start} bytes; the limit is ${DIRECTORY_LIMIT_BYTES}.`,
      SAVE_AGAIN,
    );
  }
  const view = viewOf(await read(start, end));
  const entries: CentralEntry[] = [];
  let at = 0;
  while (at < view.byteLength) {
    const entry = readCentralEntry(view, at, `${place}, byte ${start + at}`);
    entries.push(entry);
    at = entry.next;
  }
  if (entries.length !== count) {
    throw new UserError(
      `${place}: its end says that it has ${count} entries, and ${entries.length} are listed.`,
      AGAIN,
    );
  }
  return inOrder(entries, start, place);
}

/** Where an entry's bytes lie, after a look at its local header. */
export async function locateEntry(
  read: ReadRange,
  entry: StoredEntry,
  place: string,
): Promise<{ start: number; end: number }> {
  const { name, bytes, headerAt, limit } = entry;
  const refuse = (fact: string) =>
    new UserError(
      `${place}: the entry ${JSON.stringify(name)} at byte ${headerAt} ${fact}.`,
      AGAIN,
    );
  const nameBytes = new TextEncoder().encode(name);
  const fixed = LOCAL.bytes + nameBytes.length;
  if (headerAt + fixed > limit) throw refuse("overlaps the next");
  const header = await read(headerAt, headerAt + fixed);
  const view = viewOf(header);
  if (view.getUint32(0, true) !== LOCAL.signature) throw refuse("has no header there");
  const flags = view.getUint16(6, true);
  const isSame =
    view.getUint16(26, true) === nameBytes.length &&
    nameBytes.every((byte, i) => header[LOCAL.bytes + i] === byte) &&
    view.getUint16(8, true) === STORED &&
    (flags & UNREADABLE_FLAGS) === 0;
  if (!isSame) throw refuse("has another name or form in its own header than in the list");
  for (const field of [18, 22]) {
    const own = view.getUint32(field, true);
    const isLeftOut = own === ELSEWHERE || ((flags & SIZES_FOLLOW) !== 0 && own === 0);
    if (!isLeftOut && own !== bytes)
      throw refuse(`has ${own} bytes there and ${bytes} in the list`);
  }
  const start = headerAt + fixed + view.getUint16(28, true);
  if (start + bytes > limit) throw refuse(`has ${bytes} bytes, which overlap the next`);
  const behind = limit - start - bytes;
  if (behind > DESCRIPTOR_BYTES) throw refuse(`is followed by ${behind} bytes that belong to none`);
  return { start, end: start + bytes };
}

interface Directory {
  readonly start: number;
  readonly end: number;
  readonly count: number;
}

/** Nobody writes a comment, so the end record is the file's last bytes. */
async function findDirectory(
  read: ReadRange,
  fileBytes: number,
  place: string,
): Promise<Directory> {
  const endAt = fileBytes - END.bytes;
  const tailAt = Math.max(0, endAt - LOCATOR_64.bytes);
  const tail = viewOf(await read(tailAt, fileBytes));
  const at = endAt - tailAt;
  if (endAt < 0 || tail.getUint32(at, true) !== END.signature || tail.getUint16(at + 20, true)) {
    throw new UserError(
      `${place} begins as a ZIP archive and does not end as one: it is cut short, or something was added to it.`,
      AGAIN,
    );
  }
  if (tail.getUint16(at + 4, true) !== 0 || tail.getUint16(at + 6, true) !== 0) {
    throw new UserError(`${place} is one part of a ZIP archive in several.`, SAVE_AGAIN);
  }
  const directory = {
    count: tail.getUint16(at + 10, true),
    bytes: tail.getUint32(at + 12, true),
    start: tail.getUint32(at + 16, true),
  };
  const isWide = at === LOCATOR_64.bytes && tail.getUint32(0, true) === LOCATOR_64.signature;
  const wide = isWide
    ? await readEnd64(read, Number(tail.getBigUint64(8, true)), tailAt, place)
    : undefined;
  // The 64-bit record counts; a narrow number must be the same, or say that it stands there.
  const start = agreed(directory.start, wide?.start, ELSEWHERE, place);
  const bytes = agreed(directory.bytes, wide?.bytes, ELSEWHERE, place);
  const count = agreed(directory.count, wide?.count, ELSEWHERE_COUNT, place);
  const next = wide ? wide.at : endAt;
  if (start + bytes !== next) {
    throw new UserError(
      `${place}: its list of entries ends at byte ${start + bytes}, and what follows it begins at ${next}.`,
      AGAIN,
    );
  }
  return { start, end: start + bytes, count };
}

async function readEnd64(read: ReadRange, at: number, locatorAt: number, place: string) {
  // The record may have an extensible part, which nothing writes.
  if (at !== locatorAt - END_64.bytes) {
    throw new UserError(
      `${place}: its 64-bit end is said to be at byte ${at}, where none fits.`,
      AGAIN,
    );
  }
  const view = viewOf(await read(at, at + END_64.bytes));
  if (view.getUint32(0, true) !== END_64.signature) {
    throw new UserError(`${place} has no 64-bit end at byte ${at}.`, AGAIN);
  }
  const [count, bytes, start] = [32, 40, 48].map((field) => Number(view.getBigUint64(field, true)));
  return { at, count: count ?? 0, bytes: bytes ?? 0, start: start ?? 0 };
}

function agreed(
  narrow: number,
  wide: number | undefined,
  elsewhere: number,
  place: string,
): number {
  if (wide === undefined || narrow === wide) return narrow;
  if (narrow === elsewhere) return wide;
  throw new UserError(`${place}: its two ends say ${narrow} and ${wide} of the same thing.`, AGAIN);
}

interface CentralEntry {
  readonly name: string;
  readonly bytes: number;
  readonly crc: number;
  readonly headerAt: number;
  /** Where the next begins, in the directory. */
  readonly next: number;
}

function readCentralEntry(view: DataView, at: number, place: string): CentralEntry {
  const broken = (fact: string) => new UserError(`${place}: ${fact}.`, AGAIN);
  if (view.byteLength - at < CENTRAL.bytes || view.getUint32(at, true) !== CENTRAL.signature) {
    throw broken("no entry of a ZIP archive begins here");
  }
  const nameAt = at + CENTRAL.bytes;
  const extraAt = nameAt + view.getUint16(at + 28, true);
  const extraEnd = extraAt + view.getUint16(at + 30, true);
  const next = extraEnd + view.getUint16(at + 32, true);
  if (next > view.byteLength) throw broken("an entry ends past the list");
  const name = readName(view, nameAt, extraAt, broken);
  const told = JSON.stringify(name);
  if ((view.getUint16(at + 8, true) & UNREADABLE_FLAGS) !== 0) {
    throw new UserError(`${place}: the entry ${told} is encrypted.`, SAVE_AGAIN);
  }
  const method = view.getUint16(at + 10, true);
  if (method !== STORED) {
    throw new UserError(
      `${place}: the entry ${told} is compressed (method ${method}); only stored ones can be read.`,
      SAVE_AGAIN,
    );
  }
  // 64-bit fields stand in this order, each only where the 32-bit one is full.
  const wide = wideNumbers(view, extraAt, extraEnd);
  const [bytes, storedBytes, headerAt] = [24, 20, 42].map((field) => {
    const narrow = view.getUint32(at + field, true);
    return narrow === ELSEWHERE ? (wide.shift() ?? Number.NaN) : narrow;
  });
  if (storedBytes !== bytes || !isCount(bytes) || !isCount(headerAt)) {
    throw broken(`the entry ${told} has sizes that contradict each other`);
  }
  return { name, bytes, crc: view.getUint32(at + 16, true), headerAt, next };
}

function isCount(value: number | undefined): value is number {
  return Number.isSafeInteger(value);
}

function readName(
  view: DataView,
  start: number,
  end: number,
  broken: (fact: string) => UserError,
): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + start, end - start);
  let name: string;
  try {
    name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw broken("an entry's name is not UTF-8");
  }
  const isPlain = name
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && !/[\\:\p{Cc}]/u.test(part));
  if (!isPlain)
    throw broken(`an entry has the name ${JSON.stringify(name)}, which is no plain path`);
  return name;
}

/** The 64-bit numbers of an entry's extra field, in their order. */
function wideNumbers(view: DataView, start: number, end: number): number[] {
  const numbers: number[] = [];
  for (let at = start; at + 4 <= end;) {
    const fieldEnd = Math.min(at + 4 + view.getUint16(at + 2, true), end);
    if (view.getUint16(at, true) === EXTRA_64) {
      for (let field = at + 4; field + 8 <= fieldEnd; field += 8) {
        numbers.push(Number(view.getBigUint64(field, true)));
      }
    }
    at = fieldEnd;
  }
  return numbers;
}

/** By their bytes; each must leave room for its header, its name and its data before the next. */
function inOrder(
  entries: readonly CentralEntry[],
  directoryAt: number,
  place: string,
): StoredEntry[] {
  const sorted = entries.toSorted((a, b) => a.headerAt - b.headerAt);
  const first = sorted[0]?.headerAt ?? directoryAt;
  if (first !== 0) {
    throw new UserError(`${place} has ${first} bytes before its first entry.`, AGAIN);
  }
  const names = new Set<string>();
  return sorted.map(({ name, bytes, crc, headerAt }, index) => {
    const told = JSON.stringify(name);
    if (names.has(name)) throw new UserError(`${place} has two entries ${told}.`, SAVE_AGAIN);
    names.add(name);
    const limit = sorted[index + 1]?.headerAt ?? directoryAt;
    const least = LOCAL.bytes + new TextEncoder().encode(name).length + bytes;
    if (headerAt + least > limit) {
      throw new UserError(
        `${place}: the entry ${told} at byte ${headerAt} has ${bytes} bytes, which overlap what begins at ${limit}.`,
        AGAIN,
      );
    }
    return { name, bytes, crc, headerAt, limit };
  });
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
