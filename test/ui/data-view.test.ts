import { describe, expect, test } from "vitest";
import type { FunnelReport, PreviewToken, StoredData } from "../../src/services/api.ts";
import {
  createPages,
  funnelNumbers,
  guessMapping,
  mappedMessages,
  runsOf,
  visibleText,
  writtenRows,
} from "../../src/ui/data-view.ts";

const token = (id: number, isTrained: boolean): PreviewToken => ({
  id,
  text: `${id}`,
  isTrained,
});
const turn = (user: string, assistant: string) => ({ user, assistant });
const later = () => new Promise((resolve) => setTimeout(resolve, 0));
const list = (load?: (start: number) => void) =>
  createPages(async (start, count) => {
    load?.(start);
    return Array.from({ length: count }, (_, i) => start + i);
  });

describe("columns are guessed by their names, and else taken in order", () => {
  test.each([
    [["id", "Question", "Answer"], { input: "Question", output: "Answer" }],
    [
      ["completion", "prompt", "system"],
      { system: "system", input: "prompt", output: "completion" },
    ],
    [["问题", "回答"], { input: "问题", output: "回答" }],
    [["frage", "antwort"], { input: "frage", output: "antwort" }],
    [["text", "output"], { input: "text", output: "output" }],
    [["input", "label"], { input: "input", output: "label" }],
    [["constructor", "__proto__"], { input: "constructor", output: "__proto__" }],
  ])("%j", (columns, mapping) => {
    expect(guessMapping(columns)).toEqual(mapping);
  });
});

test("a mapping is shown on the first row's fields, without what is empty", () => {
  const fields = [
    ["q", "Why?"],
    ["a", "So."],
    ["s", ""],
  ] as const;
  expect(mappedMessages(fields, { system: "s", input: "q", output: "a" })).toEqual([
    { role: "user", content: "Why?" },
    { role: "assistant", content: "So." },
  ]);
});

test("tokens of a kind stand together, in order", () => {
  const tokens = [token(1, false), token(2, false), token(3, true), token(4, false)];
  const runs = runsOf(tokens);
  expect(runs.map((run) => [run.isTrained, run.tokens.map(({ id }) => id)])).toEqual([
    [false, [1, 2]],
    [true, [3]],
    [false, [4]],
  ]);
});

test("white space is seen, and so is a token that is only part of a character", () => {
  expect(visibleText(" a\tb\r\n")).toBe("·a→b␍↵\n");
  expect(visibleText("")).toBe("◌");
});

describe("examples written by hand", () => {
  test("become conversations; those left blank count for nothing", () => {
    const rows = writtenRows([
      { system: "Be kind.", turns: [turn("q", "a"), turn(" ", "")] },
      { system: "", turns: [turn("", "")] },
      { system: "", turns: [turn("q1", "a1"), turn("q2", "a2")] },
    ]);
    expect(rows?.map((row) => row.map(({ role }) => role))).toEqual([
      ["system", "user", "assistant"],
      ["user", "assistant", "user", "assistant"],
    ]);
  });
  test("are not ready while a question has no answer", () => {
    expect(writtenRows([{ system: "", turns: [turn("q", "")] }])).toBeUndefined();
    expect(writtenRows([{ system: "", turns: [turn("", "a")] }])).toBeUndefined();
  });
});

test("the funnel counts rows that never reached training too", () => {
  const report = {
    rowsRead: 90,
    droppedBroken: 0,
    droppedEmpty: 3,
    droppedUnlabeled: 2,
    kept: 85,
    evaluationExamples: 5,
    trainExamples: 80,
    trainRows: 7,
    maxLength: 100,
    trainTokens: 630,
    tokens: 700,
    labelTokens: 350,
  } as unknown as FunnelReport;
  const sets = [
    { broken: 8, duplicates: 4 },
    { broken: 2, duplicates: 0 },
  ] as unknown as StoredData[];
  expect(funnelNumbers(report, sets)).toEqual({
    read: 100,
    broken: 10,
    empty: 3,
    unlabeled: 2,
    duplicates: 4,
    kept: 85,
    heldOut: 5,
    train: 80,
    rows: 7,
    filled: 90,
    learned: 50,
  });
});

describe("a long list is fetched a page at a time", () => {
  test("each page once, and its neighbors are there with it", async () => {
    const asked: number[] = [];
    const pages = list((start) => asked.push(start));
    expect(pages.at(120)).toBeUndefined();
    expect(pages.at(101)).toBeUndefined();
    await later();
    expect([pages.at(100), pages.at(149)]).toEqual([100, 149]);
    expect(asked).toEqual([100]);
  });

  test("what was scrolled past is not fetched, and where it stopped is", async () => {
    const asked: number[] = [];
    const pages = list((start) => asked.push(start));
    for (let row = 0; row < 100_000; row += 50) pages.at(row);
    for (let i = 0; i < 9; i++) await later();
    expect(asked.length).toBeLessThan(10);
    expect(pages.at(99_999)).toBe(99_999);
  });

  test("a page that failed is asked for again", async () => {
    let fails = true;
    const pages = list(() => {
      if (fails) throw new Error("the worker is gone");
    });
    pages.at(0);
    await later();
    fails = false;
    pages.at(0);
    await later();
    expect(pages.at(7)).toBe(7);
  });
});
