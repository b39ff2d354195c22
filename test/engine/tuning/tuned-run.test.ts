// A run keeps the variants of kernels that it began with: in its checkpoints, and when it is resumed.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { train } from "../../../src/engine/runs/train.ts";
import { KERNELS_ID, type TuneMode, Tuner } from "../../../src/engine/tuning/tune.ts";
import type { TrainEvent } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { testGpu } from "../../gpu.ts";
import { fakeTunable } from "./fake-tunable.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const gpu = await testGpu();
const cache = openFolder(temporaryFolder());
const host = { ...nodeHost({ adapter }), cache: () => Promise.resolve(cache) };
const model = writeTinyModel();
const data = writeTinyData();
const workDir = temporaryFolder();

async function run(mode: TuneMode, names: readonly string[], resume?: string) {
  const config = parseConfig(
    { model, data: [data], max_length: 32, max_steps: 2, save_steps: 1, lora: { r: 4 } },
    "the test",
  );
  const events: TrainEvent[] = [];
  const tuner = new Tuner(host, { mode, tunables: [fakeTunable(names)] });
  const request = {
    config,
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(workDir),
    onEvent: (event: TrainEvent) => void events.push(event),
    ...(resume !== undefined && { resume }),
  };
  await train(gpu, host, request, tuner);
  const warnings = events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  const phases = events.flatMap((event) => (event.type === "phase" ? [event.phase] : []));
  return { warnings, phases };
}

const stateFile = join(workDir, "iter_1", "state.json");
const readState = () => JSON.parse(readFileSync(stateFile, "utf8")) as Record<string, unknown>;

test("a run tries before it loads, and its checkpoints say what it chose", async () => {
  const { phases, warnings } = await run("full", ["plain", "fast"]);
  expect(phases).toEqual(["data", "tune", "load", "compile", "train"]);
  expect(warnings).toEqual([]);
  expect(readState()).toMatchObject({ kernels: KERNELS_ID, choices: { fake: "fast" } });
});

test("it is resumed with those, whatever would be found now, and nothing is tried", async () => {
  const state = readState();
  writeFileSync(stateFile, JSON.stringify({ ...state, choices: { fake: "slow" } }));
  gpu.choices = {};
  const { phases, warnings } = await run("full", ["plain", "fast", "slow"], "iter_1");
  writeFileSync(stateFile, JSON.stringify(state));
  expect(phases).not.toContain("tune");
  expect(warnings).toEqual([]);
  expect(gpu.choices).toEqual({ fake: "slow" });
  expect(JSON.parse(readFileSync(join(workDir, "iter_2", "state.json"), "utf8"))).toMatchObject({
    choices: { fake: "slow" },
  });
});

test("where the device offers one of them no more, others are found, and that is told", async () => {
  const { phases, warnings } = await run("full", ["plain", "slow"], "iter_1");
  expect(phases).toContain("tune");
  expect(warnings).toEqual([
    expect.stringMatching(/^The checkpoint was made by other variants of the kernels.*bit for bit/),
  ]);
  expect(gpu.choices).toEqual({ fake: "plain" });
});

test("where it cannot be, that is told: --tune off, other kernels", async () => {
  const off = await run("off", ["plain", "fast"], "iter_1");
  expect(off.warnings).toEqual([
    expect.stringMatching(/^The checkpoint was made by other variants of the kernels.*bit for bit/),
  ]);
  expect(gpu.choices).toEqual({});
  writeFileSync(stateFile, JSON.stringify({ ...readState(), kernels: "of another build" }));
  const other = await run("off", ["plain", "fast"], "iter_1");
  expect(other.warnings).toEqual([expect.stringMatching(/another version of Hone.*bit for bit/)]);
  writeFileSync(stateFile, JSON.stringify({ ...readState(), choices: { fake: 3 } }));
  await expect(run("off", ["plain"], "iter_1")).rejects.toThrow("not what a checkpoint's state");
});
