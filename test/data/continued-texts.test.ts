// Texts that go on over rows, and rows that cannot be mapped: what a data set does with either.
import { describe, expect, test } from "vitest";
import { encodeDataset, type EncodeDatasetOptions } from "../../src/data/dataset.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import { listOf } from "./lists.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const options: EncodeDatasetOptions = {
  tokenizer: toyTokenizer,
  template: promptTemplate("default"),
  maxLength: 64,
};
const file = (rows: readonly unknown[], name = "d.jsonl") => ({
  name,
  stream: () => [rows.map((row) => JSON.stringify(row)).join("\n")],
});

async function textsOf(files: readonly ReturnType<typeof file>[], more: object = {}) {
  const { examples, funnel } = await encodeDataset(files, { ...options, ...more });
  return { funnel, texts: listOf(examples).map(({ inputIds }) => toyTokenizer.decode(inputIds)) };
}

describe('a column "continues"', () => {
  test("holds together texts under any name that the format knows", async () => {
    const { texts } = await textsOf([
      file([{ content: "a " }, { content: "b ", continues: true }, { content: "c" }]),
    ]);
    expect(texts).toEqual([expect.stringContaining("a "), expect.stringContaining("b c")]);
  });

  test("that is not true says nothing", async () => {
    const { texts } = await textsOf([file([{ text: "a", continues: "no" }, { text: "b" }])]);
    expect(texts).toHaveLength(2);
  });

  test("of a file's last row reaches neither into nothing nor into the next file", async () => {
    const { texts, funnel } = await textsOf([
      file([{ text: "a" }, { text: "b", continues: true }], "one.jsonl"),
      file([{ text: "c", continues: true }], "two.jsonl"),
    ]);
    expect(texts).toEqual(["a", "b", "c"].map((text) => expect.stringContaining(text)));
    expect(funnel).toMatchObject({ rowsRead: 3, kept: 3 });
  });
});

describe("a row that cannot be mapped", () => {
  const rows = [
    { instruction: "q", input: "", output: "a" },
    { instruction: "q", input: "" },
    { instruction: "r", input: "", output: "b" },
  ];

  test("ends the read, with its place", async () => {
    await expect(encodeDataset([file(rows)], options)).rejects.toThrow(
      /d\.jsonl, row 2 \(line 2\)/,
    );
  });

  test("is left out and counted once where broken rows are", async () => {
    const more = { brokenRows: "drop", format: "alpaca" };
    const { funnel } = await textsOf([file(rows)], more);
    expect(funnel).toMatchObject({ rowsRead: 3, droppedBroken: 1, kept: 2 });
    expect(funnel.firstBroken).toMatch(/^d\.jsonl, row 2 \(line 2\): "output" is missing/);
  });

  test("is counted once among rows that a draw leaves out, and among texts", async () => {
    const drawn = await textsOf([file(rows)], { brokenRows: "drop", maxRows: 3, format: "alpaca" });
    expect(drawn.funnel).toMatchObject({ rowsRead: 3, droppedBroken: 1, notDrawn: 0, kept: 2 });
    const broken = [{ text: "a", continues: true }, { text: 1 }, { text: "b" }];
    const { texts, funnel } = await textsOf([file(broken)], { brokenRows: "drop", format: "text" });
    expect(funnel).toMatchObject({ rowsRead: 3, droppedBroken: 1, kept: 2 });
    expect(texts).toEqual([expect.stringContaining("a"), expect.stringContaining("b")]);
  });
});

test("a row that is not drawn is not doubted", async () => {
  const good = { text: "### Human: Hi\n### Assistant: Hello" };
  const odd = { text: "### Human: Hi\n### Assistant: # A\n### B" };
  const oasst1 = { format: "oasst1", maxRows: 1 };
  for (let seed = 0; seed < 8; seed++) {
    const rows = [good, odd];
    const { funnel, texts } = await textsOf([file(rows)], { ...oasst1, seed });
    // The first row is drawn at first in any case; the second is asked only where it takes its place.
    expect(funnel.doubtful).toBe(texts[0]?.includes("Hello") === true ? 0 : 1);
  }
});
