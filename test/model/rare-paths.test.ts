// Paths that few runs take: sharded tables, several banks, chunks of logits, an adapter of the head,
// ranks that are padded, projections without an adapter beside others with one.
import { expect, test } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { freeModel, loadModel } from "../../src/engine/load-model.ts";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { ADAPTER_DEFAULTS, selectTargets } from "../../src/formats/peft.ts";
import { readF32, write } from "../../src/gpu/tensor.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { firstOptimizerState } from "../../src/kernels/grad-norm.ts";
import type { LoraMatrices } from "../../src/model/adapter.ts";
import { modulesOf } from "../../src/model/files/adapter-files.ts";
import { allLinears } from "../../src/model/linears.ts";
import { buildTrainProgram } from "../../src/model/transformer.ts";
import { writeTinyModel } from "../engine/tiny-folder.ts";
import { testGpu } from "../gpu.ts";
import { type BatchJson, microBatchOf, relativeError, uploadBatch } from "./tiny.ts";

const gpu = await testGpu();

const VOCAB = 2304;
const TOKENS = 40;
const random = createRandom(3);
const draw = () => Math.floor(random.next() * VOCAB);
// Two documents, the second from token 17 on, and a target for two tokens of three.
const START = 17;
const json: BatchJson = {
  ids: Array.from({ length: TOKENS }, draw),
  targets: Array.from({ length: TOKENS }, (_, i) => (i % 3 === 0 ? 0xffff_ffff : draw())),
  positions: Array.from({ length: TOKENS }, (_, i) => (i < START ? i : i - START)),
  segmentStart: Array.from({ length: TOKENS }, (_, i) => (i < START ? 0 : START)),
};
const batch = microBatchOf(json);

interface Case {
  readonly targetModules: string[];
  readonly rank: number;
  readonly dtype: "F32" | "F16" | "BF16";
  readonly isTied: boolean;
  readonly quantization: "nf4" | "none";
}

const CASES: Case[] = [
  {
    targetModules: ["q_proj", "v_proj", "down_proj", "lm_head"],
    rank: 15,
    dtype: "F32",
    isTied: false,
    quantization: "none",
  },
  {
    targetModules: ["k_proj", "up_proj", "lm_head"],
    rank: 3,
    dtype: "F16",
    isTied: true,
    quantization: "nf4",
  },
  {
    targetModules: ["v_proj", "o_proj", "gate_proj"],
    rank: 33, // two banks where a binding is small
    dtype: "BF16",
    isTied: false,
    quantization: "none",
  },
];

test.each(CASES)(
  "$targetModules at rank $rank, $dtype, tied $isTied, $quantization: gradients are the slope of the loss",
  async (item) => {
    const parts = await trainer(item);
    const { loss, gradients } = await parts.run(0);
    const square = [...gradients.values()]
      .flatMap(({ a, b }) => [...a, ...b])
      .reduce((sum, value) => sum + value * value, 0);
    // Along the gradient the loss rises by its square, to the second order in the step.
    const step = 0.01 / Math.sqrt(square);
    const [after, before] = [await parts.run(step, gradients), await parts.run(-step, gradients)];
    const slope = (after.loss - before.loss) / (2 * step);
    expect(loss).toBeGreaterThan(1);
    expect(Math.abs(slope / square - 1)).toBeLessThan(5e-3);
    parts.free();
  },
);

test.each(CASES)(
  "$targetModules at rank $rank, $dtype, tied $isTied, $quantization: small bindings change nothing",
  async (item) => {
    const whole = await trainer(item);
    const expected = await whole.run(0);
    whole.free();
    // Two shards of the tables (three in f32), two chunks of logits, several banks.
    const cut = await trainer(item, 230_000);
    const actual = await cut.run(0);
    expect(cut.shards).toBeGreaterThan(1);
    cut.free();
    expect(actual.loss).toBeCloseTo(expected.loss, 5);
    expect(actual.gradients.size).toBe(expected.gradients.size);
    for (const [path, { a, b }] of actual.gradients) {
      const same = expected.gradients.get(path)!;
      expect(relativeError(a, same.a), `${path} A`).toBeLessThan(1e-4);
      expect(relativeError(b, same.b), `${path} B`).toBeLessThan(1e-4);
    }
  },
);

/** A model that can be run at its adapter plus `step` times a direction. */
async function trainer(item: Case, maxTensorBytes = gpu.maxTensorBytes) {
  const small = new Proxy(gpu, {
    get: (target, key) => {
      if (key === "maxTensorBytes") return maxTensorBytes;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value as () => unknown).bind(target) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
  const opened = await openModelFolder(openFolder(writeTinyModel(item.dtype, item.isTied)));
  const linears = allLinears(opened.architecture);
  const adapterConfig = { ...ADAPTER_DEFAULTS, ...item, alpha: 2 * item.rank };
  const targets = selectTargets(adapterConfig, modulesOf(linears), "the test");
  const model = await loadModel(small, opened, {
    quantization: item.quantization,
    computeDtype: "f32",
    positions: TOKENS,
    targets,
    training: true,
  });
  const numbers = createRandom(4);
  const first = new Map<string, LoraMatrices>();
  for (const { path } of targets) {
    const shape = linears.find(({ segments }) => segments.some((part) => part.path === path))!;
    const rows = shape.segments.find((part) => part.path === path)!.rows;
    const make = (count: number) =>
      Float32Array.from({ length: count }, () => 0.1 * numbers.normal());
    first.set(path, { a: make(item.rank * shape.inputs), b: make(rows * item.rank) });
  }
  const state = gpu.allocate("state", "f32", [16]);
  const uploaded = uploadBatch(gpu, batch);
  const program = await buildTrainProgram(model, {
    batch: uploaded,
    state,
    checkpointing: false,
    dropout: 0,
  });
  const adapter = model.adapter!;
  return {
    shards: model.weights.embedding.length,
    async run(step: number, direction?: ReadonlyMap<string, LoraMatrices>) {
      const placed = new Map(
        [...first].map(([path, { a, b }]) => {
          const along = direction?.get(path);
          return [path, { a: moved(a, step, along?.a), b: moved(b, step, along?.b) }] as const;
        }),
      );
      adapter.write(placed);
      for (const { training } of adapter.banks) {
        write(gpu, training!.gradients, new Float32Array(training!.gradients.shape[0]!));
      }
      write(gpu, state, firstOptimizerState(false));
      model.step.set({ lossWeight: 1 / batch.labelTokens });
      program.run();
      await gpu.finish();
      const gradients = await adapter.read("gradients");
      return { loss: (await readF32(gpu, state))[8]! / batch.labelTokens, gradients };
    },
    free() {
      program.free();
      freeModel(model);
    },
  };
}

/** `values` plus `step` times `direction`. */
function moved(values: Float32Array, step: number, direction?: Float32Array): Float32Array {
  return values.map((value, i) => value + step * (direction?.[i] ?? 0));
}
