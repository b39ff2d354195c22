// hone list-dataset-format, as scripts that were made for XTuner's read it.
import { expect, test } from "vitest";
import { listFormatsCommand } from "../../src/cli/list-dataset-format.ts";
import type { Output } from "../../src/cli/output.ts";
import { createPaint } from "../../src/cli/terminal.ts";
import { mapRow, type DatasetFormatName } from "../../src/data/formats.ts";

async function printed(...flags: string[]) {
  let text = "";
  const events: Record<string, unknown>[] = [];
  const output: Output = {
    isJson: false,
    isLive: false,
    columns: 80,
    paint: createPaint(process.stderr),
    say: () => {},
    print: (more) => void (text += more),
    emit: (type, fields) => void events.push({ type, ...fields }),
    status: () => {},
  };
  const command = listFormatsCommand(async (job) => {
    await job({ output, adapter: "auto", tune: undefined });
  });
  await command.parseAsync(flags, { from: "user" });
  return { lines: text.split("\n"), events };
}

test("a banner, XTuner's twenty in its order and then Hone's own, a line of as many signs", async () => {
  const { lines } = await printed();
  expect(lines[0]).toBe("======================DATASET_FORMAT======================");
  expect(lines.slice(1, 21).join(" ")).toBe(
    "alpaca alpaca_zh arxiv code_alpaca colors crime_kg_assitan default law_reference llava_image_only llava medical msagent_react oasst1 openai openorca pretrain sql stack_exchange tiny_codes wizardlm",
  );
  expect(lines.slice(21, 23)).toEqual(["standard", "sharegpt"]);
  expect(lines.at(-2)).toBe("=".repeat(58));
});

test("with rows, each of which is one of its format", async () => {
  const { lines } = await printed("--rows");
  const at = lines.indexOf("sql");
  const value: unknown = JSON.parse(lines[at + 2]!);
  expect(mapRow("sql", { value, row: 1, line: 1 }, "d")[0]?.input).toContain("CREATE TABLE");
});

test("as events, with whose a format is", async () => {
  const { events } = await printed();
  expect(events.filter(({ xtuner }) => xtuner === true)).toHaveLength(20);
  expect(
    events.every(({ type, example }) => type === "dataset_format" && example !== undefined),
  ).toBe(true);
  const names = events.map(({ name }) => name as DatasetFormatName);
  expect(names).toContain("prompt_completion");
});
