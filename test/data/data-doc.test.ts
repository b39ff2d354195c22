// docs/data.md against what it is about.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DATASET_FORMATS, describeFormat, detectFormat, mapRow } from "../../src/data/formats.ts";

const text = readFileSync("docs/data.md", "utf8");

test.each(DATASET_FORMATS)("%s is there, with a row of it", (format) => {
  const section = text.split(`**\`${format}\`** `)[1] ?? "";
  expect(section.split("```json\n")[1]?.split("\n```")[0]).toBe(
    JSON.stringify(describeFormat(format).example),
  );
});

test("the row with tools is read as it is said to be", () => {
  const [, json = ""] = /^## Tools\n\n```json\n(.*)\n```/m.exec(text) ?? [];
  const row = { value: JSON.parse(json) as unknown, row: 1, line: 1 };
  const { format } = detectFormat([row], "d");
  const [called, answered] = mapRow(format, row, "d");
  expect(called?.tools).toHaveLength(1);
  expect(called?.toolCalls).toHaveLength(1);
  expect(answered).toMatchObject({ context: [{ role: "tool" }], output: "Three degrees." });
});
