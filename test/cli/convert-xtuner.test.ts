// XTuner's convert commands on what XTuner left behind. None of them opens a GPU.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { hone, temporaryFolder } from "./run-cli.ts";

const CHECKPOINT = fileURLToPath(new URL("../fixtures/torch-files/iter_6.pth", import.meta.url));

test("pth_to_hf writes the adapter of an iter_N.pth, by the config it carries or by one that is named", async () => {
  const folder = temporaryFolder();
  const first = await hone(["convert", "pth_to_hf", CHECKPOINT, "own"], { folder });
  expect(first.code).toBe(0);
  expect(first.stderr).toContain("The config is the one that the checkpoint carries.");
  expect(first.stderr).toContain("--fp32 keeps float32");
  const files = [
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "training_manifest.json",
    "xtuner_config.py",
  ];
  expect(readdirSync(join(folder, "own"))).toEqual(files);

  const config = readFileSync(join(folder, "own/xtuner_config.py"), "utf8");
  writeFileSync(join(folder, "run.py"), config);
  const words = ["convert", "pth_to_hf", "run.py", CHECKPOINT];
  const options = ["--max-shard-size", "2GB", "--cfg-options", "model.lora.lora_alpha=8"];
  const second = await hone([...words, "named", ...options], { folder });
  expect(second.code).toBe(0);
  const written = readFileSync(join(folder, "named/adapter_config.json"), "utf8");
  expect(JSON.parse(written)).toMatchObject({ r: 2, lora_alpha: 8, lora_dropout: 0.1 });
  expect(readFileSync(join(folder, "named/xtuner_config.py"), "utf8")).toBe(config);

  const wrong = await hone([...words, "wrong", "--cfg-options", "model.lora.r=64"], { folder });
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(/have rank 2, and the config says r=64/);
  expect(existsSync(join(folder, "wrong"))).toBe(false);
});

test("pth_to_hf compares a config with a checkpoint of Hone, and refuses one that is missing", async () => {
  const folder = temporaryFolder();
  expect((await hone(["convert", "pth_to_hf", CHECKPOINT, "own"], { folder })).code).toBe(0);
  const convert = (...args: string[]) => hone(["convert", "pth_to_hf", ...args], { folder });
  const missing = await convert("none.py", "own", "out");
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain("There is no config none.py");
  const same = await convert("own/xtuner_config.py", "own", "same", "--alpha", "3");
  expect(same.code).toBe(0);
  expect(same.stderr).toContain("--alpha changes nothing here");
  expect(existsSync(join(folder, "same/xtuner_config.py"))).toBe(true);
  const options = ["--cfg-options", "model.lora.lora_alpha=8"];
  const other = await convert("own/xtuner_config.py", "own", "other", ...options);
  expect(other.code).toBe(1);
  expect(other.stderr).toMatch(/has lora_alpha \d+, and the config says 8/);
  expect(existsSync(join(folder, "other"))).toBe(false);
});

test("a checkpoint's file is no adapter, and what XTuner has for pictures is refused", async () => {
  const folder = temporaryFolder();
  const file = await hone(["convert", "merge", "seedling", CHECKPOINT, "out"], { folder });
  expect(file.code).toBe(1);
  expect(file.stderr).toMatch(/is a file, and an adapter is a folder[^]*hone convert pth_to_hf/);
  const clip = await hone(["convert", "merge", "seedling", "a", "out", "--is-clip"], { folder });
  expect(clip.code).toBe(2);
  expect(clip.stderr).toContain("--is-clip is for picture encoders");
});

test("split writes a file a tensor", async () => {
  const folder = temporaryFolder();
  const { code, stderr } = await hone(["convert", "split", "seedling", "pieces"], { folder });
  expect(code).toBe(0);
  expect(stderr).toContain("38 tensors read back equal, each in a file of its own");
  const files = readdirSync(join(folder, "pieces"));
  expect(files.filter((name) => /^model-000\d\d-of-00038\.safetensors$/.test(name)).length).toBe(
    38,
  );
  expect(files).toContain("model.safetensors.index.json");
  expect(files).toContain("tokenizer.json");
});
