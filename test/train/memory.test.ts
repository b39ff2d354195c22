// What a run will take of the GPU is known before it starts, and one that will not fit is refused with
// the settings of one that does.
import { expect, test } from "vitest";
import { AbortedError, UserError } from "../../src/base/error.ts";
import { applySettings, parseConfig } from "../../src/config/read.ts";
import type { TrainConfig } from "../../src/config.ts";
import type { Host, RunPlan, TrainEvent } from "../../src/engine.ts";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { estimateMemory, memoryLimit } from "../../src/engine/runs/run-memory.ts";
import { allocateRun } from "../../src/engine/runs/run-parts.ts";
import { train } from "../../src/engine/runs/train.ts";
import type { AdapterLimits } from "../../src/gpu/counting.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { nodeHost, openDataSource, openFolder } from "../../src/hosts/node.ts";
import { type AdapterChoice, findAdapter } from "../../src/hosts/node-gpu.ts";
import { parseArchitecture } from "../../src/model/architecture.ts";
import type { SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import { blockLinears } from "../../src/model/linears.ts";
import { findFittingSettings, type MemoryEstimate } from "../../src/train/memory.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../engine/tiny-folder.ts";
import { nullGpu, testGpu, zeroGpu } from "../gpu.ts";

const choice = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const host: Host = { ...nodeHost({ adapter: choice }), freeGpuBytes: () => undefined };
const data = writeTinyData();
const models = {
  tied: writeTinyModel(),
  untied: writeTinyModel("BF16", false),
  f32: writeTinyModel("F32", false),
  odd: writeTinyModel("F16", true, 2371),
};

function limitsOf({ info, device }: Gpu): AdapterLimits {
  return { info, features: device.features, limits: device.limits };
}

/** Bytes of the buffers on a device, counted where WebGPU makes and destroys them. */
function meter({ device }: { device: GPUDevice }) {
  const counts = { held: 0, peak: 0 };
  const create = device.createBuffer.bind(device);
  Object.assign(device, {
    createBuffer(descriptor: GPUBufferDescriptor) {
      const buffer = create(descriptor);
      counts.held += buffer.size;
      counts.peak = Math.max(counts.peak, counts.held);
      const destroy = buffer.destroy.bind(buffer);
      return Object.assign(buffer, {
        destroy() {
          counts.held -= buffer.size;
          destroy();
        },
      });
    },
  });
  return counts;
}

/** Takes what a real GPU takes, with f16 and with the kernels of one, and compiles nothing. */
const gpu = await zeroGpu();
const counts = meter(gpu);

function configOf(changes: object): TrainConfig {
  const base = {
    model: models.tied,
    data: [data],
    max_length: 48,
    accumulative_counts: 1,
    max_steps: 2,
    gradient_checkpointing: false,
    lora: { r: 8, lora_dropout: 0 },
  };
  return parseConfig({ ...base, ...changes }, "the test");
}

/** Trains; with `onlyPlans` it is stopped when its plan is made. */
async function run(on: Gpu, config: TrainConfig, onlyPlans = false): Promise<RunPlan> {
  const plans: RunPlan[] = [];
  const stopped = new AbortController();
  const running = train(on, host, {
    config,
    model: openFolder(config.model),
    data: [await openDataSource(data)],
    workDir: openFolder(temporaryFolder()),
    signal: stopped.signal,
    onEvent(event: TrainEvent) {
      if (event.type !== "plan") return;
      plans.push(event.plan);
      if (onlyPlans) stopped.abort();
    },
  });
  const end: unknown = await running.catch((error: unknown) => {
    if (onlyPlans && error instanceof AbortedError) return { step: 0 };
    throw error;
  });
  expect(end).toMatchObject({ step: onlyPlans ? 0 : 2 });
  return plans[0]!;
}

/** Estimate as a share of what was measured, and the kinds that make it. */
function judge({ total, byKind }: MemoryEstimate, measured: number): void {
  expect(total / measured).toBeGreaterThanOrEqual(1);
  expect(total / measured).toBeLessThanOrEqual(1.1);
  expect(Object.values(byKind).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
  for (const bytes of Object.values(byKind)) expect(bytes).toBeGreaterThanOrEqual(0);
}

// Each of random weights would be as long as it may: what is measured is the memory, which is taken before.
const questions = {
  evaluation_inputs: ["Who are you?"],
  evaluation_freq: 0,
  evaluation_max_new_tokens: 24,
};

const CASES: Readonly<Record<string, object>> = {
  "tied, NF4": {},
  "blocks run twice": { gradient_checkpointing: true },
  untied: { model: models.untied },
  "weights as they are": { model: models.untied, quantization: "none" },
  "weights in f32": { model: models.f32, quantization: "none", gradient_checkpointing: true },
  "f32 activations": { compute_dtype: "f32" },
  "dropout and accumulation": { lora: { r: 8, lora_dropout: 0.3 }, accumulative_counts: 3 },
  "several rows that are not packed": { batch_size: 3, pack_to_max_length: false },
  "long packed rows": { max_length: 300, gradient_checkpointing: true },
  "an adapter of the head": {
    model: models.untied,
    lora: { r: 6, lora_dropout: 0, target_modules: ["q_proj", "lm_head"] },
  },
  "a rank above the width": { lora: { r: 200, lora_dropout: 0 } },
  "an odd vocabulary": { model: models.odd, max_length: 33 },
  "a held-out loss": { eval_split: 0.2, batch_size: 2, max_length: 31 },
  "questions to answer, and most of the above": {
    ...questions,
    model: models.odd,
    eval_split: 0.1,
    batch_size: 2,
    lora: { r: 12, lora_dropout: 0.1 },
    gradient_checkpointing: true,
  },
};

test.each(Object.entries(CASES))(
  "%s: the estimate is within −0/+10 % of what was measured",
  async (_, changes) => {
    counts.peak = counts.held;
    const before = counts.held;
    judge((await run(gpu, configOf(changes))).memory, counts.peak - before);
    expect(counts.held).toBe(before);
  },
);

test("so it is on an adapter that computes, with its kernels", async () => {
  const own = await testGpu();
  const measured = meter(own);
  const { memory } = await run(own, configOf(CASES["questions to answer, and most of the above"]!));
  judge(memory, measured.peak);
  expect(measured.held).toBe(0);
});

/** The adapter under test with lower limits than it has. */
async function cutGpu(maxStorageBufferBindingSize: number): Promise<Gpu> {
  const { adapter } = await findAdapter(choice);
  const device = await adapter.requestDevice({ label: "cut" });
  const { maxBufferSize } = device.limits;
  const value = { maxBufferSize, maxStorageBufferBindingSize };
  Object.defineProperty(device, "limits", { value });
  return new Gpu(device, adapter.info);
}

test("tables in shards, logits in chunks and adapters in banks are counted as they are cut", async () => {
  const own = await cutGpu(100_000);
  const measured = meter(own);
  const plan = await run(own, configOf({ model: models.odd, max_length: 33 }));
  judge(plan.memory, measured.peak);
  expect(plan.memory.byKind.lossChunk).toBeLessThan(100_000);
  own.close();
});

test("f16 activations are counted where the adapter has them", async () => {
  const own = await nullGpu(); // computes nothing, and allocates as any other
  const measured = meter(own);
  const source = await openModelFolder(openFolder(models.tied));
  const config = configOf({ max_length: 64, quantization: "none", ...questions });
  const shape = { config, checkpointing: true, holdsOut: true };
  const parts = await allocateRun(own, source, shape, () => {});
  expect(parts.model.act).toBe("f16");
  await parts.model.adapter!.read(); // as for a checkpoint
  judge(await estimateMemory(limitsOf(own), source, shape), measured.peak);
  parts.free();
  expect(measured.held).toBe(0);
});

const LARGE = {
  batch_size: 4,
  max_length: 64,
  lora: { r: 64, lora_dropout: 0 },
  model: models.untied,
  eval_split: 0.1,
};

/** The estimate for a config. */
async function estimate(config: TrainConfig): Promise<number> {
  const { total } = await estimateMemory(
    limitsOf(gpu),
    await openModelFolder(openFolder(config.model)),
    { config, checkpointing: config.gradient_checkpointing === true, holdsOut: true },
  );
  return total;
}

async function refusalOf(config: TrainConfig): Promise<UserError> {
  const fault: unknown = await run(gpu, config).catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(UserError);
  return fault as UserError;
}

/** The settings that a refusal names, as `--set` takes them. */
function namedSettings(message: string): string[] {
  const remedy = message.split("\n")[1] ?? "";
  return [...remedy.matchAll(/([a-z_.]+): ([a-z\d]+)/g)].map(([, key, value]) => `${key}=${value}`);
}

test.each([
  [0.93, "gradient_checkpointing=true"],
  [0.5, "gradient_checkpointing=true"],
  [0.25, "batch_size=1"],
])(
  "a run that has %f of what it needs is refused before loading, with settings that then pass",
  async (share, first) => {
    const config = configOf(LARGE);
    const limit = (await estimate(config)) * share;
    const limited = { ...config, max_memory: limit / 2 ** 30 };
    counts.peak = counts.held;
    const { message } = await refusalOf(limited);
    expect(counts.peak).toBe(counts.held); // not a buffer was made
    expect(message).toMatch(/^This run needs .+ of GPU memory, and max_memory is .+MiB\./);
    expect(message).toMatch(/weights .+, adapter .+, optimizer .+, activations .+, loss chunk /);
    const settings = namedSettings(message);
    expect(settings[0]).toBe(first);
    await run(gpu, applySettings(limited, settings));
    expect(counts.peak - counts.held).toBeLessThanOrEqual(limit);
  },
);

test("what no setting makes fit is refused as such", async () => {
  const { message } = await refusalOf(configOf({ ...LARGE, max_memory: 0.001 }));
  expect(message).toMatch(/\nChoose a smaller model, or a GPU with more memory\./);
});

test("auto keeps of the forward pass what there is memory for, and counts it right", async () => {
  const [off, on] = [false, true].map((gradient_checkpointing) =>
    configOf({ ...LARGE, gradient_checkpointing }),
  );
  const [most, least] = [await estimate(off!), await estimate(on!)];
  expect(least).toBeLessThan(most);
  expect((await runOnAuto(most)).memory.total).toBe(most);
  expect((await runOnAuto(least)).memory.total).toBe(least);
  let before = least;
  for (const share of [0.6, 0.8, 0.99]) {
    const limit = Math.floor(least + share * (most - least));
    counts.peak = counts.held;
    const { memory } = await runOnAuto(limit, share !== 0.8);
    if (share === 0.8) judge(memory, counts.peak - counts.held);
    expect(memory.total).toBeGreaterThan(before);
    expect(memory.total).toBeLessThanOrEqual(limit);
    before = memory.total;
  }
});

function runOnAuto(limitBytes: number, onlyPlans = true): Promise<RunPlan> {
  const config = configOf({ ...LARGE, gradient_checkpointing: "auto" });
  return run(gpu, { ...config, max_memory: limitBytes / 2 ** 30 }, onlyPlans);
}

test("of memory that may be free, the most is what a run is refused by, four fifths of the least what it keeps by", () => {
  const auto = { max_memory: "auto" } as const;
  const limit = memoryLimit(gpu, auto, { least: 5 * 2 ** 30, most: 9 * 2 ** 30 });
  expect(limit).toMatchObject({ bytes: 9 * 2 ** 30, bytesForSpeed: 4 * 2 ** 30 });
  expect(limit?.words).toContain("9.0 GiB of memory is free");
  expect(memoryLimit(gpu, auto, undefined)).toBeUndefined();
});

test("with checkpointing on, expanded weights are kept where they fit", async () => {
  const config = configOf({ ...LARGE, gradient_checkpointing: true });
  const least = await estimate(config);
  const within = async (limit: number) => {
    const { memory } = await run(gpu, { ...config, max_memory: limit / 2 ** 30 }, true);
    return memory.total;
  };
  expect(await within(least)).toBe(least);
  const roomy = await within(2 * least);
  expect(roomy).toBeGreaterThan(least);
  expect(roomy).toBeLessThan(1.5 * least);
});

test("memory that the driver refuses although it was not foreseen is told with settings too", async () => {
  const own = await zeroGpu();
  const create = own.device.createBuffer.bind(own.device);
  const both = GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE; // which no buffer may have
  Object.assign(own.device, {
    createBuffer: (descriptor: GPUBufferDescriptor) =>
      create(descriptor.label === "evaluate.losses" ? { ...descriptor, usage: both } : descriptor),
  });
  const fault: unknown = await run(own, configOf(LARGE)).catch((error: unknown) => error);
  expect(String(fault)).toMatch(/refused .+ for evaluate\.losses, with .+ in use: .+\.\n/);
  expect(String(fault)).toMatch(/\nSet gradient_checkpointing: true \(then .+ MiB\)\.$/);
});

// Bytes by a formula whose every change is easy to follow.
const made = async (config: TrainConfig): Promise<number> =>
  (config.quantization === "nf4" ? 100 : 400) +
  config.lora.r +
  (config.batch_size * config.max_length) / (config.gradient_checkpointing === true ? 8 : 4);

const start = configOf({
  batch_size: 8,
  max_length: 1024,
  accumulative_counts: 2,
  lora: { r: 64 },
  quantization: "none",
}); // 400 + 64 + 2048 = 2512

test.each([
  [2511, ["gradient_checkpointing: true"]],
  [1000, ["gradient_checkpointing: true", "batch_size: 4, accumulative_counts: 4"]],
  [600, ["gradient_checkpointing: true", "batch_size: 1, accumulative_counts: 16"]],
  [
    500,
    ["gradient_checkpointing: true", "batch_size: 1, accumulative_counts: 16", "max_length: 256"],
  ],
  [
    430,
    [
      "gradient_checkpointing: true",
      "batch_size: 1, accumulative_counts: 16",
      "max_length: 128",
      "lora.r: 8",
    ],
  ],
  // With smaller weights, the changes before are no longer needed, or not as far.
  [
    400,
    ["gradient_checkpointing: true", "batch_size: 1, accumulative_counts: 16", "quantization: nf4"],
  ],
] as const)(
  "to stay within %d bytes, what costs least is changed first",
  async (limit, expected) => {
    const { changes, isEnough } = await findFittingSettings(
      start,
      made,
      (bytes) => bytes <= limit,
      false,
    );
    expect(changes.map(({ settings }) => settings)).toEqual(expected);
    expect(changes.at(-1)!.totalBytes).toBeLessThanOrEqual(limit);
    expect(isEnough).toBe(true);
  },
);

test("a resumed run is offered nothing that its numbers depend on", async () => {
  const fitting = await findFittingSettings(start, made, (bytes) => bytes <= 500, true);
  const changes = [{ settings: "gradient_checkpointing: true", totalBytes: 400 + 64 + 1024 }];
  expect(fitting).toEqual({ changes, isEnough: false });
});

/** The tensors of a Llama of 8 billion parameters, none of which can be read. */
function largeModel() {
  const config = {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 128_256,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    hidden_act: "silu",
    tie_word_embeddings: false,
  };
  const architecture = parseArchitecture(JSON.stringify(config), "the test");
  const tensors = new Map<string, SourceTensor>();
  const add = (path: string, shape: number[]) =>
    tensors.set(`${path}.weight`, {
      name: `${path}.weight`,
      shape,
      dtype: "BF16",
      place: "nowhere",
      read: () => Promise.reject(new Error("it was read")),
    });
  add("model.embed_tokens", [128_256, 4096]);
  add("lm_head", [128_256, 4096]);
  add("model.norm", [4096]);
  for (let layer = 0; layer < 32; layer++) {
    add(`model.layers.${layer}.input_layernorm`, [4096]);
    add(`model.layers.${layer}.post_attention_layernorm`, [4096]);
    for (const { segments, inputs } of Object.values(blockLinears(architecture, layer))) {
      for (const { path, rows } of segments) add(path, [rows, inputs]);
    }
  }
  return { architecture, files: { path: "nowhere", tensors, totalBytes: 16e9 } };
}

test("eight billion parameters are counted in a second, without reading one", async ({
  annotate,
}) => {
  const limits = { maxBufferSize: 2 ** 32, maxStorageBufferBindingSize: 2 ** 31 };
  const info = { description: "no GPU at all" } as GPUAdapterInfo;
  const config = configOf({ max_length: 1024, lora: { r: 16 }, ...questions });
  const source = largeModel();
  const before = process.cpuUsage();
  const { total, byKind } = await estimateMemory(
    { info, limits, features: new Set(["shader-f16"]) },
    source,
    { config, checkpointing: true, holdsOut: true },
  );
  const seconds = process.cpuUsage(before).user / 1e6;
  await annotate(`counted in ${seconds.toFixed(2)} s of processor time`);
  expect(seconds).toBeLessThan(3); // a second, with room for a cold start
  // NF4 takes 9/16 byte of each of 6.98 billion weights; the tables take two of each of 1.05 billion.
  expect(byKind.weights / (6.98e9 * 0.5625 + 1.05e9 * 2)).toBeCloseTo(1, 1);
  // Each block's input in f32 is kept.
  expect(byKind.activations).toBeGreaterThan(32 * 1024 * 4096 * 4);
  expect(total).toBeLessThan(10e9);
});
