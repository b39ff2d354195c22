import * as fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { encodeDataset } from "../../src/data/dataset.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import { importFile } from "../../src/services/data-import.ts";
import { readIssues, tableRows } from "../../src/services/data-read.ts";
import { deleteData, mapData } from "../../src/services/data-store.ts";
import { dataSources, shelfFolder } from "../../src/services/storage.ts";
import { toyTokenizer } from "../data/toy-tokenizer.ts";
import { stubBrowser } from "../hosts/memory-browser.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";

let disk: MemoryDisk;
beforeEach(() => {
  disk = stubBrowser();
});
afterEach(() => vi.unstubAllGlobals());

const ROWS = Array.from({ length: 5 }, (_, i) => i);
const lines = (make: (i: number) => unknown) => ROWS.map((i) => JSON.stringify(make(i))).join("\n");
const turn = (i: number) => [
  { role: "user", content: `frag ${i}, "ä"` },
  { role: "assistant", content: `sag ${i}` },
];

const FILES: readonly string[] = [
  lines((i) => ({ messages: turn(i) })),
  JSON.stringify(
    ROWS.map((i) => ({ conversation: [{ input: `q ${i}`, output: "a" }] })),
    null,
    1,
  ),
  lines((i) => ({ instruction: `i ${i}`, input: "", output: "o" })),
  lines((i) => ({
    conversations: [
      { from: "human", value: `${i}` },
      { from: "gpt", value: "x" },
    ],
  })),
  lines((i) => ({ question: i, answer: [i], 列: null })),
  `input,output\n${ROWS.map((i) => `"q ""${i}""\nmore",${i}`).join("\r\n")}\n`,
  `frage;antwort\n${ROWS.map((i) => `f ${i};a ${i}`).join("\n")}`,
];

/** Pieces of text that readers trip over. */
const SPLINTERS = [
  "\0", "\uFEFF", "[", "]", "{", "}", '"', "\\", ",", "\n", "\r", "\t", ";", "null", "1e999",
  '"__proto__":', '{"messages":[]}', '{"messages":[{"role":"tool","content":1}]}', "\u{1F600}", "\uD800",
  "<html>", "PK\u0003\u0004",
]; // prettier-ignore

const mutation = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  removed: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(400)),
  added: fc.oneof(
    fc.constantFrom(...SPLINTERS).map((text) => new TextEncoder().encode(text)),
    fc.uint8Array({ maxLength: 4 }),
  ),
});

type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never;

function mutate(bytes: Uint8Array, { at, removed, added }: Mutation): Uint8Array {
  const start = Math.floor(at * bytes.length);
  return Uint8Array.of(...bytes.subarray(0, start), ...added, ...bytes.subarray(start + removed));
}

test("a damaged file is stored, and then every row can be shown and trained on, or refused with a reason", async () => {
  const untouched = Object.getOwnPropertyNames(Object.prototype);
  let kept = 0;
  const outcome = async (action: () => Promise<void>) => {
    try {
      await action();
      kept++;
    } catch (error) {
      // A problem and a remedy.
      if (!(error instanceof UserError) || !/^.+\n.+/.test(error.message)) throw error;
    }
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...FILES),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.constantFrom("a.json", "a.jsonl", "a.csv", "a.txt", "a"),
      async (text, mutations, name) => {
        const bytes = mutations.reduce(mutate, new TextEncoder().encode(text));
        let id: string | undefined;
        await outcome(async () => {
          let data = await importFile(new File([new Uint8Array(bytes)], name), () => {});
          ({ id } = data);
          const [input = "", output = ""] = data.columns;
          if (data.format === null) data = await mapData(id, { input, output });
          const table = await tableRows(id, 0, data.rows + 5);
          expect(table.map(({ row }) => row)).toEqual(table.map((_, i) => i + 1));
          expect(table).toHaveLength(data.rows);
          const issues = await readIssues(id, 0, 1000);
          expect(issues).toHaveLength(data.issueCount);
          const { funnel } = await encodeDataset(await dataSources([id]), {
            tokenizer: toyTokenizer,
            template: promptTemplate("default"),
            maxLength: 32,
          });
          expect(funnel.rowsRead).toBe(data.rows - data.broken);
          expect(funnel.droppedEmpty).toBe(data.empty);
        });
        if (id !== undefined) await deleteData(id);
        expect(await (await shelfFolder("data")).list()).toEqual([]);
        expect(disk.openHandles).toBe(0);
      },
    ),
    { numRuns: 1500 },
  );
  expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(untouched);
  // Both ends happen, or the test says nothing.
  expect(kept).toBeGreaterThan(150);
  expect(kept).toBeLessThan(1350);
}, 120_000);
