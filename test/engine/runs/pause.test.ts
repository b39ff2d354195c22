// A run that waits is the run that did not: nothing of it changes but the time it ends at. And what was
// broken off between the saving of a step and its evaluation is made up for.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { AbortedError } from "../../../src/base/error.ts";
import { parseConfig } from "../../../src/config/read.ts";
import {
  createEngine,
  type Host,
  type TrainEvent,
  type TrainRequest,
} from "../../../src/engine.ts";
import { parseMetrics } from "../../../src/engine/runs/run-log.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());
const model = writeTerseModel();
const data = writeTinyData();

const STEPS = 9;
const config = parseConfig(
  {
    model,
    data: [data],
    max_length: 32,
    accumulative_counts: 1,
    max_steps: STEPS,
    lr: 1e-2,
    lora: { r: 4, lora_alpha: 8, lora_dropout: 0.2 },
    eval_split: 0.1,
    evaluation_freq: 4,
    evaluation_inputs: ["Who are you?", "What is 1 plus 1?"],
    save_steps: 4,
    save_total_limit: -1,
  },
  "the test",
);

/** Random weights that speak little: of four tokens, three end an answer. */
function writeTerseModel(): string {
  const path = writeTinyModel();
  const place = join(path, "config.json");
  const json = JSON.parse(readFileSync(place, "utf8")) as { vocab_size: number };
  const ends = Array.from({ length: json.vocab_size }, (_, id) => id).filter((id) => id % 4 > 0);
  writeFileSync(place, JSON.stringify({ ...json, eos_token_id: ends }));
  return path;
}

type Watch = (event: TrainEvent) => void;

async function train(
  workDir: string,
  changes: Partial<TrainRequest> = {},
  watch: Watch = () => {},
) {
  const events: TrainEvent[] = [];
  const request = {
    config,
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(workDir),
    ...changes,
    onEvent(event: TrainEvent) {
      events.push(event);
      watch(event);
    },
  };
  return { running: engine.train(request), events };
}

/** Pauses when told to, and goes on when told to. */
function createPause() {
  let isPaused = false;
  const waiting: (() => void)[] = [];
  return {
    pause: () => {
      isPaused = true;
    },
    resume: () => {
      isPaused = false;
      for (const goOn of waiting.splice(0)) goOn();
    },
    pausing: {
      isPaused: () => isPaused,
      resumed: () => new Promise<void>((resolve) => waiting.push(resolve)),
    },
  };
}

function metricsOf(workDir: string) {
  const { steps, evals, samples } = parseMetrics(
    readFileSync(join(workDir, "metrics.jsonl"), "utf8"),
  );
  // What took how long differs between any two runs.
  const timeless = steps.map((step) => ({ ...step, tokensPerSecond: 0, etaSeconds: 0 }));
  return { steps: timeless, evals, samples };
}

const whole = temporaryFolder();
const EVALUATED = [0, 4, 8, STEPS];

test("metrics.jsonl has all that happened: steps, held-out losses and answers", async () => {
  const { running, events } = await train(whole);
  const summary = await running;
  expect(summary).toMatchObject({ endedBy: "finished", step: STEPS });
  const { steps, evals, samples } = metricsOf(whole);
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  expect(evals.map(({ step }) => step)).toEqual(EVALUATED);
  expect(samples.map(({ step }) => step)).toEqual(EVALUATED.flatMap((step) => [step, step]));
  const told = events.filter((event) => event.type === "sample");
  expect(samples).toEqual(told.map(({ step, input, output }) => ({ step, input, output })));
});

test("paused twice, before the first step and after the sixth: every number is the same", async () => {
  const workDir = temporaryFolder();
  const { pause, resume, pausing } = createPause();
  pause();
  const { running, events } = await train(workDir, { pausing }, (event) => {
    if (event.type === "step" && event.step === 5) pause();
    if (event.type === "paused") setTimeout(resume, 300);
  });
  const summary = await running;
  const waits = events.filter(({ type }) => type === "paused" || type === "resumed");
  // The word of step 5 comes when later ones are under way: those are done and saved before it waits.
  const at = expect.toSatisfy((step: number) => step >= 5 && step < STEPS);
  expect(waits).toEqual([
    { type: "paused", step: 0 },
    { type: "resumed", step: 0 },
    { type: "paused", step: at },
    { type: "resumed", step: at },
  ]);
  const saved = events.filter((event) => event.type === "checkpoint").map(({ step }) => step);
  expect(saved).toContain(waits[2]?.type === "paused" ? waits[2].step : undefined);
  expect(new Set(saved).size).toBe(saved.length);
  expect(metricsOf(workDir)).toEqual(metricsOf(whole));
  for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
    const [expected, actual] = [whole, workDir].map((folder) =>
      readFileSync(join(folder, `iter_${STEPS}`, file)),
    );
    expect(actual!.equals(expected!), file).toBe(true);
  }
  expect(summary.endedBy).toBe("finished");
});

test("time paused is no time of the run", async () => {
  const { pause, resume, pausing } = createPause();
  const PAUSE_MS = 3000;
  const started = performance.now();
  let tellsAfter = Number.NaN;
  const changes = { config: { ...config, evaluation_inputs: [], max_steps: 4 }, pausing };
  const { running } = await train(temporaryFolder(), changes, (event) => {
    if (event.type === "plan") tellsAfter = performance.now() - started;
    if (event.type === "step" && event.step === 1) pause();
    if (event.type === "paused") setTimeout(resume, PAUSE_MS);
  });
  const { seconds } = await running;
  // Half of the pause is room for what is neither loading nor loop.
  const rest = performance.now() - started - tellsAfter - 1000 * seconds;
  expect(rest).toBeGreaterThan(PAUSE_MS / 2);
});

test("stopped while it waits: it has saved, and ends at once", async () => {
  const workDir = temporaryFolder();
  const stop = new AbortController();
  const { pause, pausing } = createPause();
  const { running, events } = await train(workDir, { pausing, signal: stop.signal }, (event) => {
    if (event.type === "step" && event.step === 2) pause();
    if (event.type === "paused") stop.abort();
  });
  const summary = await running;
  const paused = events.find((event) => event.type === "paused");
  expect(summary).toMatchObject({ endedBy: "stopped", step: paused?.step });
  expect(events.filter((event) => event.type === "resumed")).toEqual([]);
  const again = await train(workDir, { resume: "last" });
  expect(await again.running).toMatchObject({ endedBy: "finished", step: STEPS });
});

test("stopped before its first step there is nothing to save, and that is told by name", async () => {
  const workDir = temporaryFolder();
  const stop = new AbortController();
  const { running } = await train(workDir, { signal: stop.signal }, (event) => {
    if (event.type === "sample") stop.abort(); // in the evaluation before the first step
  });
  const fault: unknown = await running.catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(AbortedError);
  expect(fault).toMatchObject({ name: "AbortedError" });
  expect((await openFolder(workDir).list()).filter((name) => name.startsWith("iter_"))).toEqual([]);
});

test.each([
  ["in an evaluation on the way", 4],
  ["in the last evaluation", STEPS],
])("broken off %s, the rest of it is made up on resume", async (_, at) => {
  const workDir = temporaryFolder();
  const stop = new AbortController();
  const { running } = await train(workDir, { signal: stop.signal }, (event) => {
    if (event.type === "sample" && event.step === at) stop.abort(); // after the first of two answers
  });
  expect(await running).toMatchObject({ endedBy: "stopped", step: at, checkpoint: `iter_${at}` });
  const cut = metricsOf(workDir);
  expect(cut.samples.filter(({ step }) => step === at)).toHaveLength(1);
  expect(cut.evals.filter(({ step }) => step === at)).toHaveLength(0);

  const again = await train(workDir, { resume: "last" });
  expect(await again.running).toMatchObject({ endedBy: "finished", step: STEPS });
  expect(metricsOf(workDir)).toEqual(metricsOf(whole));
});

test("an evaluation that was done is not done again on resume", async () => {
  const { running, events } = await train(whole, { resume: "last" });
  expect(await running).toMatchObject({ endedBy: "finished", step: STEPS });
  expect(events.filter(({ type }) => type === "eval" || type === "sample")).toEqual([]);
});

test("last-or-new begins where there is no whole checkpoint, with its logs empty, and else goes on", async () => {
  const workDir = temporaryFolder();
  const folder = openFolder(workDir);
  await folder.write("metrics.jsonl", '{"type":"step","step":1,"loss":9}\n{"type":"st');
  await folder.folder("iter_4").write("adapter_model.safetensors", "half");
  const short = { ...config, evaluation_inputs: [], max_steps: 5 };
  const stop = new AbortController();
  const request = { config: short, resume: "last-or-new" };
  const first = await train(workDir, { ...request, signal: stop.signal }, (event) => {
    if (event.type === "checkpoint") stop.abort();
  });
  expect(await first.running).toMatchObject({ endedBy: "stopped", checkpoint: "iter_4" });
  const warning = first.events.find((event) => event.type === "warning");
  expect(warning?.message).toMatch(/Passed over iter_4: .+ The run begins anew\.$/);
  expect(metricsOf(workDir).steps.map(({ step }) => step)).toEqual([1, 2, 3, 4]);

  const second = await train(workDir, request);
  expect(await second.running).toMatchObject({ endedBy: "finished", step: 5 });
  const plan = second.events.find((event) => event.type === "plan");
  expect(plan?.plan.firstStep).toBe(4);
});

test("a run is not begun where there is one, and that is told by name", async () => {
  const { running } = await train(whole);
  const fault: unknown = await running.catch((error: unknown) => error);
  expect(fault).toMatchObject({ name: "UsedFolderError" });
  expect(String(fault)).toContain(`${whole} holds an earlier run (iter_4).`);
});

test.each([
  ["and opens the GPU anew", true],
  ["and leaves it", false],
])("a chat that spoils the device of a paused run %s: it goes on from there", async (_, opens) => {
  const devices: GPUDevice[] = [];
  const own = createEngine(watchedHost(devices));
  const workDir = temporaryFolder();
  const quiet = { evaluation_inputs: [], eval_split: 0 }; // whose programs take long to compile
  const request = {
    config: { ...config, ...quiet, max_steps: 5 },
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(workDir),
  };
  const { pause, resume, pausing } = createPause();
  const spoil = async () => {
    const both = GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE; // which no buffer may have
    const [device] = devices;
    const failed = new Promise((resolve) => device!.addEventListener("uncapturederror", resolve));
    device!.createBuffer({ size: 4, usage: both });
    await device!.queue.onSubmittedWorkDone();
    await failed;
    if (opens) (await own.openChat({ model: openFolder(model), contextTokens: 64 })).close();
    resume();
  };
  const waits: string[] = [];
  const running = own.train({
    ...request,
    pausing,
    onEvent(event) {
      if (event.type === "step" && event.step === 2) pause();
      if (event.type === "paused" || event.type === "resumed") waits.push(event.type);
      if (event.type === "paused") void spoil();
    },
  });
  const fault: unknown = await running.catch((error: unknown) => error);
  expect(fault).toMatchObject({ name: "DeviceLostError" });
  expect(waits).toEqual(["paused", "resumed"]);
  const resumed = { ...request, resume: "last-or-new", onEvent: () => {} };
  expect(await own.train(resumed)).toMatchObject({ endedBy: "finished", step: 5 });
  expect(metricsOf(workDir).steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  own.close();
});

/** The host, with every device it opens noted. */
function watchedHost(devices: GPUDevice[]): Host {
  const host = nodeHost({ adapter });
  return {
    ...host,
    async requestAdapter() {
      const found = await host.requestAdapter();
      const request = found.requestDevice.bind(found);
      return Object.assign(found, {
        async requestDevice(descriptor: GPUDeviceDescriptor) {
          const device = await request(descriptor);
          devices.push(device);
          return device;
        },
      });
    },
  };
}
