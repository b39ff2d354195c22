import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { encodeDataset, type EncodeDatasetOptions } from "../../src/data/dataset.ts";
import { createDraw } from "../../src/data/draw.ts";
import { readDataRows } from "../../src/data/read-data.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import { listOf } from "./lists.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const encoder = new TextEncoder();
const fileOf = (name: string, ...pieces: (string | Uint8Array)[]) => ({
  name,
  stream: () => pieces,
});
const options: EncodeDatasetOptions = {
  tokenizer: toyTokenizer,
  template: promptTemplate("default"),
  maxLength: 10,
};

const texts = (examples: { inputIds: Uint32Array }[]) =>
  examples.map(({ inputIds }) => toyTokenizer.decode(inputIds));

async function rowsOf(name: string, ...pieces: (string | Uint8Array)[]): Promise<unknown[]> {
  const rows: unknown[] = [];
  for await (const { value } of readDataRows(fileOf(name, ...pieces))) rows.push(value);
  return rows;
}

const ROWS = [
  { input: "a, b", output: 'c "d"' },
  { input: "你好\n🙂", output: "e" },
];
const CSV = 'input,output\n"a, b","c ""d"""\n"你好\n🙂",e\n';
const FILES: [string, string][] = [
  ["d.jsonl", ROWS.map((row) => JSON.stringify(row)).join("\n")],
  ["d.json", JSON.stringify(ROWS, null, 2)],
  ["d.csv", CSV],
  [
    "d.tsv",
    CSV.replace("input,output", "input\toutput").replace('","', '"\t"').replace('",e', '"\te'),
  ],
];

describe("a file is read by what it is", () => {
  test.each(FILES)("%s, plain and packed, wherever its pieces are cut", async (name, text) => {
    const plain = encoder.encode(text);
    const packed = new Uint8Array(gzipSync(plain));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 5 }),
        async (cuts) => {
          expect(await rowsOf(name, ...cutAt(plain, cuts))).toEqual(ROWS);
          expect(await rowsOf(`${name}.gz`, ...cutAt(packed, cuts))).toEqual(ROWS);
        },
      ),
      { numRuns: 20 },
    );
  });

  test.each<[string, string, string]>([
    [
      "prose, with commas",
      "a.txt",
      "Once upon a time, there was a model.\nIt learned, and learned.",
    ],
    ["prose in brackets", "a.txt", "[Music]\nHello."],
    ["Markdown that looks like a table", "a.md", "a,b\n1,2\n3,4"],
  ])("%s is one text", async (_, name, text) => {
    expect(await rowsOf(name, `\n ${text}\n\n`)).toEqual([{ text }]);
  });

  test("a table without a telling name is a table", async () => {
    expect(await rowsOf("data.txt", "a;b\n1;2\n3;4\n")).toEqual([
      { a: "1", b: "2" },
      { a: "3", b: "4" },
    ]);
  });

  test("JSON in a text file is JSON, and a broken row of it no prose", async () => {
    expect(await rowsOf("a.txt", '{"a":1}')).toEqual([{ a: 1 }]);
    await expect(rowsOf("a.txt", "{broken")).rejects.toThrow(
      /a\.txt, line 1 \(row 1\) is not JSON/,
    );
  });

  test.each<[string, Uint8Array, RegExp]>([
    [
      "a damaged archive",
      new Uint8Array(gzipSync("x".repeat(999))).fill(7, 12, 15),
      /d\.jsonl\.gz cannot be unpacked/,
    ],
    [
      "one that is cut",
      new Uint8Array(gzipSync('{"a":1}')).slice(0, -9),
      /d\.jsonl\.gz cannot be unpacked/,
    ],
    [
      "one inside another",
      new Uint8Array(gzipSync(gzipSync('{"a":1}'))),
      /holds another packed file/,
    ],
    [
      "a bomb",
      new Uint8Array(gzipSync(new Uint8Array(20 << 20).fill(0x20))),
      /over 200 times its size/,
    ],
    ["another packing", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0), /is packed by Zstandard/],
  ])("%s is refused in words", async (_, bytes, problem) => {
    const fault: unknown = await rowsOf("d.jsonl.gz", bytes).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(UserError);
    expect(String(fault)).toMatch(problem);
  });

  test("the file is let go of, whether it was read to its end or not", async () => {
    let isOpen = 0;
    const stream = function* () {
      isOpen++;
      try {
        for (;;) yield '{"a":1}\n'.repeat(3000);
      } finally {
        isOpen--;
      }
    };
    for await (const { row } of readDataRows({ name: "d.jsonl", stream })) if (row > 5) break;
    const broken = readDataRows({ name: "d.parquet", stream });
    await expect(broken.next()).rejects.toThrow(/is no Parquet file/);
    expect(isOpen).toBe(0);
  });
});

describe("a long text goes on over examples", () => {
  test("none of its tokens is lost, doubled or cut, however its pieces come", async () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "b", " ", "\n", "你"),
      minLength: 1,
      maxLength: 80,
    });
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.integer({ min: 3, max: 12 }),
        fc.array(fc.nat(60)),
        async (words, maxLength, cuts) => {
          const whole = `x${words}x`;
          const pieces = cutAt(encoder.encode(whole), cuts);
          const { examples, funnel } = await encodeDataset([fileOf("a.md", ...pieces)], {
            ...options,
            maxLength,
          });
          const list = listOf(examples);
          const ids = list.flatMap(({ inputIds }) => [...inputIds]);
          expect(ids).toEqual([1, ...toyTokenizer.encode(whole), 2]);
          expect(list.flatMap(({ labels }) => [...labels])).toEqual([-100, ...ids.slice(1)]);
          // The first token of an example is never predicted, so none is alone.
          for (const { inputIds } of list) expect(inputIds.length).toBeGreaterThanOrEqual(2);
          for (const { inputIds } of list) expect(inputIds.length).toBeLessThanOrEqual(maxLength);
          expect(funnel).toMatchObject({
            rowsRead: 1,
            tokens: ids.length,
            truncated: 0,
            endless: 0,
          });
        },
      ),
      { numRuns: 60 },
    );
  });

  test("larger than the reader's pieces, with the white space between them", async () => {
    const line = "the cat sat on the mat\n\n";
    const text = line.repeat(20_000).trim();
    const { examples, funnel } = await encodeDataset([fileOf("a.txt", text)], {
      ...options,
      maxLength: 1000,
    });
    expect(texts(listOf(examples)).join("")).toBe(text);
    expect(funnel).toMatchObject({ rowsRead: 1, continued: 1, tokens: text.length + 2 });
  });

  test("rows of JSON too, but where they are cut as XTuner does", async () => {
    const json = ["0123456789abcdef", "short"].map((text) => JSON.stringify({ text })).join("\n");
    const file = fileOf("d.jsonl", json);
    const whole = await encodeDataset([file], options);
    expect(texts(listOf(whole.examples))).toEqual(["012345678", "9abcdef", "short"]);
    const cut = await encodeDataset([file], { ...options, continueTexts: false });
    expect(texts(listOf(cut.examples))).toEqual(["012345678", "short"]);
    expect(cut.funnel).toMatchObject({ truncated: 1, tokensLost: 8, endless: 1, endsLost: 1 });
  });
});

describe("a draw of some rows", () => {
  const file = fileOf(
    "d.jsonl",
    Array.from({ length: 50 }, (_, i) => JSON.stringify({ input: `q${i}`, output: "a" })).join(
      "\n",
    ),
  );
  const drawn = async (maxRows: number, seed: number) => {
    const { examples, funnel } = await encodeDataset([file], {
      ...options,
      maxLength: 64,
      maxRows,
      seed,
    });
    const numbers = listOf(examples).map(({ inputIds }) =>
      Number(/q(\d+)/.exec(toyTokenizer.decode(inputIds))?.[1]),
    );
    return { numbers, funnel };
  };

  test("follows from the seed, keeps their order, and is counted", async () => {
    const { numbers, funnel } = await drawn(12, 1);
    expect(new Set(numbers).size).toBe(12);
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(funnel).toMatchObject({ rowsRead: 50, notDrawn: 38, kept: 12 });
    expect((await drawn(12, 1)).numbers).toEqual(numbers);
    expect((await drawn(12, 2)).numbers).not.toEqual(numbers);
  });

  test("of more than there are takes all", async () => {
    const { numbers, funnel } = await drawn(60, 1);
    expect(numbers).toEqual([...Array(50).keys()]);
    expect(funnel.notDrawn).toBe(0);
  });

  test("takes every row as often as any other", () => {
    const times = Array.from({ length: 10 }, () => 0);
    for (let seed = 0; seed < 3000; seed++) {
      const draw = createDraw<number>(3, seed);
      for (let row = 0; row < 10; row++) if (draw.isNextDrawn()) draw.keep(row);
      for (const row of draw.drawn()) times[row]!++;
    }
    // 900 times each are to be expected; five standard deviations are 125.
    for (const count of times) expect(Math.abs(count - 900)).toBeLessThan(125);
  });
});

test("questions without answers are kept where they are asked for, with BOS before each", async () => {
  const conversation = [
    { input: "q", output: "a" },
    { input: "r", output: "b" },
  ];
  const { examples, funnel } = await encodeDataset(
    [fileOf("d.json", JSON.stringify([{ conversation }]))],
    {
      ...options,
      template: { instruction: "{input}" },
      inputIdsWithOutput: false,
    },
  );
  expect(listOf(examples).map(({ inputIds }) => [...inputIds])).toEqual([
    [1, ...toyTokenizer.encode("q"), 1, ...toyTokenizer.encode("r")],
  ]);
  expect(funnel).toMatchObject({ kept: 1, labelTokens: 0, droppedUnlabeled: 0 });
});

/** Bytes in pieces that end at the cuts. */
function cutAt(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [
    ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b),
    bytes.length,
  ];
  return ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end));
}
