// Configs that the page has read for it: XTuner's, and the ready-made ones by words in their names.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findReadyConfigs, readReadyConfig, readXtuner } from "../../src/services/config-files.ts";

const NAME = "internlm2_1_8b_qlora_alpaca_e3";

async function names(pattern: string): Promise<string[]> {
  const found = await findReadyConfigs(pattern);
  return found.map(({ name }) => name);
}

test("a config of XTuner is read with what its reader should know", async () => {
  const path = join(import.meta.dirname, `../fixtures/xtuner/${NAME}_copy.py`);
  const { config, notes } = await readXtuner(readFileSync(path, "utf8"), "a.py");
  expect(config).toMatchObject({ compat: "xtuner-0.1.17", max_epochs: 2 });
  expect(notes.map(({ severity }) => severity)).toEqual(["info"]);
  await expect(readXtuner("import os\n", "a.py")).rejects.toThrow(
    /a\.py .*line 1: an import from os/,
  );
});

test("ready-made configs are found by words in any order and case, and the first of many", async () => {
  expect(await names("E3 internlm2_1_8b QLORA_alpaca_e3")).toEqual([NAME]);
  expect(await names("")).toHaveLength(50);
  expect(await names("no such model")).toEqual([]);
});

test("one of them is read by its name", async () => {
  const { config } = await readReadyConfig(NAME);
  expect(config).toMatchObject({ max_epochs: 3, prompt_template: "default", compat: "none" });
});
