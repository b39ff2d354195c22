// ZIP archives of an export: stored, not compressed (weights do not shrink), and read back after writing.
import { makeZip, predictLength } from "client-zip";
import { UserError } from "../base/error.ts";
import { crc32Of } from "./crc32.ts";
import { readZipEntries, readZipEntry } from "./zip-entries.ts";

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
  const entries = await readZipEntries(zip, place);
  if (namesOf(entries) !== namesOf(files)) {
    throw damaged(place, `it lists ${entries.length} files and not the ${files.length} put in`);
  }
  for (const [index, file] of files.entries()) {
    const entry = entries[index];
    if (!entry) continue;
    const original = await crc32Of(file.stream());
    const copy = await crc32Of(readZipEntry(zip, entry, place));
    const sums = [entry.crc, original.value, copy.value];
    const sizes = [entry.bytes, file.bytes, original.bytes, copy.bytes];
    if (new Set(sums).size > 1 || new Set(sizes).size > 1) {
      const told = `CRC-32 ${original.value.toString(16)} and ${original.bytes} bytes became ${copy.value.toString(16)} and ${copy.bytes}`;
      throw damaged(place, `${file.name}: ${told}`);
    }
  }
}

function namesOf(list: readonly { readonly name: string }[]): string {
  return JSON.stringify(list.map(({ name }) => name));
}

function damaged(place: string, what: string): UserError {
  return new UserError(
    `${place} does not read back as it was written (${what}).`,
    "Check the disk and export again.",
  );
}
