// Estimates of the engine's service: the verdict against the budget, and the steps that were really taken.
import { expect, test, vi } from "vitest";
import { TooLargeError } from "../../src/gpu/device.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { EngineService } from "../../src/services/api.ts";
import type { FakeEngine } from "./fake-engine.ts";
import { withFreshService } from "./fresh-service.ts";
import { configOf, DATA, MODEL, newRun } from "./stored.ts";

let engine: FakeEngine;
let service: EngineService;

withFreshService((fresh) => ({ engine, service } = fresh));

test.each([
  [85, "fits"],
  [86, "tight"],
  [100, "tight"],
  [101, "too-big"],
])("a run of %i bytes with 100 allowed: %s", async (total, verdict) => {
  const memory = { total } as never;
  engine.size = async () => ({
    memory,
    trainableParameters: 7,
    checkpointBytes: 84,
    settings: ["lora.r=8"],
  });
  expect(await service.estimate(MODEL, configOf(), 100, false)).toEqual({
    memory,
    verdict,
    settings: ["lora.r=8"],
    trainableParameters: 7,
    checkpointBytes: 84,
  });
});

test("one buffer too large for the adapter is told as such, and other failures are thrown", async () => {
  engine.size = () =>
    Promise.reject(new TooLargeError("One buffer needs 3 GiB.", "Choose another."));
  expect(await service.estimate(MODEL, configOf(), 100, false)).toMatchObject({
    verdict: "too-big",
    refusal: "One buffer needs 3 GiB.\nChoose another.",
  });
  engine.size = () => Promise.reject(new Error("no GPU"));
  await expect(service.estimate(MODEL, configOf(), 100, false)).rejects.toThrow("no GPU");
});

test("three steps are timed, and nothing is left of them", async () => {
  const WAIT_MS = 30;
  engine.beforeStep = (step) =>
    new Promise((resolve) => setTimeout(resolve, step === 0 ? 200 : WAIT_MS));
  const config = configOf({ max_steps: 50, evaluation_inputs: ["Who are you?"], eval_split: 0.1 });
  const measured = await service.calibrate(MODEL, [DATA], config);
  const [request] = engine.trained;
  expect(request!.config).toMatchObject({ max_steps: 3, eval_split: 0, evaluation_inputs: [] });
  // The first step counts once; timers of a busy machine are late, never early by more than a millisecond.
  expect(measured.secondsPerStep).toBeGreaterThan((WAIT_MS - 1) / 1000);
  expect(measured.secondsPerStep).toBeLessThan(0.2);
  expect(measured.tokensPerSecond).toBeCloseTo(100 / measured.secondsPerStep, 0);
  expect(measured.steps).toBe(50);
  expect(measured.totalSeconds).toBeGreaterThan(0.2 + 49 * measured.secondsPerStep - 0.01);
  expect(await (await openOpfs()).list()).toEqual(["data", "models"]);
});

// The engine counts 40 rows; a tenth held out is 4 of them.
test.each([
  [{ max_epochs: 3 }, 60],
  [{ max_epochs: 1, eval_split: 0.1 }, 18],
  [{ max_epochs: 1, eval_split: 0.1, pack_to_max_length: false, batch_size: 7 }, 3],
])("steps by epochs are those of the data: %o", async (options, steps) => {
  const config = configOf({ max_steps: -1, accumulative_counts: 2, ...options });
  expect((await service.calibrate(MODEL, [DATA], config)).steps).toBe(steps);
});

test("a measurement that fails leaves nothing either, and the GPU is free again", async () => {
  engine.beforeStep = () => Promise.reject(new Error("the step failed"));
  await expect(service.calibrate(MODEL, [DATA], configOf())).rejects.toThrow("the step failed");
  expect(await (await openOpfs()).list()).toEqual(["data", "models"]);
  engine.beforeStep = () => {};
  const { id } = await service.createRun(newRun());
  await expect(service.startRun(id, () => {})).resolves.toMatchObject({ endedBy: "finished" });
});

test("a run that is started meanwhile waits for the measurement; a second one does not", async () => {
  const { id } = await service.createRun(newRun());
  let release: (() => void) | undefined;
  engine.beforeStep = () => new Promise((resolve) => (release = resolve));
  const measuring = service.calibrate(MODEL, [DATA], configOf());
  await vi.waitFor(() => expect(release).toBeDefined());
  await expect(service.probeMemory(100)).rejects.toThrow("busy with a measurement");
  const running = service.startRun(id, () => {});
  engine.beforeStep = () => {};
  release!();
  await expect(running).resolves.toMatchObject({ endedBy: "finished" });
  await expect(measuring).resolves.toMatchObject({ steps: 6 });
  expect(await service.probeMemory(100)).toBe(100);
});

test("what a measurement left in a tab that was closed goes at the next start", async () => {
  const root = await openOpfs();
  await root.write("scratch/iter_3/optimizer.safetensors", "x");
  await service.configure({ hubUrl: "https://example.org", pageUrl: "https://example.net/" });
  await vi.waitFor(async () => expect(await root.list()).toEqual(["data", "models"]));
});
