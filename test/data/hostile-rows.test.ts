// Rows made to take time or to overflow the stack: each is mapped or refused in words, and soon.
import { describe, expect, test } from "vitest";
import { encodeDataset } from "../../src/data/dataset.ts";
import { detectFormat, mapRow } from "../../src/data/formats.ts";
import { readPythonJson, readPythonLiteral } from "../../src/data/python-literal.ts";
import { promptTemplate } from "../../src/data/templates.ts";
import { toyTokenizer } from "./toy-tokenizer.ts";

const rowOf = (value: unknown) => ({ value, row: 1, line: 1 });
const transcript = (system: string) => ({
  conversations: [
    { from: "system", value: system },
    { from: "user", value: "Hi" },
    { from: "assistant", value: "Hello" },
  ],
});
const mapAgent = (system: string) => mapRow("msagent_react", rowOf(transcript(system)), "d.json");

describe("tools in a system text", () => {
  const tool = '{"name": "search", "description": "finds"}';

  test("are found between what is none, and in what is none", () => {
    const [turn] = mapAgent(`{ {"a": {"b": [${tool}]}, {"c" ${tool} {"name": 1} {`);
    expect(turn?.system).toContain("{'search': 'finds'}");
  });

  test("are looked for in a long list once", () => {
    const many = Array.from({ length: 5000 }, (_, i) => tool.replace("search", `search${i}`));
    const [turn] = mapAgent(`{"tools": [${many.join(", ")}]}`);
    expect(turn?.system).toContain("'search4999': 'finds'");
  });

  test.each([
    ["objects in objects", '{"a":'.repeat(60_000)],
    ["lists in objects", `{"a":${"[".repeat(190)}`.repeat(500) + '{"a":'.repeat(30_000)],
  ])("are not looked for without end: %s", (_, text) => {
    const started = performance.now();
    expect(() => mapAgent(text)).toThrow(/conversations\[0\]: "value" has objects in objects/);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("are not looked for in braces without keys", () => {
    const started = performance.now();
    expect(mapAgent("{".repeat(3_000_000))).toHaveLength(1);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("white space and numbers without end in a list", () => {
  const million = 1 << 20;
  test.each([
    ["spaces", " ".repeat(30 * million)],
    ["comments", "#\n".repeat(2 * million)],
    ["joined lines", "\\\n".repeat(2 * million)],
  ])("%s are skipped", (_, space) => {
    expect(readPythonLiteral(`[${space}1]`)).toEqual([1n]);
  });

  test("a number of millions of digits is none", () => {
    expect(readPythonLiteral(`[${"1".repeat(30 * million)}]`)).toBeUndefined();
    expect(readPythonJson(`[${"1".repeat(30 * million)}]`)).toBeUndefined();
  });
});

test("a row nested too deep is refused in words wherever it stands", async () => {
  let nested: unknown = "x";
  for (let depth = 0; depth < 20_000; depth++) nested = [nested];
  const deep = { conversations: nested };
  expect(() => detectFormat([rowOf(deep)], "d.json").format).not.toThrow(RangeError);
  const good = {
    conversations: [
      { from: "human", value: "Hi" },
      { from: "gpt", value: "Hello" },
    ],
  };
  const lines = [
    JSON.stringify(good),
    `{"conversations":${"[".repeat(20_000)}${"]".repeat(20_000)}}`,
  ];
  const read = (brokenRows: "refuse" | "drop") =>
    encodeDataset([{ name: "d.jsonl", stream: () => [lines.join("\n")] }], {
      tokenizer: toyTokenizer,
      template: promptTemplate("default"),
      maxLength: 64,
      brokenRows,
    });
  await expect(read("refuse")).rejects.toThrow(/^d\.jsonl, .*row 2/);
  expect((await read("drop")).funnel).toMatchObject({ rowsRead: 2, droppedBroken: 1, kept: 1 });
});
