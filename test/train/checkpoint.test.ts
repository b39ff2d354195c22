// Checkpoints by themselves: what is never saved, and what is never taken for whole.
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import type { Folder } from "../../src/base/folder.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { chooseCheckpoint, saveCheckpoint } from "../../src/train/checkpoint.ts";
import { temporaryFolder } from "../engine/tiny-folder.ts";
import { testGpu } from "../gpu.ts";
import { loadTiny } from "../model/tiny.ts";

const gpu = await testGpu();
const model = await loadTiny(gpu, "tiny-llama", {
  quantization: "none",
  act: "f32",
  adapter: "tiny-llama-adapter",
});
const optimizerState = gpu.allocate("state", "f32", [16]);
const sha256 = (bytes: Uint8Array) =>
  Promise.resolve(createHash("sha256").update(bytes).digest("hex"));

function save(workDir: string, step: number): Promise<string> {
  const state = { step, microBatches: step, tokens: step * 77, run: { seed: 1 } };
  return saveCheckpoint(
    { gpu, adapter: model.adapter, optimizerState },
    {
      workDir: openFolder(workDir),
      state: { ...state, adapterName: gpu.name, computeDtype: "f32" },
      companions: new Map([["adapter_config.json", "{}"]]),
      limit: 2,
      naming: "plain",
      sha256,
    },
  );
}

test("an adapter with a number that is not finite is not saved, and what was saved stays", async () => {
  const workDir = temporaryFolder();
  await save(workDir, 1);
  const matrices = await model.adapter.read();
  const path = [...matrices.keys()].at(-1)!;
  const sound = matrices.get(path)!;
  const b = sound.b.slice();
  b[5] = Number.POSITIVE_INFINITY;
  model.adapter.write(new Map([...matrices, [path, { ...sound, b }]]));
  await expect(save(workDir, 2)).rejects.toThrow(
    /After step 2 .+ not finite, so nothing was saved.\nStart a new run with a lower lr/,
  );
  expect(readdirSync(workDir)).toEqual(["iter_1", "last_checkpoint"]);
  model.adapter.write(matrices);
});

test("of three checkpoints two are kept, and the newest whole one is chosen", async () => {
  const workDir = temporaryFolder();
  for (const step of [8, 9, 10]) await save(workDir, step); // 10 comes after 9, not before 8
  expect(readdirSync(workDir)).toEqual(["iter_10", "iter_9", "last_checkpoint"]);
  const chosen = await chooseCheckpoint(openFolder(workDir), "last", sha256);
  expect(chosen).toMatchObject({ name: "iter_10", state: { step: 10, tokens: 770 }, warnings: [] });
  // Under the path that was typed.
  await expect(chooseCheckpoint(openFolder(workDir), "run/nope.pth", sha256)).rejects.toThrow(
    /^There is no checkpoint run\/nope\.pth\.\nResume from one of: iter_9, iter_10\.$/,
  );

  writeFileSync(join(workDir, "iter_10", "state.json"), '{"step": 10'); // cut off
  const older = await chooseCheckpoint(openFolder(workDir), "last", sha256);
  expect(older.name).toBe("iter_9");
  expect(older.warnings.join()).toContain("Passed over iter_10");

  rmSync(join(workDir, "iter_9", "adapter_model.safetensors"));
  await expect(chooseCheckpoint(openFolder(workDir), "last", sha256)).rejects.toThrow(
    /has no checkpoint to resume from. Passed over iter_10.+iter_9.+is missing/s,
  );
});

test.each([
  ["memory is out", new RangeError("Array buffer allocation failed")],
  ["the disk does not answer", new UserError("Could not read it: EIO.", "Check the disk.")],
])("a checkpoint is not passed over because %s", async (_, fault) => {
  const workDir = temporaryFolder();
  for (const step of [8, 9]) await save(workDir, step);
  const folder = openFolder(workDir);
  const failing: Folder = {
    ...folder,
    folder: (name) => ({ ...folder.folder(name), read: () => Promise.reject(fault) }),
  };
  await expect(chooseCheckpoint(failing, "last", sha256)).rejects.toBe(fault);
});

test("where all are damaged, that is told by another name than where there is none", async () => {
  const workDir = temporaryFolder();
  const folder = openFolder(workDir);
  await folder.write("iter_3/adapter_model.safetensors", "begun");
  const none = chooseCheckpoint(folder, "last", sha256);
  await expect(none).rejects.toMatchObject({ name: "NoCheckpointError" });
  await save(workDir, 4);
  writeFileSync(join(workDir, "iter_4", "adapter_model.safetensors"), "cut");
  const damaged = chooseCheckpoint(folder, "last", sha256);
  await expect(damaged).rejects.toMatchObject({ name: "NoWholeCheckpointError" });
  await expect(damaged).rejects.toThrow(/Passed over iter_4: .+ Passed over iter_3: /);
});

test("a run resumed from an earlier checkpoint keeps its own, and is what is resumed next", async () => {
  const workDir = temporaryFolder();
  for (const step of [10, 20, 12]) await save(workDir, step); // resumed from 10, broken off at 12
  expect(readdirSync(workDir)).toEqual(["iter_10", "iter_12", "last_checkpoint"]);
  const chosen = await chooseCheckpoint(openFolder(workDir), "last", sha256);
  expect(chosen.name).toBe("iter_12");
});

test("half a checkpoint of a killed process is swept away by the next", async () => {
  const workDir = temporaryFolder();
  await openFolder(workDir).write("iter_3.partial/adapter_model.safetensors", "half");
  await save(workDir, 3);
  expect(readdirSync(workDir)).toEqual(["iter_3", "last_checkpoint"]);
});
