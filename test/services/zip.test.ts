// Archives: written, read back by our reader and by another, and every damage found.
import { strFromU8, unzipSync } from "fflate";
import { expect, test } from "vitest";
import { Crc32 } from "../../src/services/crc32.ts";
import { checkZip, zipFiles, zipLength, type ZipSource } from "../../src/services/zip.ts";

const FILES = [
  source("adapter_config.json", new TextEncoder().encode('{"r": 8}')),
  source("权重-é.safetensors", bytesOf(70_001)),
  source("empty", new Uint8Array(0)),
  source("folder/last.csv", bytesOf(13)),
];

test("the checksum is CRC-32's, however the data is cut", () => {
  // The check value of the CRC catalogue for the nine digits, CBF43926.
  expect(sumOf([new TextEncoder().encode("123456789")])).toBe(0xcbf43926);
  const bytes = bytesOf(1000);
  for (const cut of [0, 1, 7, 8, 9, 503, 999]) {
    expect(sumOf([bytes.subarray(0, cut), bytes.subarray(cut)])).toBe(sumOf([bytes]));
  }
});

test("fflate reads the files back, and the size was foretold", async () => {
  const zip = await zipOf(FILES);
  expect(zip.size).toBe(zipLength(FILES));
  const found = unzipSync(new Uint8Array(await zip.arrayBuffer()));
  for (const file of FILES) expect(found[file.name], file.name).toEqual(await contentOf(file));
  expect(strFromU8(found["adapter_config.json"]!)).toBe('{"r": 8}');
});

test("an archive as it was written passes", async () => {
  await expect(checkZip(await zipOf(FILES), FILES, "a.zip")).resolves.toBeUndefined();
});

test("a flip of any bit that matters is found", async () => {
  const small = [source("a", bytesOf(19)), source("b.txt", bytesOf(3))];
  const bytes = new Uint8Array(await (await zipOf(small)).arrayBuffer());
  const missed: number[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at]! ^= 1;
    const isFound = await checkZip(new Blob([flipped]), small, "a.zip").then(
      () => false,
      (error: Error) => error.message.startsWith("a.zip"),
    );
    if (!isFound) missed.push(at);
  }
  // Dates, versions, attributes and the data descriptors that follow a file's bytes: nothing of a file.
  // Every byte of names (6 twice), contents (22), central sums and sizes (24), offsets and signatures counts.
  expect(bytes.length - missed.length).toBeGreaterThan(100);
  const text = new TextDecoder("latin1").decode(bytes);
  // Past the first header's fixed part, whose time of day may have an "a" in it.
  const contents = [text.indexOf("a", 30) + 1, text.indexOf("b.txt") + 5];
  expect(missed.filter((at) => at >= contents[0]! && at < contents[0]! + 19)).toEqual([]);
  expect(missed.filter((at) => at >= contents[1]! && at < contents[1]! + 3)).toEqual([]);
});

test("an archive cut anywhere is refused in words", async () => {
  const bytes = new Uint8Array(await (await zipOf(FILES.slice(0, 1))).arrayBuffer());
  for (let end = 0; end < bytes.length; end++) {
    const cut = new Blob([bytes.subarray(0, end)]);
    await expect(checkZip(cut, FILES.slice(0, 1), "a.zip"), `cut at ${end}`).rejects.toThrow(
      "a.zip",
    );
  }
});

test("a file that changed since is found", async () => {
  const changed = FILES.map((file) =>
    file.name === "folder/last.csv" ? source(file.name, bytesOf(13).toReversed()) : file,
  );
  await expect(checkZip(await zipOf(FILES), changed, "a.zip")).rejects.toThrow("folder/last.csv");
  await expect(checkZip(await zipOf(FILES), FILES.slice(1), "a.zip")).rejects.toThrow("4 files");
});

function source(name: string, content: Uint8Array<ArrayBuffer>): ZipSource {
  return {
    name,
    bytes: content.length,
    async *stream() {
      for (let at = 0; at < content.length; at += 4096) yield content.subarray(at, at + 4096);
    },
  };
}

/** Bytes that differ from their neighbors, the same for the same length. */
function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 167 + (i >> 8) * 31 + length) & 255);
}

function sumOf(pieces: readonly Uint8Array[]): number {
  const crc = new Crc32();
  for (const piece of pieces) crc.add(piece);
  return crc.value;
}

async function zipOf(files: readonly ZipSource[]): Promise<Blob> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of zipFiles(files)) pieces.push(piece.slice());
  return new Blob(pieces);
}

async function contentOf(file: ZipSource): Promise<Uint8Array> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of file.stream()) pieces.push(piece);
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
