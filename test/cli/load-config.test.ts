// A config with what the command line changed: the text that a run keeps says the same run.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadConfig } from "../../src/cli/load-config.ts";

const TUTORIAL = join(
  import.meta.dirname,
  "../fixtures/xtuner/internlm2_1_8b_qlora_alpaca_e3_copy.py",
);

/** The text as a file of its own. */
function kept(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "hone-")), "kept.py");
  writeFileSync(path, text);
  return path;
}

test("a file kept as it was is the file", () => {
  const { source } = loadConfig(TUTORIAL);
  expect(source.text).not.toContain("command line");
});

test.each([
  [{ cfgOptions: ["model.lora.lora_alpha=32", "train_dataloader.dataset.max_length=512"] }],
  [{ set: ["lora.lora_alpha=32", "seed=7", "lr=1e-3"] }],
  [{ cfgOptions: ["model.lora.r=4"], set: ["lora.r=8", "batch_size=2", "accumulative_counts=3"] }],
])("%j: what is kept is read back to the same run", (changes) => {
  const { config, source } = loadConfig(TUTORIAL, changes);
  expect(source.text).toMatch(/\n# Changed on the command line:\nmodel\['lora'\]/);
  expect(loadConfig(kept(source.text)).config).toEqual(config);
});

test("an option that XTuner's structure has no place for is a comment", () => {
  const { source } = loadConfig(TUTORIAL, { set: ["eval_split=0.1", "lora.r=8"] });
  expect(source.text).toMatch(
    /\nmodel\['lora'\]\['r'\] = 8\n# --set "eval_split=0.1": config.yaml has it\n$/,
  );
});

test("a seed over randomness = None is a comment", () => {
  const path = kept(`${readFileSync(TUTORIAL, "utf8")}\nrandomness = None\n`);
  const { config, source } = loadConfig(path, { set: ["seed=7"] });
  expect(config.seed).toBe(7);
  expect(source.text).toMatch(/\n# --set "seed=7": config.yaml has it\n$/);
});
