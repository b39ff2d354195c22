// What is known of a run before it starts, of the adapter it starts on, and of a device that goes away.
import { statSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { applySettings, parseConfig } from "../../../src/config/read.ts";
import type { TrainConfig } from "../../../src/config.ts";
import { createEngine, type Host, type RunPlan } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { zeroHost } from "../../gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const host: Host = { ...nodeHost({ adapter }), freeGpuBytes: () => undefined };
const engine = createEngine(host);
afterAll(() => engine.close());
/** Computes nothing, and takes the memory that a GPU takes. */
const sizing = createEngine({ ...zeroHost(), freeGpuBytes: () => undefined });
afterAll(() => sizing.close());
const path = writeTinyModel();
const model = openFolder(path);
const data = writeTinyData();
const MIB = 2 ** 20;

function configOf(changes: object = {}): TrainConfig {
  const base = {
    model: path,
    data: [data],
    max_length: 48,
    batch_size: 2,
    max_steps: 2,
    accumulative_counts: 3,
    gradient_checkpointing: false,
    eval_split: 0.1,
    lora: { r: 8, lora_dropout: 0 },
  };
  return parseConfig({ ...base, ...changes }, "the test");
}

async function run(config: TrainConfig): Promise<{ plan: RunPlan; workDir: string }> {
  const workDir = temporaryFolder();
  const plans: RunPlan[] = [];
  await sizing.train({
    config,
    model,
    data: [await openDataSource(data)],
    workDir: openFolder(workDir),
    onEvent: (event) => void (event.type === "plan" && plans.push(event.plan)),
  });
  return { plan: plans[0]!, workDir };
}

test("the adapter is told as it was opened", async () => {
  const found = await engine.inspect();
  expect(found.name).not.toBe("");
  expect(typeof found.isFallback).toBe("boolean");
  // WebGPU's least.
  expect(found.maxBindingBytes).toBeGreaterThanOrEqual(128 * MIB);
  expect(found.maxBufferBytes).toBeGreaterThanOrEqual(256 * MIB);
});

test.each([
  ["a small adapter", {}],
  ["odd ranks of some layers", { lora: { r: 3, target_modules: ["q_proj", "down_proj"] } }],
])("%s: the run is of the size that was foretold", async (_, changes) => {
  const config = configOf(changes);
  const size = await sizing.estimate({ model, config, holdsOut: true });
  const { plan, workDir } = await run(config);
  expect(size.memory).toEqual(plan.memory);
  expect(size.trainableParameters).toBe(plan.trainableParameters);
  expect(size.settings).toEqual([]);
  const checkpoint = join(workDir, "iter_2");
  const bytes = readdirSync(checkpoint).map((name) => statSync(join(checkpoint, name)).size);
  const total = bytes.reduce((sum, one) => sum + one, 0);
  expect(Math.abs(size.checkpointBytes / total - 1)).toBeLessThan(0.01);
});

test("where it does not fit, the settings named make it fit; where none do, none are", async () => {
  const config = configOf({ batch_size: 4, max_length: 64, lora: { r: 64, lora_dropout: 0 } });
  const { memory } = await engine.estimate({ model, config, holdsOut: true });
  const limitBytes = Math.floor(memory.total * 0.93);
  const tight = await engine.estimate({ model, config, holdsOut: true, limitBytes });
  expect(tight.memory.total).toBe(memory.total);
  expect(tight.settings).toContain("gradient_checkpointing=true");
  const smaller = applySettings(config, tight.settings);
  const fitting = await engine.estimate({ model, config: smaller, holdsOut: true, limitBytes });
  expect(fitting.memory.total).toBeLessThanOrEqual(limitBytes);
  expect(fitting.settings).toEqual([]);
  const least = { model, config, holdsOut: true, limitBytes: 1000 };
  expect((await engine.estimate(least)).settings).toEqual([]);
});

async function bytesOf(config: TrainConfig, limit: object = {}): Promise<number> {
  return (await engine.estimate({ model, config, holdsOut: false, ...limit })).memory.total;
}

test("auto chooses by the limit, as a run does", async () => {
  const on = configOf({ gradient_checkpointing: true });
  const off = configOf({ gradient_checkpointing: false });
  const auto = configOf({ gradient_checkpointing: "auto" });
  const [most, least] = [await bytesOf(off), await bytesOf(on)];
  expect(await bytesOf(auto, { limitBytes: most })).toBe(most);
  expect(await bytesOf(auto, { limitBytes: least })).toBe(least);
  // Between the two, some of the forward pass is kept.
  const between = await bytesOf(auto, { limitBytes: most - 1 });
  expect(between).toBeGreaterThan(least);
  expect(between).toBeLessThan(most);
});

test("a run of which one buffer is too large for any setting of memory is refused by name", async () => {
  const config = configOf({ max_length: 1_000_000, batch_size: 512 });
  const estimate = engine.estimate({ model, config, holdsOut: false });
  await expect(estimate).rejects.toMatchObject({ name: "TooLargeError" });
});

test("an estimate reads no weights and no tokenizer", async () => {
  const read: string[] = [];
  const watched = {
    ...model,
    read: (name: string, start = 0, end = Number.NaN) => {
      read.push(`${name} ${start}`);
      if (name.endsWith(".safetensors") && end - start > 10_000)
        throw new Error("weights are read");
      return model.read(name, start, end);
    },
    readText: (name: string) => {
      read.push(name);
      return model.readText(name);
    },
  };
  await engine.estimate({ model: watched, config: configOf(), holdsOut: false });
  expect(read).toContain("config.json");
  expect(read.filter((name) => name.startsWith("tokenizer.json"))).toEqual([]);
});

/** The host, with devices whose buffers are counted and refused above a limit. */
function limitedHost(limitBytes: number) {
  const counts = { held: 0, made: [] as number[] };
  const limited: Host = {
    ...host,
    async requestAdapter() {
      const own = await host.requestAdapter();
      const request = own.requestDevice.bind(own);
      return Object.assign(own, {
        async requestDevice(descriptor: GPUDeviceDescriptor) {
          const device = await request(descriptor);
          const create = device.createBuffer.bind(device);
          const both = GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE; // which no buffer may have
          return Object.assign(device, {
            createBuffer(wanted: GPUBufferDescriptor) {
              const isRefused = counts.held + wanted.size > limitBytes;
              // A few bytes stand for all of them: this machine's memory is not what is probed.
              const buffer = create({ ...wanted, size: 16, ...(isRefused && { usage: both }) });
              counts.held += wanted.size;
              counts.made.push(wanted.size);
              const destroy = buffer.destroy.bind(buffer);
              return Object.assign(buffer, {
                destroy() {
                  counts.held -= wanted.size;
                  destroy();
                },
              });
            },
          });
        },
      });
    },
  };
  return { limited, counts };
}

test.each([
  ["up to what is asked for", 4096 * MIB, 600 * MIB + 3, 600 * MIB + 3, [256, 256, 88]],
  ["until it is refused", 700 * MIB, 4096 * MIB, 512 * MIB, [256, 256, 256]],
  ["nothing at all", MIB, 4096 * MIB, 0, [256]],
])("memory is probed %s, and given back", async (_, there, wanted, granted, steps) => {
  const { limited, counts } = limitedHost(there);
  const own = createEngine(limited);
  expect(await own.probeMemory(wanted)).toBe(granted);
  expect(counts.made.map((bytes) => Math.floor(bytes / MIB))).toEqual(steps);
  expect(counts.held).toBe(0);
  own.close();
});

test("a device that is lost ends what is under way, by name, and the next call opens another", async () => {
  const chat = await engine.openChat({ model, contextTokens: 64 });
  await engine.loseDevice();
  const sampling = {
    maxNewTokens: 3,
    temperature: 0,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    seed: 0,
    stopWords: [],
  };
  const asked = [{ role: "user", content: "Hi" }] as const;
  const fault: unknown = await chat.reply(asked, sampling).catch((error: unknown) => error);
  expect(fault).toMatchObject({ name: "DeviceLostError" });
  expect(String(fault)).not.toContain("--");
  chat.close();
  const again = await engine.openChat({ model, contextTokens: 64 });
  expect((await again.reply(asked, sampling)).tokens).toBe(3);
  again.close();
});

test("with no device there is none to lose", async () => {
  const own = createEngine({ ...host, requestAdapter: () => Promise.reject(new Error("none")) });
  await own.loseDevice();
  await expect(own.inspect()).rejects.toThrow("none");
  await own.loseDevice();
});
