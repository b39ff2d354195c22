// arXiv's metadata to a data set, against what XTuner's script writes for the same lines.
import { describe, expect, test } from "vitest";
import { filterArxiv, readDay } from "../../src/data/arxiv.ts";

const CATEGORIES = ["cs.AI", "cs.CL", "cs.CV"];

interface Outcome {
  text: string;
  kept: number;
  broken: string[];
}

async function filter(
  chunks: Iterable<string | Uint8Array>,
  { categories = CATEGORIES, start = "2020-01-01" } = {},
): Promise<Outcome> {
  const outcome: Outcome = { text: "", kept: 0, broken: [] };
  const pieces = filterArxiv(chunks, {
    place: "dump.json",
    categories,
    since: readDay(start) ?? Number.NaN,
    onKept: () => outcome.kept++,
    onBroken: (line, number) => outcome.broken.push(`${number}: ${line}`),
  });
  for await (const piece of pieces) outcome.text += piece;
  return outcome;
}

// What XTuner 0.1.11's xtuner/tools/data_preprocess/arxiv.py wrote and printed for these lines, by Python 3.11.
const LINES = [
  String.raw`{"id":"1","title":"caf\u00e9 \"q\" é 漢 😀 \/","categories":"cs.CL  math.X","n":[1,2.5,{"a":null}],"update_date":"2020-01-01"}`,
  '{"id":"2","categories":"cs.CLX","update_date":"2024-01-01"}',
  '{"id":"3","categories":"cs.AI","update_date":"2019-12-31"}',
  '{"id":"4","categories":"cs.AI","update_date":"2020-1-5", "7": true, "x": "\u007f\u2028"}',
  '{"id":"5" oops',
  "",
  '{"id":"6","categories":"hep-th"}',
];
const WRITTEN = String.raw`[{"id": "1", "title": "caf\u00e9 \"q\" \u00e9 \u6f22 \ud83d\ude00 /", "categories": "cs.CL  math.X", "n": [1, 2.5, {"a": null}], "update_date": "2020-01-01"}, {"id": "4", "categories": "cs.AI", "update_date": "2020-1-5", "7": true, "x": "\u007f\u2028"}]`;

describe("rows and text are those of XTuner's script", () => {
  test.each([
    ["\n", [LINES.join("\n")]],
    ["\r\n", [LINES.join("\r\n")]],
    ["\r", [LINES.join("\r")]],
    ["pieces of a character", LINES.join("\r\n")],
    [
      "pieces of a byte",
      [...new TextEncoder().encode(LINES.join("\r\n"))].map((b) => Uint8Array.of(b)),
    ],
  ])("with line ends %j", async (_what, chunks) => {
    const { text, kept, broken } = await filter(chunks);
    expect(text).toBe(WRITTEN);
    expect(kept).toBe(2);
    expect(broken).toEqual(['5: {"id":"5" oops\n', "6: \n"]);
  });

  test("nothing kept is an empty list", async () => {
    expect((await filter([""])).text).toBe("[]");
    expect((await filter(LINES.slice(1, 3).map((line) => `${line}\n`))).text).toBe("[]");
  });

  test("other categories and another day", async () => {
    const chunks = [LINES.join("\n")];
    expect((await filter(chunks, { categories: ["cs.CLX"] })).kept).toBe(1);
    expect((await filter(chunks, { start: "2020-01-02" })).kept).toBe(1);
    expect((await filter(chunks, { start: "2020-01-06" })).kept).toBe(0);
  });
});

test("a list of many rows comes in pieces, none of which is long", async () => {
  const line = `{"categories":"cs.AI","update_date":"2021-01-01","abstract":${JSON.stringify("x".repeat(1000))}}\n`;
  const sizes: number[] = [];
  const pieces = filterArxiv(
    Array.from({ length: 1000 }, () => line),
    {
      place: "dump.json",
      categories: CATEGORIES,
      since: 0,
      onKept: () => {},
      onBroken: () => {},
    },
  );
  for await (const piece of pieces) sizes.push(piece.length);
  expect(Math.max(...sizes)).toBeLessThan(70_000); // 64 Ki and a row
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThan(1_000_000);
});

test.each([
  '{"update_date":"2020-01-01"}',
  '{"categories":["cs.AI"]}',
  '{"categories":"cs.AI"}',
  '{"categories":"cs.AI","update_date":"2021-02-29"}',
  "[1]",
])("%s is left out and told, and the next line is read", async (line) => {
  const { kept, broken } = await filter([`${line}\n${LINES[0]}`]);
  expect({ kept, broken }).toEqual({ kept: 1, broken: [`1: ${line}\n`] });
});

test("a line without end is refused, not gathered for ever", async () => {
  const chunks = (function* () {
    for (;;) yield "x".repeat(1 << 20);
  })();
  await expect(filter(chunks)).rejects.toThrow("is longer than 67108864 characters");
});

test.each([
  ["2020-02-29", true],
  ["2021-02-29", false],
  ["2020-1-5", true],
  ["2020-01- 5", true], // as strptime does
  ["2020-13-01", false],
  ["2020-00-10", false],
  ["0000-01-01", false],
  ["20-01-01", false],
  ["2020-01-011", false],
  ["0099-12-31", true],
  ["", false],
])("%j is a day: %j", (text, isDay) => {
  expect(readDay(text) !== undefined).toBe(isDay);
});
