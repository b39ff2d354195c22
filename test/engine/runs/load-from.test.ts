// A run that begins with an adapter begins where that one was, and refuses one of another make.
import { afterAll, beforeAll, expect, test } from "vitest";
import { UserError } from "../../../src/base/error.ts";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine, type TrainRequest } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());
const model = writeTinyModel();
const data = writeTinyData();
const parent = openFolder(temporaryFolder());
const LORA = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: ["q_proj", "down_proj"] };

function configOf(changes: object = {}) {
  const base = {
    model,
    data: [data],
    max_length: 32,
    max_steps: 2,
    accumulative_counts: 1,
    evaluation_freq: 0,
    lora: LORA,
    warmup_ratio: 0,
  };
  return parseConfig({ ...base, ...changes }, "the test");
}

async function train(changes: object, request: Partial<TrainRequest> = {}) {
  const workDir = openFolder(temporaryFolder());
  const sources = [await openDataSource(data)];
  const base = { model: openFolder(model), data: sources, workDir, onEvent: () => {} };
  const summary = await engine.train({ config: configOf(changes), ...base, ...request });
  return { summary, workDir };
}

beforeAll(async () => {
  await train({ lr: 1e-2 }, { workDir: parent });
});

const from = { load_from: "parent", loadFrom: parent.folder("iter_2") };
const bytesOf = (folder: typeof parent) => folder.read("iter_2/adapter_model.safetensors");

test("after steps that change nothing, it holds the very numbers it began with", async () => {
  const { load_from, loadFrom } = from;
  const { workDir } = await train({ load_from, lr: 0 }, { loadFrom });
  expect(await bytesOf(workDir)).toEqual(await bytesOf(parent));
  const fresh = await train({ lr: 0 });
  expect(await bytesOf(fresh.workDir)).not.toEqual(await bytesOf(parent));
});

test("resumed, it needs the adapter no more, and is refused as a run that began fresh", async () => {
  const { load_from, loadFrom } = from;
  const { workDir } = await train({ load_from }, { loadFrom });
  const resume = { workDir, resume: "last" };
  expect((await train({ load_from }, resume)).summary.endedBy).toBe("finished");
  await expect(train({}, resume)).rejects.toThrow('load_from was "parent" and is ""');
});

test.each([
  [{ r: 8 }, "its rank is 4, not 8 (model.layers.0.self_attn.q_proj)"],
  [{ lora_alpha: 16 }, "its scale is 2, not 4 (model.layers.0.self_attn.q_proj; lora_alpha 8)"],
  [{ use_rslora: true }, "its scale is 2, not 4"], // 8 / √4
  [{ target_modules: ["q_proj"] }, "it adapts model.layers.0.mlp.down_proj and 1 more too"],
  [
    { target_modules: ["q_proj", "v_proj"] },
    "it does not adapt model.layers.0.self_attn.v_proj and 1 more; it adapts model.layers.0.mlp",
  ],
])("an adapter is refused for a config with %j", async (lora, words) => {
  const { load_from, loadFrom } = from;
  const fault: unknown = await train({ load_from, lora: { ...LORA, ...lora } }, { loadFrom }).catch(
    (error: unknown) => error,
  );
  expect(fault).toBeInstanceOf(UserError);
  expect(String(fault)).toContain(words);
});

test("dropout may be another: it is no part of what the adapter is", async () => {
  const { load_from, loadFrom } = from;
  const lora = { ...LORA, lora_dropout: 0.3 };
  const { summary } = await train({ load_from, lora }, { loadFrom });
  expect(summary.endedBy).toBe("finished");
});
