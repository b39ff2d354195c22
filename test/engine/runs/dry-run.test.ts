// A dry run says what training then does, refuses what it refuses, and writes nothing.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine, type RunPlan, type TrainEvent } from "../../../src/engine.ts";
import { openDataSource, openFolder } from "../../../src/hosts/node.ts";
import { zeroHost } from "../../gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const engine = createEngine(zeroHost());
afterAll(() => engine.close());
const model = openFolder(writeTinyModel());
const data = [await openDataSource(writeTinyData())];
const parent = temporaryFolder();

const OPTIONS = {
  model: "tiny",
  data: "data.json",
  max_length: 32,
  max_epochs: 1,
  accumulative_counts: 4,
  warmup_ratio: 0.25,
  lr: 1e-3,
  save_steps: 100,
  lora: { r: 4 },
};

function requestOf(options: object, name: string) {
  const events: TrainEvent[] = [];
  const workDir = openFolder(join(parent, name));
  const config = parseConfig({ ...OPTIONS, ...options }, "the test");
  const onEvent = (event: TrainEvent) => void events.push(event);
  return { request: { config, model, data, workDir, onEvent }, events };
}

test("steps, parameters, memory, rates and rows are those of the run that follows", async () => {
  const { request, events } = requestOf({}, "run");
  const forecast = await engine.dryRun(request);
  expect(existsSync(join(parent, "run"))).toBe(false);
  const told = events.splice(0);
  const summary = await engine.train(request);

  expect(forecast.steps).toBe(summary.steps);
  expect(forecast.unit).toBe("step");
  expect(forecast.firstStep).toBe(0);
  const plan = events.find((event) => event.type === "plan")?.plan as RunPlan;
  expect(forecast).toMatchObject({
    adapterName: plan.adapterName,
    computeDtype: plan.computeDtype,
    trainableParameters: plan.trainableParameters,
    memory: plan.memory,
  });
  expect(told.filter(({ type }) => type === "data")).toEqual(
    events.filter(({ type }) => type === "data"),
  );
  const rates = events.flatMap((event) => (event.type === "step" ? [event.learningRate] : []));
  expect(forecast.schedule).toEqual({
    first: rates[0],
    peak: Math.max(...rates),
    peakStep: 1 + rates.indexOf(Math.max(...rates)),
    last: rates.at(-1),
  });
  expect(forecast.schedule.peakStep).toBeGreaterThan(1);
});

describe("what the run refuses, the dry run refuses in the same words", () => {
  test.each([
    ["too little memory", { max_memory: 0.001, lora: { r: 64 } }, "GPU memory"],
    ["unknown layers", { lora: { target_modules: ["nothing"] } }, "nothing"],
    ["no row left", { max_length: 8 }, "Nothing is left"],
    [
      "an XTuner schedule that fails",
      { compat: "xtuner-0.1.17", prompt_template: "default", max_epochs: 1, max_steps: 1 },
      "the warm-up would end before it begins",
    ],
  ])("%s", async (name, options, words) => {
    const { request } = requestOf(options, name.replaceAll(" ", "-"));
    const refusal = await engine.train(request).then(
      () => "",
      (error: Error) => error.message,
    );
    expect(refusal).toContain(words);
    await expect(engine.dryRun(request)).rejects.toThrow(refusal);
  });
});
