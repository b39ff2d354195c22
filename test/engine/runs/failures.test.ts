// What goes wrong while training loses nothing that was saved, and says what to do.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { UserError } from "../../../src/base/error.ts";
import type { Folder } from "../../../src/base/folder.ts";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine, type TrainEvent } from "../../../src/engine.ts";
import { parseMetrics } from "../../../src/engine/runs/run-log.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());
const data = writeTinyData();

function configOf(model: string, changes: object = {}) {
  const base = {
    model,
    data: [data],
    max_length: 32,
    accumulative_counts: 1,
    max_steps: 8,
    lr: 1e-2,
    lora: { r: 4, lora_alpha: 8, lora_dropout: 0 },
    evaluation_freq: 0,
    save_steps: 2,
  };
  return parseConfig({ ...base, ...changes }, "the test");
}

async function train(model: string, workDir: Folder, changes: object = {}) {
  const events: TrainEvent[] = [];
  const run = engine.train({
    config: configOf(model, changes),
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir,
    onEvent: (event) => events.push(event),
  });
  return { run, events };
}

test("three steps in a row without a finite gradient end the run, with the adapter as it was", async () => {
  const model = writeTinyModel("F32");
  overwriteEmbedding(model, 3e38); // its square is infinite, so every loss is
  const workDir = openFolder(temporaryFolder());
  const { run, events } = await train(model, workDir, {
    compute_dtype: "f32", // in f16 the loss scale would be lowered first, for which a step is skipped too
    save_steps: 1,
    save_total_limit: -1,
  });
  await expect(run).rejects.toThrow(/not finite in 3 steps in a row, up to step 3/);
  const steps = events.filter((event) => event.type === "step");
  expect(steps.map(({ skipped }) => skipped)).toEqual([1, 2, 3]);
  expect(steps.every(({ gradNorm }) => Number.isNaN(gradNorm))).toBe(true);
  // Checkpoints of skipped steps hold the untouched adapter: B is still zero, and nothing is NaN.
  const first = await workDir.read("iter_1/adapter_model.safetensors");
  const second = await workDir.read("iter_2/adapter_model.safetensors");
  expect(second).toEqual(first);
});

test("a disk that fills up while saving is told, and the checkpoint before it can be resumed", async () => {
  const model = writeTinyModel();
  const path = temporaryFolder();
  const { run } = await train(model, fillingUp(openFolder(path), "iter_4.partial"));
  await expect(run).rejects.toThrow("No space is left");
  const folder = openFolder(path);
  expect((await folder.list()).filter((name) => name.startsWith("iter_"))).toEqual(["iter_2"]);
  expect(await folder.readText("last_checkpoint")).toBe("iter_2\n");
  const request = {
    config: configOf(model),
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: folder,
    resume: "last",
    onEvent: () => {},
  };
  const resumed = await engine.train(request);
  expect(resumed).toMatchObject({ endedBy: "finished", step: 8, checkpoint: "iter_8" });
  // Resumed once more, there is nothing left to do, and the checkpoint is still the same.
  const again = await engine.train(request);
  expect(again).toMatchObject({ endedBy: "finished", step: 8, checkpoint: "iter_8" });
});

test("a disk that takes no lines of the log for a while ends no run, and all are there in the end", async () => {
  const folder = openFolder(temporaryFolder());
  let appends = 0;
  const failing: Folder = {
    ...folder,
    append: (name, text) =>
      ++appends > 3 && appends < 9
        ? Promise.reject(new UserError(`No space is left for ${name}.`, "Free some space."))
        : folder.append(name, text),
  };
  const { run, events } = await train(writeTinyModel(), failing);
  expect(await run).toMatchObject({ endedBy: "finished", step: 8, checkpoint: "iter_8" });
  expect(appends).toBeGreaterThan(9);
  const warnings = events.filter((event) => event.type === "warning");
  expect(warnings.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^The log of the run waits to be written: No space is left/),
  ]);
  const { steps } = parseMetrics(await folder.readText("metrics.jsonl"));
  expect(steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test("checkpoints that cannot be read just now are not begun anew over", async () => {
  const model = writeTinyModel();
  const folder = openFolder(temporaryFolder());
  await (
    await train(model, folder, { max_steps: 4 })
  ).run;
  const filesOf = async () => [await folder.list(), await folder.readText("metrics.jsonl")];
  const before = await filesOf();
  const failing: Folder = {
    ...folder,
    folder: (name) => ({
      ...folder.folder(name),
      read: () => Promise.reject(new RangeError("Array buffer allocation failed")),
    }),
  };
  const resumed = async (workDir: Folder) =>
    engine.train({
      config: configOf(model, { max_steps: 4 }),
      model: openFolder(model),
      data: [await openDataSource(data)],
      workDir,
      resume: "last-or-new",
      onEvent: () => {},
    });
  await expect(resumed(failing)).rejects.toThrow("Array buffer allocation failed");
  // Nor over those that are damaged, of which something may yet be saved.
  for (const name of ["iter_2", "iter_4"]) {
    await folder.write(`${name}/optimizer.safetensors`, "cut");
  }
  await expect(resumed(folder)).rejects.toThrow(/Passed over iter_4: .+ Passed over iter_2: /);
  expect(await filesOf()).toEqual(before);
});

test("only so many checkpoints are kept, and the oldest go first", async () => {
  const folder = openFolder(temporaryFolder());
  const { run } = await train(writeTinyModel(), folder, { save_total_limit: 2 });
  await run;
  expect((await folder.list()).filter((name) => name.startsWith("iter_"))).toEqual([
    "iter_6",
    "iter_8",
  ]);
});

test("a row longer than the adapter can show to a shader is refused with both numbers", async () => {
  const { run } = await train(writeTinyModel(), openFolder(temporaryFolder()), {
    max_length: 1_000_000,
    batch_size: 16,
  });
  await expect(run).rejects.toThrow(UserError);
  await expect(run).rejects.toThrow(
    /takes .+GiB; .+ at most .+\nSet batch_size: 1, accumulative_counts: 16/,
  );
});

test("examples whose answers lie past max_length leave nothing to learn, and that is said", async () => {
  const { run } = await train(writeTinyModel(), openFolder(temporaryFolder()), { max_length: 8 });
  await expect(run).rejects.toThrow(UserError);
});

/** A folder on which no more can be written once `name` is begun. */
function fillingUp(folder: Folder, name: string): Folder {
  const full = () =>
    Promise.reject(new UserError(`No space is left for ${folder.path}.`, "Free some space."));
  return {
    ...folder,
    folder: (inner) =>
      inner === name
        ? { ...folder.folder(inner), write: (file, content) => writeSome(inner, file, content) }
        : folder.folder(inner),
  };
  // The first file still fits.
  function writeSome(inner: string, file: string, content: Parameters<Folder["write"]>[1]) {
    return file.startsWith("adapter_model") ? folder.folder(inner).write(file, content) : full();
  }
}

function overwriteEmbedding(model: string, value: number): void {
  const path = join(model, "model.safetensors");
  const bytes = readFileSync(path);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [start, end] = header["model.embed_tokens.weight"]!.data_offsets;
  for (let at = start; at < end; at += 4) bytes.writeFloatLE(value, 8 + headerBytes + at);
  writeFileSync(path, bytes);
}
