// A config that is named with a checkpoint of Hone must be the one of its run.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { refuseOtherConfig } from "../../../src/engine/exports/checkpoint-match.ts";
import { ADAPTER_DEFAULTS, serializeAdapterConfig } from "../../../src/formats/peft.ts";
import { openFolder } from "../../../src/hosts/node.ts";

const configOf = (options: object) =>
  parseConfig({ model: "m", data: ["d"], ...options }, "the test");
const TRAINED = {
  prompt_template: "qwen_chat",
  lora: { r: 4, lora_alpha: 8, target_modules: ["wo", "w1"] },
};

/** A checkpoint that was trained so, without its weights. */
function checkpointOf(trained: object, chosen: string) {
  const config = configOf(trained);
  const path = mkdtempSync(join(tmpdir(), "hone-match-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  const { r: rank, lora_alpha: alpha } = config.lora;
  const adapter = { ...ADAPTER_DEFAULTS, rank, alpha, targetModules: ["w1", "wo"] };
  writeFileSync(join(path, "adapter_config.json"), serializeAdapterConfig(adapter));
  const manifest = { prompt_template: chosen, config };
  writeFileSync(join(path, "training_manifest.json"), JSON.stringify(manifest));
  return openFolder(path);
}

test("the run's own config passes, with its names in any order", async () => {
  const checkpoint = checkpointOf(TRAINED, "qwen_chat");
  await expect(refuseOtherConfig(checkpoint, configOf(TRAINED))).resolves.toBeUndefined();
  const turned = { ...TRAINED.lora, target_modules: ["w1", "wo"] };
  await refuseOtherConfig(checkpoint, configOf({ ...TRAINED, lora: turned }));
  const auto = { ...TRAINED, prompt_template: "auto" };
  await refuseOtherConfig(checkpointOf(auto, "qwen_chat"), configOf(auto));
});

test.each([
  [{ lora: { ...TRAINED.lora, r: 8 } }, "has r 4, and the config says 8"],
  [{ lora: { ...TRAINED.lora, lora_alpha: 16 } }, "has lora_alpha 8, and the config says 16"],
  [
    { lora: { ...TRAINED.lora, target_modules: ["wo"] } },
    "has target_modules w1, wo, and the config says wo",
  ],
  [{ prompt_template: "zephyr" }, "has prompt_template qwen_chat, and the config says zephyr"],
])("another config is refused: %j", async (change, words) => {
  const checkpoint = checkpointOf(TRAINED, "qwen_chat");
  await expect(refuseOtherConfig(checkpoint, configOf({ ...TRAINED, ...change }))).rejects.toThrow(
    words,
  );
});
