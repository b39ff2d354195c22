import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { UserError } from "../../src/base/error.ts";
import { readRows } from "../../src/data/read.ts";
import type { DataRow } from "../../src/data/read.ts";

async function read(chunks: Iterable<string | Uint8Array>, onBrokenRow?: (e: UserError) => void) {
  const rows: DataRow[] = [];
  const options = onBrokenRow === undefined ? {} : { onBrokenRow };
  for await (const row of readRows(chunks, { place: "d.json", ...options })) rows.push(row);
  return rows;
}

/** `bytes` cut into pieces of `size`, so that every boundary falls everywhere. */
function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

test("a JSON list is read with the row and line of each element", async () => {
  const rows = await read(['[\n {"a": "x,]}\\"[",\n  "b": [1, {"c": 2}]},\n\n {"a": 2}, 3\n]\n']);
  expect(rows).toEqual([
    { value: { a: 'x,]}"[', b: [1, { c: 2 }] }, row: 1, line: 2 },
    { value: { a: 2 }, row: 2, line: 5 },
    { value: 3, row: 3, line: 5 },
  ]);
});

test("JSONL is read with its lines; blank lines, CRLF, a BOM and a missing last newline do no harm", async () => {
  const text = '\uFEFF\r\n{"a": 1}\r\n\r\n{"a": "二"}';
  const expected = [
    { value: { a: 1 }, row: 1, line: 2 },
    { value: { a: "二" }, row: 2, line: 4 },
  ];
  expect(await read([text])).toEqual(expected);
  expect(await read(cut(new TextEncoder().encode(text), 1))).toEqual(expected);
});

test("where the pieces of a file are cut makes no difference", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.jsonValue({ depthSize: "small" }), { minLength: 1, maxLength: 7 }),
      fc.integer({ min: 1, max: 11 }),
      fc.constantFrom(0, 1),
      async (values, size, indent) => {
        const list = new TextEncoder().encode(JSON.stringify(values, null, indent));
        expect((await read(cut(list, size))).map(({ value }) => value)).toEqual(
          JSON.parse(JSON.stringify(values)),
        );
        const objects = values.map((value) => ({ value }));
        const lines = objects.map((value) => JSON.stringify(value)).join("\n");
        const rows = await read(cut(new TextEncoder().encode(lines), size));
        expect(rows.map(({ value, line }) => [value, line])).toEqual(
          objects.map((value, i) => [JSON.parse(JSON.stringify(value)), i + 1]),
        );
      },
    ),
  );
});

describe("a fault is told with the file, the line and the remedy", () => {
  test.each([
    [
      "a broken line",
      '{"a":1}\n{"a":,}\n',
      /d\.json, line 2 \(row 2\) is not JSON: \{"a":,\}\nCorrect that line/,
    ],
    ["a broken element", '[{"a":1},\n{"a" 1}]', /line 2 \(row 2\) is not JSON: \{"a" 1\}/],
    ["an element with the wrong bracket", "[[1}]", /line 1 \(row 1\)/],
    ["a missing comma", "[1 2]", /row 1\) is not JSON: 1 2/],
    ["two commas", "[1,\n,2]", /line 2: no value stands before the comma or bracket after row 1/],
    ["a comma at the end", "[1,2,\n]", /line 2: no value stands .* after row 2\.\nRemove/],
    ["text after the list", "[1]\n[2]", /line 2: text follows the end of the list/],
    [
      "a truncated list",
      '[{"a":1},\n{"a":"',
      /line 2: the file ends inside row 2; the list is never closed/,
    ],
    ["an object over many lines", '{\n"a": 1\n}', /line 1 \(row 1\) is not JSON: \{/],
    ["an empty file", "", /d\.json holds no rows/],
    ["white space only", " \n\uFEFF\n ", /holds no rows/],
    ["an empty list", "[ ]", /holds no rows/],
  ])("%s", async (_, text, fault) => {
    await expect(read([text])).rejects.toThrow(fault);
    await expect(read(cut(new TextEncoder().encode(text), 1))).rejects.toThrow(fault);
  });

  test("text that is not UTF-8", async () => {
    await expect(read([Uint8Array.of(0x7b, 0xb0, 0xa1)])).rejects.toThrow(/not UTF-8 text/);
    await expect(read([Uint8Array.of(0x7b, 0xe4)])).rejects.toThrow(/not UTF-8 text/);
  });

  test("the excerpt of a long row is short", async () => {
    const error = await read([`{"a": "${"x".repeat(5000)}" 1}`]).catch((e: unknown) => e);
    expect(String(error).length).toBeLessThan(300);
  });
});

test("a source's own error passes through as it is", async () => {
  const source = (function* () {
    yield '{"a":1}\n';
    throw new TypeError("network");
  })();
  await expect(read(source)).rejects.toThrow("network");
});

test("broken rows can be left out and counted, in lines and in lists", async () => {
  for (const text of ['{"a":1}\n{oops}\n{"a":3}', '[{"a":1},{oops},{"a":3}]']) {
    const faults: string[] = [];
    const rows = await read([text], (fault) => faults.push(fault.message));
    expect(rows.map(({ row }) => row)).toEqual([1, 3]);
    expect(faults.length).toBe(1);
    expect(faults[0]).toContain("row 2");
  }
});
