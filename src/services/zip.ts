// ZIP archives of an export: stored, not compressed (weights do not shrink), and read back after writing.
import { makeZip, predictLength } from "client-zip";
import { UserError } from "../base/error.ts";
import { locateEntry, type ReadRange, readZipDirectory } from "../formats/zip-read.ts";
import { crc32Of } from "./crc32.ts";

/** A file to go into an archive. */
export interface ZipSource {
  readonly name: string;
  readonly bytes: number;
  stream(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

/** Size of the archive, to the byte. */
export function zipLength(files: readonly ZipSource[]): number {
  return Number(predictLength(files.map(({ name, bytes }) => ({ name, size: bytes }))));
}

/** The archive, in pieces; each file is read when its turn comes. */
export async function* zipFiles(files: readonly ZipSource[]): AsyncGenerator<Uint8Array> {
  const entries = files.map((file) => ({
    name: file.name,
    size: file.bytes,
    input: file.stream(),
  }));
  const reader = makeZip(entries).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}

/** Compares every entry's size and CRC-32 with the file it was made from, both read from disk again. */
export async function checkZip(
  zip: Blob,
  files: readonly ZipSource[],
  place: string,
): Promise<void> {
  const read: ReadRange = async (start, end) =>
    new Uint8Array(await zip.slice(start, end).arrayBuffer());
  const entries = await asDamage(readZipDirectory(read, zip.size, place));
  if (namesOf(entries) !== namesOf(files)) {
    throw damaged(place, `it lists ${entries.length} files and not the ${files.length} put in`);
  }
  for (const [index, file] of files.entries()) {
    const entry = entries[index];
    if (!entry) continue;
    const original = await crc32Of(file.stream());
    const { start, end } = await asDamage(locateEntry(read, entry, place));
    const copy = await crc32Of(inPieces(read, start, end));
    const sums = [entry.crc, original.value, copy.value];
    const sizes = [entry.bytes, file.bytes, original.bytes, copy.bytes];
    if (new Set(sums).size > 1 || new Set(sizes).size > 1) {
      const told = `CRC-32 ${original.value.toString(16)} and ${original.bytes} bytes became ${copy.value.toString(16)} and ${copy.bytes}`;
      throw damaged(place, `${file.name}: ${told}`);
    }
  }
}

const CHUNK_BYTES = 1 << 22;

async function* inPieces(
  read: ReadRange,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = start; at < end; at += CHUNK_BYTES) {
    yield await read(at, Math.min(at + CHUNK_BYTES, end));
  }
}

const REMEDY = "Check the disk and export again.";

/** What the reader finds wrong with a file from elsewhere is damage to one of ours. */
async function asDamage<T>(read: Promise<T>): Promise<T> {
  try {
    return await read;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const [problem = ""] = error.message.split("\n");
    throw new UserError(problem, REMEDY, { cause: error });
  }
}

function namesOf(list: readonly { readonly name: string }[]): string {
  return JSON.stringify(list.map(({ name }) => name));
}

function damaged(place: string, what: string): UserError {
  return new UserError(`${place} does not read back as it was written (${what}).`, REMEDY);
}
