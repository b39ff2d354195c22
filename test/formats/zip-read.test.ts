// Archives too large to make: their ends and headers, with zeros between them that lie nowhere in memory.
import { expect, test } from "vitest";
import { locateEntry, readZipDirectory } from "../../src/formats/zip-read.ts";

const HEADER_BYTES = 30 + 1;

test("sizes and offsets past 4 GiB are read from the extra field", async () => {
  const far = 5 * 2 ** 30 + 3;
  const bytes = 6 * 2 ** 30 + 5;
  const { read, size } = sparseZip([
    { name: "v", at: 0, bytes: far - HEADER_BYTES, crc: 0x9abcdef0 },
    { name: "w", at: far, bytes, crc: 0x12345678 },
  ]);
  const entries = await readZipDirectory(read, size, "far.zip");
  const limit = far + HEADER_BYTES + bytes;
  expect(entries).toEqual([
    { name: "v", crc: 0x9abcdef0, bytes: far - HEADER_BYTES, headerAt: 0, limit: far },
    { name: "w", crc: 0x12345678, bytes, headerAt: far, limit },
  ]);
  expect(await locateEntry(read, entries[1]!, "far.zip")).toEqual({
    start: far + HEADER_BYTES,
    end: limit,
  });
});

interface Entry {
  readonly name: string;
  readonly at: number;
  readonly bytes: number;
  readonly crc: number;
}

function sparseZip(entries: readonly Entry[]) {
  const parts: { at: number; view: DataView }[] = [];
  const put = (at: number, length: number) => {
    const view = new DataView(new ArrayBuffer(length));
    parts.push({ at, view });
    return view;
  };
  let end = 0;
  for (const { name, at, bytes } of entries) {
    const local = put(at, HEADER_BYTES);
    local.setUint32(0, 0x04034b50, true);
    for (const field of [18, 22]) local.setUint32(field, 0xffffffff, true);
    local.setUint16(26, 1, true);
    local.setUint8(30, name.charCodeAt(0));
    end = at + HEADER_BYTES + bytes;
  }
  const directoryAt = end;
  for (const { name, at, bytes, crc } of entries) {
    const central = put(end, 46 + 1 + 28);
    central.setUint32(0, 0x02014b50, true);
    central.setUint32(16, crc, true);
    for (const field of [20, 24, 42]) central.setUint32(field, 0xffffffff, true);
    central.setUint16(28, 1, true);
    central.setUint16(30, 28, true);
    central.setUint8(46, name.charCodeAt(0));
    central.setUint16(47, 1, true);
    central.setUint16(49, 24, true);
    [bytes, bytes, at].forEach((value, i) => central.setBigUint64(51 + 8 * i, BigInt(value), true));
    end += central.byteLength;
  }
  const ends = put(end, 56 + 20 + 22);
  ends.setUint32(0, 0x06064b50, true);
  ends.setBigUint64(32, BigInt(entries.length), true);
  ends.setBigUint64(40, BigInt(end - directoryAt), true);
  ends.setBigUint64(48, BigInt(directoryAt), true);
  ends.setUint32(56, 0x07064b50, true);
  ends.setBigUint64(64, BigInt(end), true);
  ends.setUint32(76, 0x06054b50, true);
  ends.setUint16(86, 0xffff, true);
  for (const field of [88, 92]) ends.setUint32(field, 0xffffffff, true);
  const read = async (start: number, stop: number) => {
    const piece = new Uint8Array(stop - start);
    for (const { at, view } of parts) {
      for (let i = Math.max(at, start); i < Math.min(at + view.byteLength, stop); i++) {
        piece[i - start] = view.getUint8(i - at);
      }
    }
    return piece;
  };
  return { read, size: end + ends.byteLength };
}
