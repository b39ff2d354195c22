// Products in slices of their inner dimension, in the families that make them. Software never splits by itself:
// here it is asked to, and what a GPU would do by itself is read from what it records.
import { describe, expect, test } from "vitest";
import { countingGpu } from "../../src/gpu/counting.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { matmulBackward } from "../../src/kernels/matmul.ts";
import { activationTypes, nullGpu, testGpu } from "../gpu.ts";
import { expectProducts, type ProductCase } from "./products.ts";

const gpu = await testGpu();

// Tiles are 32 × 32 and 16 deep. A last slice that ends inside a tile, and one of a single output; rows and columns
// that end inside tiles; a piece of larger tensors, added to what is there; as many slices as there are tiles.
const CASES: readonly ProductCase[] = [
  { rows: 1, outputs: 33, inputs: 4, slices: 2 },
  { rows: 45, outputs: 70, inputs: 84, slices: 3 },
  { rows: 34, outputs: 102, inputs: 36, slices: 2, offset: 1, addend: "held" },
  { rows: 6, outputs: 64, inputs: 20, slices: 4, offset: 4 },
  { rows: 33, outputs: 97, inputs: 40, slices: 8, hasWideGradient: true },
];
const NF4: ProductCase = { rows: 34, outputs: 50, inputs: 132, storage: "nf4", slices: 3 };

describe.each(activationTypes(gpu))("in %s", (act) => {
  test("tiles add up to what one sum is", async () => {
    await expectProducts(gpu, act, [...CASES, NF4], "tile 32x32x16");
  });

  test("so do units, emulated", async () => {
    await expectProducts(gpu, act, [...CASES, NF4], "emulated 32x32x16 by 2x2 of 8x8x8");
  });
});

const MIB = 2 ** 20;
const TILE = "tile 64x128x16";
// Of the head of Llama 3.2 1B: 8 × 16 tiles.
const SHAPE = { rows: 512, outputs: 128_256, inputs: 2048 };
const MANY_SUMS = { rows: 4096, outputs: 1024, inputs: 2048, slices: 8 };
const { device } = await nullGpu();

test("what the head of a large GPU takes is made in about 256 workgroups, and added up", async () => {
  const recorded = await record(gpuOf(), SHAPE);
  expect(recorded.names).toEqual([
    expect.stringMatching(/^matmul-tile-packed-bf16\.backward .*Out=f32 .*IN_SLICES=true/),
    expect.stringMatching(/^matmul-slices\.add Out=f32/),
  ]);
  expect(recorded.transientBytes).toBe(2 * 512 * 2048 * 4);
  // 4 × 8 tiles: eight slices, and no more of fewer tiles.
  const fewer = await record(gpuOf(), { rows: 256, outputs: 128_256, inputs: 1024 });
  expect(fewer.transientBytes).toBe(8 * 256 * 1024 * 4);
  const fewest = await record(gpuOf(), { rows: 8, outputs: 128_256, inputs: 1024 });
  expect(fewest.transientBytes).toBe(8 * 8 * 1024 * 4);
});

test("a slice has thousands of steps: of 10,000 there are two", async () => {
  const recorded = await record(gpuOf(), { rows: 64, outputs: 10_000, inputs: 512 });
  expect(recorded.transientBytes).toBe(2 * 64 * 512 * 4);
});

test.each([
  ["software has few processors", gpuOf({ isFallbackAdapter: true }), SHAPE],
  ["the inner dimension is short", gpuOf(), { ...SHAPE, outputs: 8000 }],
  ["there are tiles enough", gpuOf(), { ...SHAPE, rows: 1024 }],
  ["the sums would not fit into a tensor", gpuOf({ maxBytes: 128 * MIB }), MANY_SUMS],
  ["an adapter is added", gpuOf(), { ...SHAPE, rank: 8 }],
  ["one was asked for", gpuOf(), { ...SHAPE, slices: 1 }],
])("one dispatch where %s", async (_, on, shape) => {
  const { names, transientBytes } = await record(on, shape);
  expect(names).toEqual([
    expect.stringMatching(/^matmul-tile-packed-bf16\.backward .*IN_SLICES=false/),
  ]);
  expect(transientBytes).toBe(0);
});

test("the variant that runs anywhere makes every product at once", async () => {
  const on = gpuOf();
  on.choices = { "matmul.f32.backward": "direct" };
  const { names } = await record(on, { ...SHAPE, slices: 4 });
  expect(names).toEqual([expect.stringMatching(/^matmul-packed-bf16\.backward/)]);
});

/** A GPU that counts, with the limits of Dawn's null backend or less. */
function gpuOf({ isFallbackAdapter = false, maxBytes = 2048 * MIB } = {}): Gpu {
  const { features, limits } = device;
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = limits;
  const on = countingGpu({
    info: { isFallbackAdapter } as GPUAdapterInfo,
    features,
    limits: Object.assign(
      { maxBufferSize: 2048 * MIB, maxStorageBufferBindingSize: maxBytes },
      { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize },
    ),
  });
  on.choices = { "matmul.f32.backward": TILE };
  return on;
}

/** What a product records, and the memory that is its own. */
async function record(
  on: Gpu,
  size: { rows: number; outputs: number; inputs: number; rank?: number; slices?: number },
) {
  const { rows, outputs, inputs, rank, slices } = size;
  const workspace = new Workspace(on);
  const recorder = new Recorder(on, "slices", workspace, new StepScalars(on));
  const shape = [outputs, inputs] as const;
  // As words of two numbers, or the weight alone would be past the limits.
  const tensor = on.allocate("weight", "u32", [outputs, inputs / 2]);
  const lora = rank && {
    dh: on.allocate("dh", "f32", [rows, rank]),
    a: on.allocate("a", "f32", [rank, inputs]),
    rank,
    segments: 1,
  };
  const dy = on.allocate("dy", "f32", [rows, outputs]);
  const dx = on.allocate("dx", "f32", [rows, inputs]);
  const before = on.allocatedBytes;
  matmulBackward(recorder, {
    dy,
    weight: { tensor, shape, kind: "packed-bf16" },
    dx,
    ...(lora && { lora }),
    ...(slices && { slices }),
  });
  const program = await recorder.build();
  const names = program.dispatchNames;
  program.free();
  return { names, transientBytes: on.allocatedBytes - before };
}
