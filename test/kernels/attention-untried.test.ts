// What attention is made with where nothing was tried, by what adapters tell of themselves. Nothing is computed.
import { describe, expect, test } from "vitest";
import { countingGpu } from "../../src/gpu/counting.ts";
import type { Choices } from "../../src/gpu/choices.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { attentionBackward } from "../../src/kernels/attention-backward.ts";
import { PREFILL_SLOTS } from "../../src/kernels/attention-cached-prefill.ts";
import {
  ATTENTION_DECODE_TUNABLE,
  ATTENTION_PREFILL_TUNABLES,
} from "../../src/kernels/attention-cached-tunables.ts";
import { attentionCached } from "../../src/kernels/attention-cached.ts";
import { ATTENTION_TUNABLES } from "../../src/kernels/attention-tunables.ts";
import { attentionForward } from "../../src/kernels/attention.ts";
import { allocateCache } from "../../src/kernels/kv-cache.ts";
import type { TrialSizes } from "../../src/kernels/tunable.ts";
import { type ActivationType, nullGpu } from "../gpu.ts";
import { apart } from "./attention-shapes.ts";

const KIB = 1024;

/** An adapter that tells this of itself; with `lanes`, subgroups of as many. */
function adapter(isFallbackAdapter: boolean, memory: number, lanes = 0): Gpu {
  const limits = {
    maxBufferSize: 2 ** 31,
    maxStorageBufferBindingSize: 2 ** 31,
    maxComputeWorkgroupStorageSize: memory,
  };
  const info = { isFallbackAdapter, subgroupMinSize: lanes, subgroupMaxSize: lanes };
  const features = new Set(["shader-f16", ...(lanes > 0 ? ["subgroups"] : [])]);
  return countingGpu({ info: info as GPUAdapterInfo, features, limits });
}

const real = adapter(false, 48 * KIB, 32);
const software = adapter(true, 48 * KIB);

describe.each(["f32", "f16"] as const)("%s", (act) => {
  test.each([64, 128])("a GPU takes tiles, for heads of %i", async (headSize) => {
    const expected = ["attention-tile", "attention-tile-backward", "attention-tile-backward"];
    expect(await training(real, act, { headSize })).toEqual(expected);
    // With as little workgroup memory as WebGPU allows.
    expect(await training(adapter(false, 16 * KIB), act, { headSize })).toEqual(expected);
    expect(await training(await nullGpu(), act, { headSize })).toEqual(expected);
  });

  test("a GPU takes the direct kernels where tiles do not fit", async () => {
    const direct = ["attention", "attention-backward", "attention-backward"];
    expect(await training(adapter(false, 8 * KIB), act)).toEqual(direct);
    // 32 queries of a token to a workgroup would be more workgroups in a row than WebGPU allows.
    const wide = { headSize: 4, heads: 32, kvHeads: 1, tokens: 70_000 };
    const [, ...backward] = await training(real, act, wide);
    expect(backward).toEqual(direct.slice(1));
  });

  test("software takes lanes, and without them the direct kernels", async () => {
    const lanes = ["attention-lanes", "attention-lanes-backward", "attention-lanes-backward"];
    expect(await training(adapter(true, 32 * KIB, 4), act)).toEqual(lanes);
    const direct = ["attention", "attention-backward", "attention-backward"];
    expect(await training(software, act)).toEqual(direct);
  });
});

test("what a chosen tile cannot reach over is left to the direct kernels", async () => {
  const choices = { "attention.f32.forward": "tile 32", "attention.f32.backward": "tile 16" };
  const wide = { headSize: 4, heads: 64, kvHeads: 1, tokens: 70_000, choices };
  expect(new Set(await training(real, "f32", wide))).toEqual(
    new Set(["attention", "attention-backward"]),
  );
});

test.each([
  { on: "a GPU", gpu: real, long: "attention-cached-tile", short: "attention-cached" },
  {
    on: "a GPU of little memory",
    gpu: adapter(false, 16 * KIB),
    long: "attention-cached-direct",
    short: "attention-cached",
  },
  {
    on: "software",
    gpu: software,
    long: "attention-cached-direct",
    short: "attention-cached-direct",
  },
])("over a cache, $on takes $long for long pieces and $short for short ones", async (one) => {
  for (const act of ["f32", "f16"] as const) {
    expect(await generation(one.gpu, act, { rows: 129, capacity: 300 })).toEqual([one.long]);
    expect(await generation(one.gpu, act, { rows: 128, capacity: 300 })).toEqual([one.short]);
  }
});

test("a choice that does not run here is as if nothing was tried", async () => {
  const choices = { [PREFILL_SLOTS.long]: "matrix 32 of 16x16x16 f16" };
  const shape = { rows: 129, capacity: 300, choices };
  expect(await generation(real, "f16", shape)).toEqual(["attention-cached-tile"]);
});

test("a GPU splits a long cache for one token, and software does not", async () => {
  const whole = ["attention-cached"];
  const split = ["attention-cached-split", "attention-cached-split"];
  expect(await generation(real, "f16", { rows: 1, capacity: 129 })).toEqual(split);
  expect(await generation(real, "f16", { rows: 1, capacity: 128 })).toEqual(whole);
  expect(await generation(software, "f16", { rows: 1, capacity: 129 })).toEqual(whole);
});

test("tunables say what kernels take, which is among what they try", () => {
  const sizes: TrialSizes = {
    hidden: 256,
    intermediate: 256,
    heads: 4,
    kvHeads: 2,
    headSize: 64,
    rank: 0,
    tokens: 256,
    act: "f32",
  };
  const untried = (gpu: Gpu) =>
    [...ATTENTION_TUNABLES, ...ATTENTION_PREFILL_TUNABLES, ATTENTION_DECODE_TUNABLE].map(
      (tunable) => {
        const name = tunable.untried?.(gpu);
        // Slots that name no type are of both.
        const named = /f16|f32/.exec(tunable.slot) ?? ["f32", "f16"];
        for (const act of named as ActivationType[]) {
          expect(tunable.candidates(gpu, { ...sizes, act })).toContain(name);
        }
        return `${tunable.slot}: ${name}`;
      },
    );
  expect(untried(real)).toEqual([
    "attention.f32.forward: tile 16",
    "attention.f32.backward: tile 8",
    "attention.f16.forward: tile 32",
    "attention.f16.backward: tile 16",
    "attention.prefill: tile 32",
    "attention.prefill.short: rows",
    "attention.decode: split 128",
  ]);
  expect(untried(software).map((line) => line.replace(/.*: /, ""))).toEqual([
    ...ATTENTION_TUNABLES.map(() => "direct"),
    "direct",
    "direct",
    "whole",
  ]);
});

interface Training {
  readonly headSize?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly tokens?: number;
  readonly choices?: Choices;
}

/** The shaders of both passes of training's attention. */
async function training(
  gpu: Gpu,
  act: ActivationType,
  { headSize = 64, heads = 4, kvHeads = 2, tokens = 70, choices = {} }: Training = {},
): Promise<string[]> {
  const layout = { heads, kvHeads, headSize, ...apart(heads, kvHeads, headSize) };
  const recorder = recorderOf(gpu, choices);
  const rows = [tokens, heads * headSize];
  const operands = {
    qkv: recorder.transient("qkv", act, [tokens, layout.stride]),
    segmentStart: recorder.transient("segmentStart", "u32", [tokens]),
    o: recorder.transient("o", act, rows),
    lse: recorder.transient("lse", "f32", [2, tokens, heads]),
    layout,
  };
  attentionForward(recorder, operands);
  attentionBackward(recorder, {
    ...operands,
    dO: recorder.transient("dO", act, rows),
    dqkv: recorder.transient("dqkv", act, [tokens, layout.stride]),
  });
  return shadersOf(recorder);
}

interface Generation {
  readonly rows: number;
  readonly capacity: number;
  readonly choices?: Choices;
}

/** The shaders of attention over a cache. */
async function generation(
  gpu: Gpu,
  act: ActivationType,
  { rows, capacity, choices = {} }: Generation,
): Promise<string[]> {
  const [heads, kvHeads, headSize] = [4, 2, 64];
  const layout = { heads, kvHeads, headSize, ...apart(heads, kvHeads, headSize) };
  const width = kvHeads * headSize;
  const cache = allocateCache(gpu, "cache", "native", { capacity, width, kvHeads, act });
  const recorder = recorderOf(gpu, choices);
  const qkv = recorder.transient("qkv", act, [rows, layout.stride]);
  const o = recorder.transient("o", act, [rows, heads * headSize]);
  attentionCached(recorder, { qkv, cache, layout, o });
  return shadersOf(recorder);
}

function recorderOf(gpu: Gpu, choices: Choices): Recorder {
  return new Recorder(gpu, "test", new Workspace(gpu), new StepScalars(gpu), choices);
}

async function shadersOf(recorder: Recorder): Promise<string[]> {
  const { dispatchNames } = await recorder.build();
  return dispatchNames.map((name) => name.replace(/\..*/, ""));
}
