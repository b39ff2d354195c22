import { brotliCompressSync, gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { createRandom } from "../../src/base/random.ts";
import { type DataFile, readDataRows } from "../../src/data/read-data.ts";

type Columns = Parameters<typeof parquetWriteBuffer>[0]["columnData"];
type Options = Omit<Parameters<typeof parquetWriteBuffer>[0], "columnData">;

function write(columnData: Columns, options: Options = {}): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parquetWriteBuffer({ columnData, ...options }));
}

/** As a file that can be read anywhere, and only so: streaming it ends at its first bytes. */
function open(bytes: Uint8Array<ArrayBuffer>, name = "d.parquet"): DataFile {
  const read = async (start: number, end: number) => bytes.slice(start, end);
  return { name, bytes: bytes.length, read, stream: () => [bytes.subarray(0, 4)] };
}

async function valuesOf(file: DataFile): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const { value } of readDataRows(file)) values.push(value);
  return values;
}

const CHAT = Array.from({ length: 40 }, (_, i) =>
  Array.from({ length: i % 4 }, (__, k) => ({
    role: k % 2 ? "assistant" : "user",
    content: `${i} ${k} 你好`,
  })),
);
const SCHEMA: Options["schema"] = [
  { name: "root", num_children: 2 },
  { name: "messages", repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST" },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", repetition_type: "OPTIONAL", num_children: 2 },
  { name: "role", type: "BYTE_ARRAY", repetition_type: "OPTIONAL", converted_type: "UTF8" },
  { name: "content", type: "BYTE_ARRAY", repetition_type: "OPTIONAL", converted_type: "UTF8" },
  { name: "id", type: "INT64", repetition_type: "OPTIONAL" },
];
const IDS = CHAT.map((_, i) => (i % 5 === 0 ? null : BigInt(i)));
const chatFile = (options: Options = {}) =>
  write(
    [
      { name: "messages", data: CHAT },
      { name: "id", data: IDS },
    ],
    { schema: SCHEMA, rowGroupSize: 16, ...options },
  );
const CHAT_ROWS = CHAT.map((messages, i) => ({ messages, id: IDS[i] === null ? null : i }));

describe("rows come as JSON would have them", () => {
  test.each<[string, Options]>([
    ["packed by Snappy", {}],
    ["not packed", { codec: "UNCOMPRESSED" }],
    ["packed by gzip", { codec: "GZIP", compressors: { GZIP: (bytes) => gzipSync(bytes) } }],
    [
      "packed by brotli",
      { codec: "BROTLI", compressors: { BROTLI: (bytes) => brotliCompressSync(bytes) } },
    ],
  ])("messages, %s, in three row groups", async (_, options) => {
    expect(await valuesOf(open(chatFile(options)))).toEqual(CHAT_ROWS);
  });

  test("a file that can only be read from front to back", async () => {
    const bytes = chatFile();
    const pieces = [bytes.slice(0, 3), bytes.slice(3, 700), bytes.slice(700)];
    expect(await valuesOf({ name: "d", stream: () => pieces })).toEqual(CHAT_ROWS);
  });

  test("days as texts, numbers as numbers, nothing as null", async () => {
    const when = new Date("2026-03-04T05:06:07.089Z");
    const bytes = write([
      { name: "when", data: [when], type: "TIMESTAMP" },
      { name: "big", data: [2n ** 53n - 1n] },
      { name: "half", data: [0.5] },
      { name: "yes", data: [true] },
      { name: "json", data: [{ a: [1, null] }], type: "JSON" },
      { name: "none", data: [null], type: "STRING" },
      { name: "__proto__", data: ["a column like others"] },
    ]);
    expect(JSON.stringify(await valuesOf(open(bytes)))).toBe(
      '[{"when":"2026-03-04T05:06:07.089Z","big":9007199254740991,"half":0.5,"yes":true,"json":{"a":[1,null]},"none":null,"__proto__":"a column like others"}]',
    );
  });

  test("any columns of texts, numbers and truth values, in any encoding that fits", async () => {
    const column = fc.oneof(
      fc.record({
        type: fc.constant("STRING" as const),
        of: fc.constant(fc.string({ unit: "grapheme" })),
        encoding: fc.constantFrom(
          undefined,
          "PLAIN" as const,
          "DELTA_BYTE_ARRAY" as const,
          "DELTA_LENGTH_BYTE_ARRAY" as const,
        ),
      }),
      fc.record({
        type: fc.constant("INT32" as const),
        of: fc.constant(fc.integer()),
        encoding: fc.constantFrom(
          undefined,
          "PLAIN" as const,
          "DELTA_BINARY_PACKED" as const,
          "BYTE_STREAM_SPLIT" as const,
        ),
      }),
      fc.record({
        type: fc.constant("DOUBLE" as const),
        of: fc.constant(fc.double({ noNaN: true, noDefaultInfinity: true })),
        encoding: fc.constantFrom(undefined, "BYTE_STREAM_SPLIT" as const),
      }),
      fc.record({
        type: fc.constant("BOOLEAN" as const),
        of: fc.constant(fc.boolean()),
        encoding: fc.constantFrom(undefined, "RLE" as const),
      }),
    );
    const table = fc
      .tuple(fc.array(column, { minLength: 1, maxLength: 3 }), fc.integer({ min: 1, max: 70 }))
      .chain(([columns, rows]) =>
        fc.tuple(
          ...columns.map(({ type, of, encoding }, i) =>
            fc
              .array(fc.option(of as fc.Arbitrary<unknown>, { freq: 4 }), {
                minLength: rows,
                maxLength: rows,
              })
              .map((data) => ({ name: `c${i}`, type, data, ...(encoding && { encoding }) })),
          ),
        ),
      );
    await fc.assert(
      fc.asyncProperty(table, fc.integer({ min: 1, max: 80 }), async (columns, rowGroupSize) => {
        const bytes = write(columns, { rowGroupSize, pageSize: 64 });
        const rows = columns[0]!.data.map((_, i) =>
          Object.fromEntries(columns.map(({ name, data }) => [name, data[i]])),
        );
        expect(await valuesOf(open(bytes))).toEqual(rows);
      }),
      { numRuns: 60 },
    );
  });
});

describe("what is no data, or no JSON, is refused in words", () => {
  test.each<[string, Uint8Array<ArrayBuffer>, RegExp]>([
    [
      "bytes",
      write([{ name: "image", data: [new Uint8Array([1, 2, 255])], type: "BYTE_ARRAY" }]),
      /row 1, column "image" holds 3 bytes that are no text/,
    ],
    [
      "a number too large",
      write([{ name: "id", data: [2n ** 60n] }]),
      /column "id" is 1152921504606846976, which a number cannot hold/,
    ],
    ["no rows", write([{ name: "a", data: [], type: "STRING" }]), /d\.parquet holds no rows/],
    [
      "a file that is cut",
      chatFile().slice(0, -30),
      /d\.parquet is no whole Parquet file: it does not end with PAR1/,
    ],
    ["four bytes", new TextEncoder().encode("PAR1"), /is no whole Parquet file: it has 4 bytes/],
  ])("%s", async (_, bytes, problem) => {
    await expect(valuesOf(open(bytes))).rejects.toThrow(problem);
    await expect(valuesOf(open(bytes))).rejects.toMatchObject({ name: "UserError" });
  });

  test("a name of Parquet that holds something else", async () => {
    await expect(valuesOf({ name: "a.parquet", stream: () => ['{"a":1}'] })).rejects.toThrow(
      /does not begin with PAR1/,
    );
  });
});

/** Generous for a busy machine: a decoder that loops takes for ever. */
const DEADLINE_MS = 5000;

/** What became of a file: rows, words or a crash; and whether that took too long. */
async function attempt(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const start = performance.now();
  let end = "rows or words";
  await valuesOf(open(bytes)).catch((error: unknown) => {
    if (!(error instanceof UserError)) end = `a crash: ${String(error)}`;
  });
  return performance.now() - start < DEADLINE_MS ? end : "too late";
}

describe("a damaged file ends in rows or in words, soon", () => {
  test.each<[string, Options]>([
    ["not packed", { codec: "UNCOMPRESSED", pageSize: 128 }],
    ["packed", { pageSize: 128 }],
  ])("some bytes of it changed, %s", async (_, options) => {
    const whole = chatFile(options);
    const random = createRandom(4);
    for (let run = 0; run < 400; run++) {
      const bytes = whole.slice();
      for (let edit = 0; edit <= run % 4; edit++) {
        const byte = random.next() < 0.3 ? 0xff : random.next() * 256;
        bytes[Math.floor(random.next() * bytes.length)] = byte;
      }
      expect(await attempt(bytes)).toBe("rows or words");
    }
  });

  test("pieces of it missing", async () => {
    const whole = chatFile();
    for (let length = 0; length < whole.length; length += 37) {
      expect(await attempt(whole.slice(0, length))).toBe("rows or words");
      const tail = whole.slice(-length - 12);
      tail.set(whole.subarray(0, 4));
      expect(await attempt(tail)).toBe("rows or words");
    }
  });

  test("a run of levels that says it is two billion long", async () => {
    const bytes = write([{ name: "a", data: [...Array(40).fill("x"), null], type: "STRING" }], {
      codec: "UNCOMPRESSED",
    });
    // 40 values that are there are the run 0x50 0x01: its length becomes that of five bytes.
    const at = bytes.findIndex((byte, i) => byte === 0x50 && bytes[i + 1] === 0x01);
    expect(at).toBeGreaterThan(0);
    const longer = Uint8Array.of(
      ...bytes.subarray(0, at),
      0xfe,
      0xff,
      0xff,
      0xff,
      0x0f,
      ...bytes.subarray(at + 5),
    );
    expect(await attempt(longer)).toBe("rows or words");
    await expect(valuesOf(open(longer))).rejects.toThrow(/is damaged or of a kind not known here/);
  });
});
