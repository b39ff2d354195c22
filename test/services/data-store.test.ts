import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { buildDataset } from "../../src/data/dataset.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import type { StoredData } from "../../src/services/api.ts";
import { identityRows } from "../../src/services/data-identity.ts";
import {
  cancelImports,
  importFile,
  importIdentity,
  importRows,
  importSample,
  importText,
} from "../../src/services/data-import.ts";
import { dataFile, readConversation, readIssues, tableRows } from "../../src/services/data-read.ts";
import {
  cleanData,
  deleteData,
  listData,
  mapData,
  renameData,
} from "../../src/services/data-store.ts";
import { dataSources, entryFolder, shelfFolder } from "../../src/services/storage.ts";
import { toyTokenizer } from "../data/toy-tokenizer.ts";
import { stubBrowser } from "../hosts/memory-browser.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";

let disk: MemoryDisk;
beforeEach(() => {
  disk = stubBrowser();
});
afterEach(() => vi.unstubAllGlobals());

const silent = () => {};
const file = (name: string, content: BlobPart) => new File([content], name);
const importOf = (name: string, content: BlobPart) => importFile(file(name, content), silent);
const say = (user: string, assistant: string) => [
  { role: "user", content: user },
  { role: "assistant", content: assistant },
];
const alpaca = (i: number) => ({ instruction: `ask ${i}`, input: "", output: `say ${i}` });
const jsonl = (rows: readonly unknown[]) => rows.map((row) => JSON.stringify(row)).join("\n");
const stored = async (id: string) => (await dataFile(id)).text();
const names = async () => (await listData()).map(({ name }: StoredData) => name);
const utf16 = (text: string, mark: string) =>
  Buffer.from(mark + text, "utf16le") as unknown as BlobPart;
const parquetOf = (rows: readonly Record<string, string>[]) =>
  parquetWriteBuffer({
    columnData: Object.keys(rows[0] ?? {}).map((name) => ({
      name,
      data: rows.map((row) => row[name]),
      type: "STRING" as const,
    })),
  });
const shelf = async () => (await shelfFolder("data")).list();

describe("what comes in is kept as it is, one row a line", () => {
  test.each([
    ["JSONL", "a.jsonl", jsonl([alpaca(1), alpaca(2)])],
    ["a JSON list", "a.json", JSON.stringify([alpaca(1), alpaca(2)], null, 2)],
    ["a table", "a.csv", "instruction,input,output\nask 1,,say 1\nask 2,,say 2\n"],
    ["a table with tabs", "a.tsv", "instruction\tinput\toutput\nask 1\t\tsay 1\nask 2\t\tsay 2\n"],
    ["JSON of no extension", "a", `\uFEFF ${jsonl([alpaca(1), alpaca(2)])}`],
    ["JSONL that is packed", "a.jsonl.gz", gzipSync(jsonl([alpaca(1), alpaca(2)])) as BlobPart],
    ["Parquet", "a.parquet", parquetOf([alpaca(1), alpaca(2)])],
  ])("%s", async (_, name, content) => {
    const data = await importOf(name, content);
    expect(data).toMatchObject({
      name,
      rows: 2,
      format: "alpaca",
      reason: 'rows 1 to 2 have "instruction", "input" and "output"',
      columns: ["instruction", "input", "output"],
      mapping: null,
      issueCount: 0,
      broken: 0,
    });
    expect(data.id).toMatch(/^[a-z0-9][a-z0-9-]{0,63}$/);
    expect(await stored(data.id)).toBe(`${jsonl([alpaca(1), alpaca(2)])}\n`);
    expect(await tableRows(data.id, 0, 9)).toEqual([
      { row: 1, messages: say("ask 1\n", "say 1") },
      { row: 2, messages: say("ask 2\n", "say 2") },
    ]);
    expect(await listData()).toEqual([data]);
  });

  test("ShareGPT, and prompts with completions, are kept as they are, since the engine reads them", async () => {
    const shared = await importOf(
      "s.jsonl",
      jsonl([
        {
          conversations: [
            { from: "system", value: "be kind" },
            { from: "human", value: "q" },
            { from: "gpt", value: "a" },
          ],
        },
      ]),
    );
    expect(shared).toMatchObject({ format: "sharegpt", rows: 1 });
    const completion = await importOf("p.jsonl", jsonl([{ prompt: "q", completion: "a" }]));
    expect(completion).toMatchObject({ format: "prompt_completion" });
    const sources = await dataSources([shared.id, completion.id]);
    const { report } = await buildDataset(sources, {
      tokenizer: toyTokenizer,
      template: promptTemplate("default"),
      maxLength: 64,
      pack: false,
      seed: 1,
    });
    expect(report.files.map(({ format }) => format)).toEqual(["sharegpt", "prompt_completion"]);
    expect(report.kept).toBe(2);
  });

  test("a text file is kept in pieces, which the engine reads as one text", async () => {
    const text = "the cat sat on the mat\n\n".repeat(20_000).trim();
    const data = await importOf("a.txt", text);
    expect(data).toMatchObject({ format: "text", broken: 0 });
    const { report } = await buildDataset(await dataSources([data.id]), {
      tokenizer: toyTokenizer,
      template: promptTemplate("default"),
      maxLength: 1000,
      pack: true,
      seed: 1,
    });
    // BOS and EOS stand around the whole text alone.
    expect(report).toMatchObject({ rowsRead: 1, continued: 1, tokens: text.length + 2 });
  });

  test("rows written by hand, and an assistant's introduction in both languages", async () => {
    const rows = [
      [
        { role: "user" as const, content: "q" },
        { role: "assistant" as const, content: "a" },
      ],
    ];
    expect(await importRows("mine", rows)).toMatchObject({
      name: "mine",
      rows: 1,
      format: "openai",
    });
    for (const language of ["en", "zh"] as const) {
      const data = await importIdentity("Ada", "Robin", language);
      expect(data).toMatchObject({ format: "openai", duplicates: 0, empty: 0, broken: 0 });
      expect(data.rows).toBeGreaterThan(100);
    }
  });

  test("a sample comes from beside the page, once", async () => {
    const fetched: string[] = [];
    vi.stubGlobal("fetch", async (url: string) => {
      fetched.push(url);
      return new Response(readFileSync(`public/data/${url.split("/").at(-1)}`));
    });
    const base = "https://example.org/hone/";
    const first = await importSample("colors", base);
    expect(first).toMatchObject({
      id: "sample-colors",
      format: "alpaca",
      duplicates: 0,
      broken: 0,
    });
    expect(await importSample("colors", base)).toEqual(first);
    expect(fetched).toEqual(["https://example.org/hone/data/colors.jsonl"]);
    for (const name of ["identity-en", "identity-zh"] as const) {
      expect(await importSample(name, base)).toMatchObject({ format: "openai", broken: 0 });
    }
  });
});

test.each([
  ["identity-en", "Alex", "Robin", "en"],
  ["identity-zh", "小明", "小石", "zh"],
] as const)("the sample %s is what its generator writes", (name, owner, assistant, language) => {
  const rows = identityRows(owner, assistant, language).map((messages) => ({ messages }));
  expect(readFileSync(`public/data/${name}.jsonl`, "utf8")).toBe(`${jsonl(rows)}\n`);
});

describe("problems are told with row and line, and keep their rows out", () => {
  const rows = [
    JSON.stringify(alpaca(1)), // row 1, line 1
    "",
    '{"instruction": "x", "output": ', // row 2, line 3: not JSON
    JSON.stringify(alpaca(1)), // row 3: a duplicate
    JSON.stringify({ instruction: "x", input: "", output: [5] }), // row 4: not a text
    "[1]", // row 5: no object
    JSON.stringify({ instruction: "x", output: "<nooutput>" }), // row 6: nothing to learn
    JSON.stringify(alpaca(7)), // row 7, line 8
  ];

  test("in the list of issues, in the table, and not in the file", async () => {
    const data = await importOf("d.jsonl", rows.join("\n"));
    expect(data).toMatchObject({ rows: 7, issueCount: 5, broken: 3, duplicates: 1, empty: 1 });
    const issues = await readIssues(data.id, 0, 10);
    expect(issues.map(({ row, line, kind }) => [row, line, kind])).toEqual([
      [2, 3, "broken"],
      [3, 4, "duplicate"],
      [4, 5, "format"],
      [5, 6, "format"],
      [6, 7, "empty"],
    ]);
    expect(issues.map(({ message }) => message)).toEqual([
      'is not JSON: {"instruction": "x", "output":',
      "it is the same as row 1",
      '"output" is a list, where a text is needed; its keys: instruction, input, output.',
      "it is not a JSON object.",
      "it holds no conversation",
    ]);
    expect(await readIssues(data.id, 3, 1)).toEqual([issues[3]]);
    const table = await tableRows(data.id, 0, 100);
    expect(table.map(({ row, messages, issue }) => [row, messages.length, issue])).toEqual([
      [1, 2, undefined],
      [2, 0, issues[0]!.message],
      [3, 2, issues[1]!.message],
      [4, 0, issues[2]!.message],
      [5, 0, issues[3]!.message],
      [6, 0, issues[4]!.message],
      [7, 2, undefined],
    ]);
    expect(await tableRows(data.id, 6, 1)).toEqual([{ row: 7, messages: say("ask 7\n", "say 7") }]);
    expect((await stored(data.id)).trim().split("\n")).toHaveLength(4);
    await expect(readConversation(data.id, 1)).rejects.toThrow("Row 2 of d.jsonl is left out");
    expect(await readConversation(data.id, 6)).toEqual([{ input: "ask 7\n", output: "say 7" }]);
  });

  test("a row of the table can be found however many were left out before it", async () => {
    const many = Array.from({ length: 1000 }, (_, i) =>
      i % 3 === 1 ? "oops" : JSON.stringify(alpaca(i + 1)),
    );
    const data = await importOf("m.jsonl", many.join("\n"));
    expect(data.broken).toBe(333);
    for (const start of [0, 1, 2, 499, 997, 998]) {
      const [row] = await tableRows(data.id, start, 1);
      expect(row?.row).toBe(start + 1);
      expect(row?.messages).toEqual(
        start % 3 === 1 ? [] : say(`ask ${start + 1}\n`, `say ${start + 1}`),
      );
    }
  });
});

describe("columns that no format has are named by the person", () => {
  const csv = 'topic,asked,told,score\nsun,"How hot\nis it?",Very.,3\nmoon,Is it near?,,4\n"x\n';

  test("and the rows are then messages, however often the choice changes", async () => {
    const data = await importOf("q.csv", csv);
    expect(data).toMatchObject({
      format: null,
      rows: 3,
      broken: 1,
      columns: ["topic", "asked", "told", "score"],
    });
    expect(data.reason).toContain("rows with the keys topic, asked, told, score");
    expect(await tableRows(data.id, 0, 3)).toEqual([
      {
        row: 1,
        messages: [],
        fields: [
          ["topic", "sun"],
          ["asked", "How hot\nis it?"],
          ["told", "Very."],
          ["score", "3"],
        ],
      },
      {
        row: 2,
        messages: [],
        fields: [
          ["topic", "moon"],
          ["asked", "Is it near?"],
          ["told", ""],
          ["score", "4"],
        ],
      },
      { row: 3, messages: [], issue: "the file ends inside quotes." },
    ]);
    await expect(dataFile(data.id)).rejects.toThrow("Nobody has said yet");

    const mapped = await mapData(data.id, { system: "topic", input: "asked", output: "told" });
    expect(mapped).toMatchObject({
      format: "columns",
      rows: 3,
      broken: 1,
      empty: 1,
      columns: data.columns,
    });
    expect(await stored(data.id)).toBe(
      `${jsonl([
        { messages: [{ role: "system", content: "sun" }, ...say("How hot\nis it?", "Very.")] },
        { messages: [] },
      ])}\n`,
    );
    const again = await mapData(data.id, { input: "asked", output: "score" });
    expect(again).toMatchObject({ mapping: { input: "asked", output: "score" }, empty: 0 });
    expect(
      (await tableRows(data.id, 1, 2)).map(({ messages, issue }) => [messages, issue]),
    ).toEqual([
      [say("Is it near?", "4"), undefined],
      [[], "the file ends inside quotes."],
    ]);
    await expect(mapData(data.id, { input: "asked", output: "nothing" })).rejects.toThrow(
      'has no column "nothing"',
    );
  });

  test("which a data set of a known format does not need", async () => {
    const { id } = await importText("t", jsonl([alpaca(1)]));
    await expect(mapData(id, { input: "input", output: "output" })).rejects.toThrow(
      "needs no columns",
    );
  });
});

describe("what is no data is refused in words, and leaves nothing behind", () => {
  test.each<[string, string, BlobPart, string]>([
    ["nothing", "a.json", "", "holds no rows"],
    ["white space", "a.jsonl", " \n\n", "holds no rows"],
    ["a ZIP archive", "a.json", "PK\u0003\u0004rest", "a ZIP archive"],
    ["a workbook", "a.xlsx", "PK\u0003\u0004rest", "an Excel workbook"],
    ["a web page", "a.jsonl", "\n<!DOCTYPE html><html>", "a web page"],
    ["UTF-16 with a mark", "a.json", utf16('{"a":1}', "\uFEFF"), "UTF-16 text"],
    ["UTF-16 without one", "a.json", utf16('{"instruction":1}', ""), "as in UTF-16"],
    [
      "bytes",
      "a.csv",
      new Uint8Array([0x61, 0x2c, 0x62, 0x0a, 0xff, 0x2c, 0x62]),
      "is not UTF-8 text",
    ],
    ["a list that is cut", "a.json", '[{"instruction": "x"', "the list is never closed"],
    ["rows that are all broken", "a.jsonl", "{\n{\n", "line 1 (row 1) is not JSON"],
    ["rows without a known column", "a.jsonl", '{"remark": "x"}', "which is no format known here"],
    ["numbers", "a.json", "[1, 2]", "it is not a JSON object"],
    ["one object over many lines", "a.json", '{\n "data": []\n}', "is not JSON"],
    ["a table that is too wide", "a.csv", `${"a,".repeat(2000)}\n`, "more than 1,000 columns"],
    [
      "an object that is too wide",
      "a.json",
      `{${Array.from({ length: 2000 }, (_, i) => `"k${i}":1`).join()}}`,
      "more than 1,000 columns",
    ],
  ])("%s", async (_, name, content, problem) => {
    await expect(importOf(name, content)).rejects.toThrow(problem);
    await expect(importOf(name, content)).rejects.toMatchObject({ name: "UserError" });
    expect(await shelf()).toEqual([]);
    expect(disk.openHandles).toBe(0);
  });

  test("a full disk too", async () => {
    disk.quotaBytes = 20_000;
    const big = jsonl(Array.from({ length: 5000 }, (_, i) => alpaca(i)));
    await expect(importOf("big.jsonl", big)).rejects.toMatchObject({ name: "UserError" });
    expect(await shelf()).toEqual([]);
  });

  test("an import that is canceled", async () => {
    const big = file("big.jsonl", jsonl(Array.from({ length: 20_000 }, (_, i) => alpaca(i))));
    const importing = importFile(big, () => cancelImports());
    await expect(importing).rejects.toMatchObject({ name: "AbortedError" });
    expect(await shelf()).toEqual([]);
  });

  test("one whose tab was closed goes at the next start, and one under way does not", async () => {
    const { id } = await importText("kept", jsonl([alpaca(1)]));
    await (await entryFolder("data", "left-1")).write("data.jsonl", "{}\n");
    await navigator.locks.request("hone-data-busy-1", async () => {
      await (await entryFolder("data", "busy-1")).write("data.jsonl", "{}\n");
      await cleanData();
      expect(await shelf()).toEqual(["busy-1", id].toSorted());
    });
  });
});

describe("hostile rows", () => {
  test("odd keys, deep nesting, zero bytes and long lines are data or issues", async () => {
    const deep = `{"instruction": ${"[".repeat(1e5)}${"]".repeat(1e5)}, "input": "", "output": "x"}`;
    const long = { instruction: "l".repeat(2 ** 20), input: "", output: "x" };
    const rows = [
      '{"instruction": "p", "input": "", "output": "q", "__proto__": {"polluted": true}}',
      deep,
      '{"instruction": "zero \u0000", "input": "", "output": "x"}',
      JSON.stringify(long),
    ];
    const data = await importOf("h.jsonl", rows.join("\n"));
    expect(data).toMatchObject({ rows: 4, broken: 2 });
    expect((await readIssues(data.id, 0, 9)).map(({ row, kind }) => [row, kind])).toEqual([
      [2, "format"],
      [3, "broken"],
    ]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    const [first] = (await stored(data.id)).split("\n");
    expect(first).toContain('"__proto__":{"polluted":true}');
    const [shown] = await tableRows(data.id, 3, 1);
    expect(shown?.messages[0]?.content).toHaveLength(2001); // the beginning and "…"
  });
});

describe("a list that people keep in order", () => {
  test("names change, sets go, the newest is first", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(1000);
    const first = await importText("  one\u0000\nset  ", jsonl([alpaca(1)]));
    vi.setSystemTime(2000);
    const second = await importText("two", jsonl([alpaca(2)]));
    vi.useRealTimers();
    expect(first.name).toBe("one set");
    expect(await names()).toEqual(["two", "one set"]);
    expect(await renameData(first.id, "uno")).toEqual({ ...first, name: "uno" });
    await deleteData(second.id);
    expect(await names()).toEqual(["uno"]);
    await expect(tableRows(second.id, 0, 1)).rejects.toThrow("There is no data set");
    await expect(deleteData("../models")).rejects.toMatchObject({ name: "UserError" });
  });

  test("two sets of one name do not meet", async () => {
    const [a, b] = await Promise.all([
      importText("same", jsonl([alpaca(1)])),
      importText("same", jsonl([alpaca(2)])),
    ]);
    expect(a.id).not.toBe(b.id);
    expect(await listData()).toHaveLength(2);
  });
});

test("100,000 rows are stored in seconds, other calls are answered meanwhile, and any row is near", async () => {
  const rows = 100_000;
  const text = jsonl(Array.from({ length: rows }, (_, i) => alpaca(i)));
  let longest = 0;
  let before = performance.now();
  const beat = setInterval(() => {
    longest = Math.max(longest, performance.now() - before);
    before = performance.now();
  }, 1);
  const told: number[] = [];
  const started = performance.now();
  const data = await importFile(file("big.jsonl", text), (bytes, total) =>
    told.push(bytes / total),
  );
  const seconds = (performance.now() - started) / 1000;
  clearInterval(beat);
  expect(data).toMatchObject({ rows, broken: 0, duplicates: 0 });
  expect(told.at(-1)).toBe(1);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  // Two seconds on a free core; ten times that on a busy one.
  expect(seconds).toBeLessThan(20);
  expect(longest).toBeLessThan(3000); // 50 ms on a free core

  const looked = performance.now();
  for (let i = 0; i < 50; i++) {
    const start = (i * 7919) % rows;
    const [row] = await tableRows(data.id, start, 40);
    expect(row?.messages[1]?.content).toBe(`say ${start}`);
  }
  // A page is some kilobytes of the file, read in milliseconds; all of it would take a second or more.
  expect((performance.now() - looked) / 50).toBeLessThan(300);
}, 60_000);
