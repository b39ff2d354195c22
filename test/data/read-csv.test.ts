import * as fc from "fast-check";
import Papa from "papaparse";
import { describe, expect, test } from "vitest";
import type { UserError } from "../../src/base/error.ts";
import { readCsvRows } from "../../src/data/read-csv.ts";
import type { DataRow } from "../../src/data/read.ts";

async function read(chunks: Iterable<string | Uint8Array>, onBrokenRow?: (e: UserError) => void) {
  const rows: DataRow[] = [];
  for await (const row of readCsvRows(chunks, { place: "t.csv", onBrokenRow })) rows.push(row);
  return rows;
}

const values = async (text: string) => (await read([text])).map(({ value }) => value);

function* cut(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

test("rows are objects by the first line's names, each with its row and line", async () => {
  expect(await read(['\uFEFFq,a\n"one\nline, two",x\n\n"say ""hi""",  y\n'])).toEqual([
    { value: { q: "one\nline, two", a: "x" }, row: 1, line: 2 },
    { value: { q: 'say "hi"', a: "  y" }, row: 2, line: 5 },
  ]);
});

test.each([",", "\t", ";", "|"])("the delimiter %j is found", async (delimiter) => {
  const text = [
    ["question", "answer"],
    ["a, b; c", "d"],
    ["e", "f | g"],
  ]
    .map((row) => row.map((field) => `"${field}"`).join(delimiter))
    .join("\n");
  expect(await values(text)).toEqual([
    { question: "a, b; c", answer: "d" },
    { question: "e", answer: "f | g" },
  ]);
});

test.each(["\n", "\r\n", "\r"])("lines may end with %j, and are counted", async (end) => {
  const rows = await read([["a,b", "1,2", "", "3,4", ""].join(end)]);
  expect(rows.map(({ value, line }) => [value, line])).toEqual([
    [{ a: "1", b: "2" }, 2],
    [{ a: "3", b: "4" }, 4],
  ]);
});

test("a table is read as papaparse reads it, wherever its pieces are cut", async () => {
  const field = fc.string({
    unit: fc.constantFrom("a", "é", "二", " ", '"', ",", ";", "\n", "\r\n"),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(field, field, field), { minLength: 1, maxLength: 9 }),
      fc.integer({ min: 1, max: 13 }),
      async (rows, size) => {
        const table = [["x", "y", "z"], ...rows];
        const bytes = new TextEncoder().encode(Papa.unparse(table, { newline: "\n" }));
        const theirs = Papa.parse<Record<string, string>>(new TextDecoder().decode(bytes), {
          header: true,
          delimiter: ",",
          newline: "\n",
        });
        const mine = await read(cut(bytes, size));
        expect(mine.map(({ value }) => value)).toEqual(theirs.data);
      },
    ),
  );
});

test("a row with too few or too many fields, or with open quotes at the end, is told and left out", async () => {
  const faults: string[] = [];
  const rows = await read(['a,b\n1\n2,3\n4,5,6\n7,"8\n9'], (fault) => faults.push(fault.message));
  expect(rows.map(({ row }) => row)).toEqual([2]);
  expect(faults.map((fault) => fault.split("\n")[0])).toEqual([
    "t.csv, row 1 (line 2): it has 1 fields, where the first line names 2 columns.",
    "t.csv, row 3 (line 4): it has 3 fields, where the first line names 2 columns.",
    "t.csv, row 4 (line 5): the file ends inside quotes.",
  ]);
});

test("a column may be called __proto__ and changes nothing but its row", async () => {
  const [row] = await values("__proto__,constructor\nx,y");
  expect(Object.entries(row as object)).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
  expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
});

describe("what is no table is refused, and soon", () => {
  test.each([
    ["nothing", "", "t.csv holds no rows."],
    ["names alone", "a,b\n", "t.csv holds no rows below its column names."],
    ["a name twice", "a,b,a\n1,2,3", 't.csv, line 1: two columns are named "a".'],
    ["a million columns", `${"a,".repeat(1e6)}\n`, "has more than 1,000 columns"],
    [
      "a quote never closed",
      `a,b\n"${"x\n".repeat(2 ** 25)}`,
      "is longer than 33,554,432 characters",
    ],
  ])("%s", async (_, text, problem) => {
    const started = performance.now();
    await expect(read(piecesOf(text))).rejects.toThrow(problem);
    // A scan that began anew with each piece would take minutes.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

function* piecesOf(text: string): Generator<string> {
  for (let i = 0; i < text.length; i += 2 ** 18) yield text.slice(i, i + 2 ** 18);
}
