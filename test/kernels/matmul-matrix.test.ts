// Subgroup matrices need a GPU that has them: where the adapter under test has, every variant that it is offered is
// checked in numbers. What is around the units is checked with an emulation of them, on any adapter; with the units
// themselves, every variant is compiled on the null backend.
import { describe, expect, test } from "vitest";
import { countingGpu } from "../../src/gpu/counting.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import type { SubgroupMatrixConfig } from "../../src/gpu/subgroups.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { matmulBackward, matmulForward } from "../../src/kernels/matmul.ts";
import { matrixVariants } from "../../src/kernels/matmul-matrix.ts";
import { activationTypes, nullGpu, testGpu } from "../gpu.ts";
import { expectProducts, type ProductCase } from "./products.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

// Both end in the middle of a unit in all three dimensions. Few combinations of what a shader is made for,
// since each is one more to compile.
const RAGGED: readonly ProductCase[] = [
  { rows: 1, outputs: 6, inputs: 4 },
  { rows: 46, outputs: 70, inputs: 84, addend: "held", offset: 1 },
  { rows: 6, outputs: 35, inputs: 20, bias: true, addend: "residual" },
];
// Segments that end inside a tile, a rank that ends inside one, and a mask for each segment.
const ADAPTED: ProductCase = {
  rows: 41,
  outputs: 72,
  inputs: 36,
  rank: 20,
  segmentEnds: [24, 36, 40, 72],
};
const TURNED: ProductCase = {
  rows: 35,
  outputs: 96,
  inputs: 20,
  heads: { heads: 4, kvHeads: 2, headSize: 12, rotary: 8 },
};
const NF4: ProductCase = {
  rows: 34,
  outputs: 33,
  inputs: 132,
  storage: "nf4",
  isForwardOnly: true,
};

test("with units of 8 × 8 × 8, products of every shape with all that is added to them", async () => {
  const variant = "emulated 32x32x16 by 2x2 of 8x8x8";
  await expectProducts(baseline, "f32", [...RAGGED, ADAPTED, TURNED, NF4], variant);
});

const F16 = { componentType: "f16", resultComponentType: "f32" };
const F32 = { componentType: "f32", resultComponentType: "f32" };

// In f16, where the adapter under test has it.
const act = gpu.hasF16 ? "f16" : "f32";

// As Dawn's Metal has them: f16 with sums in f16, which are not used.
const METAL: readonly SubgroupMatrixConfig[] = [
  { ...F32, M: 8, N: 8, K: 8 },
  { ...F16, resultComponentType: "f16", M: 8, N: 8, K: 8 },
];

test.skipIf(!gpu.hasF16)("products in f16 with units of f32, which are all there are", async () => {
  const on = withUnits(await testGpu(), METAL);
  const wide = { ...ADAPTED, rows: 66, hasWideGradient: true };
  const cases = [RAGGED[1]!, wide, NF4];
  await expectProducts(on, "f16", cases, "emulated 32x32x16 by 2x2 of 8x8x8");
});

test("units that are wider than high, whole tiles, kept as single numbers", async () => {
  const whole = { rows: 64, outputs: 64, inputs: 32, rank: 16, segmentEnds: [32, 64] };
  await expectProducts(gpu, act, [whole], "emulated 32x32x16 by 2x2 of 8x16x16 numbers");
});

// Of small units: software compiles an emulated unit once for each in a block, of 16 × 16 × 16 for minutes.
test.each([
  "emulated 16x32x16 by 2x4 of 8x8x8", // 16 × 32 for a subgroup
  "emulated 16x32x64 by 2x4 of 8x8x8", // as deep as a thread's loads go
  "emulated 32x32x16 by 4x4 of 8x8x8", // 32 × 32
])("larger blocks: %s", async (variant) => {
  await expectProducts(gpu, act, [{ ...ADAPTED, rows: 66, hasWideGradient: true }], variant);
});

// Of minutes: where asked for, as .ci/run does (CONTRIBUTING.md).
test.runIf(process.env["HONE_LARGE_UNITS"]).each([
  ["emulated 32x64x32 by 2x2 of 16x16x16", [{ ...ADAPTED, rows: 66 }]],
  ["emulated 64x64x16 by 4x4 of 16x16x16", []],
] as const)(
  "units of 16 × 16 × 16: %s",
  async (variant, more) => {
    const whole = { rows: 64, outputs: 64, inputs: 64, bias: true };
    await expectProducts(gpu, act, [whole, ...more], variant);
  },
  1_800_000,
);

// Several tiles of any variant each way, and rows past a tile of a piece that is added to what is there.
const LARGE_CASE: ProductCase = { rows: 270, outputs: 300, inputs: 292 };
const LARGE_PIECE: ProductCase = {
  rows: 130,
  outputs: 138,
  inputs: 148,
  addend: "held",
  offset: 1,
};
const ALL_CASES: readonly ProductCase[] = [
  ...RAGGED,
  LARGE_CASE,
  LARGE_PIECE,
  ADAPTED,
  { ...ADAPTED, rows: 66, hasWideGradient: true },
  { rows: 150, outputs: 200, inputs: 164, rank: 40, segmentEnds: [24, 136, 200], bias: true },
  TURNED,
  { ...NF4, isForwardOnly: false },
  { rows: 45, outputs: 270, inputs: 84, slices: 2 },
];

describe.each(activationTypes(gpu))("units of the adapter under test, in %s", (type) => {
  const variants = matrixVariants(gpu, type);
  // All cases are many pipelines: the first variant of each block has them all, the others a few.
  const first = ["2x2", "2x4", "4x4"].flatMap(
    (block) => variants.find((name) => name.includes(` by ${block} `)) ?? [],
  );
  const named = variants.length > 0 ? variants : ["this adapter has none"];
  test.skipIf(variants.length === 0).each(named)("%s", async (variant) => {
    const cases = first.includes(variant) ? ALL_CASES : [LARGE_PIECE];
    await expectProducts(gpu, type, cases, variant);
  });
});

// The null backend has 16 KiB of workgroup memory and 256 threads. Of what takes more, as most tiles of units of
// 16 × 16 × 16 do, smaller tiles are made into pipelines; the text of all follows below.
const ADAPTERS: readonly { type: "f16" | "f32"; unit: SubgroupMatrixConfig; more: string[] }[] = [
  {
    type: "f16",
    unit: { ...F16, M: 16, N: 16, K: 16 },
    more: ["64x64x16 by 2x2", "32x64x16 by 2x4", "64x64x16 by 4x4"],
  },
  { type: "f16", unit: { ...F16, M: 8, N: 16, K: 16 }, more: ["32x128x16 by 2x4"] },
  { type: "f32", unit: { ...F32, M: 8, N: 8, K: 8 }, more: [] },
  { type: "f16", unit: { ...F32, M: 8, N: 8, K: 8 }, more: [] },
];

test.each(ADAPTERS)("every variant in $type compiles with real units: $unit", async (adapter) => {
  const { type, unit, more } = adapter;
  const others = [
    { ...unit, componentType: "f16", resultComponentType: "f16", K: 64 }, // its sums are not f32
    { ...unit, componentType: "i8", resultComponentType: "i32", K: 64 },
    { ...unit, N: 4 },
  ];
  const device = await nullGpu({ matrixConfigs: [...others, unit] });
  const units = `${unit.M}x${unit.N}x${unit.K}`;
  const offered = matrixVariants(device, type);
  expect(offered.every((name) => name.includes(` of ${units}`))).toBe(true);
  const small = more.flatMap((tile) => [
    `matrix ${tile} of ${units}`,
    `matrix ${tile} of ${units} numbers`,
  ]);
  const variants = [...offered, ...small];
  expect(variants.length).toBeGreaterThan(2);
  for (const variant of variants) {
    const names = await compile(device, type, variant);
    expect(names.every((name) => name.startsWith("matmul-matrix-sized"))).toBe(true);
    const isOfUnits = (name: string) => name.includes(` Shared=${unit.componentType} `);
    expect(names.every(isOfUnits)).toBe(true);
  }
});

test("units of f16 are taken where there are units of f32 too", async () => {
  const unit = { ...F16, M: 8, N: 8, K: 16 };
  const device = await nullGpu({ matrixConfigs: [{ ...F32, M: 8, N: 16, K: 16 }, unit] });
  const variants = matrixVariants(device, "f16");
  expect(variants.length).toBeGreaterThan(2);
  expect(variants.every((name) => name.includes(" of 8x8x16"))).toBe(true);
});

test("real units make a product in slices too", async () => {
  const device = await nullGpu({ matrixConfigs: [{ ...F16, M: 16, N: 16, K: 16 }] });
  device.choices = { "matmul.f16.backward": "matrix 64x64x16 by 2x2 of 16x16x16" };
  const recorder = new Recorder(device, "slices", new Workspace(device), new StepScalars(device));
  const dy = recorder.transient("dy", "f32", [5, 100]);
  const dx = recorder.transient("dx", "f16", [5, 64]);
  const tensor = recorder.transient("weight", "f16", [100, 64]);
  const weight = { tensor, shape: [100, 64], kind: "native" } as const;
  matmulBackward(recorder, { dy, weight, dx, slices: 3 });
  const program = await recorder.build();
  expect(program.dispatchNames).toEqual([
    expect.stringMatching(/^matmul-matrix-sized-2x2\.backward .*Out=f32 .*IN_SLICES=true/),
    expect.stringMatching(/^matmul-slices\.add Out=f16/),
  ]);
});

// Subgroups of one size are not asked for it.
const LARGE_INFO = {
  isFallbackAdapter: false,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
} as GPUAdapterInfo;
const LARGE = { maxComputeWorkgroupStorageSize: 49_152, maxComputeInvocationsPerWorkgroup: 1024 };
const LARGE_ADAPTERS: readonly [type: "f16" | "f32", unit: SubgroupMatrixConfig, some: string[]][] =
  [
    [
      "f16",
      { ...F16, M: 16, N: 16, K: 16 },
      [
        "matrix 128x128x32 by 4x4 of 16x16x16",
        "matrix 64x128x32 by 2x2 of 16x16x16",
        "matrix 64x128x64 by 2x4 of 16x16x16",
      ],
    ],
    ["f16", { ...F16, M: 8, N: 8, K: 8 }, ["matrix 64x64x64 by 4x4 of 8x8x8"]],
    ["f32", { ...F32, M: 8, N: 8, K: 8 }, ["matrix 64x64x32 by 4x4 of 8x8x8 numbers"]],
    ["f16", { ...F32, M: 8, N: 8, K: 8 }, ["matrix 64x64x32 by 4x4 of 8x8x8 numbers"]],
  ];

// No pipeline is made, which the null backend's memory and threads would not do for. What its compiler says
// of a text does not depend on them.
test.each(LARGE_ADAPTERS)(
  "all that a large GPU is offered in %s of %o is sound WGSL",
  async (type, unit, some) => {
    const { device } = await nullGpu();
    const limits = {
      ...LARGE,
      maxBufferSize: device.limits.maxBufferSize,
      maxStorageBufferBindingSize: device.limits.maxStorageBufferBindingSize,
    };
    const large = countingGpu({ info: LARGE_INFO, features: device.features, limits });
    withUnits(large, [unit]);
    const modules: GPUShaderModule[] = [];
    large.device.createShaderModule = (descriptor) => {
      const module = device.createShaderModule(descriptor);
      modules.push(module);
      return module;
    };
    const variants = matrixVariants(large, type);
    expect(variants).toEqual(expect.arrayContaining(some));
    // Units of f32 are for both types, in the same variants; those of f16 are for their own.
    const others = matrixVariants(large, type === "f16" ? "f32" : "f16");
    expect(others).toEqual(unit.componentType === "f32" ? variants : []);
    device.pushErrorScope("validation");
    for (const variant of variants) {
      const names = await compile(large, type, variant);
      expect(names.every((name) => /^matmul-matrix-(?!sized)/.test(name))).toBe(true);
    }
    const infos = await Promise.all(modules.map((module) => module.getCompilationInfo()));
    const errors = infos.flatMap(({ messages }) =>
      messages.filter(({ type: kind }) => kind === "error"),
    );
    expect(errors.map(({ message }) => message)).toEqual([]);
    expect(await device.popErrorScope()).toBeNull();
    // Both passes, of a native weight and of NF4.
    expect(modules).toHaveLength(4 * variants.length);
  },
);

test("a device without the matrices is offered none, and takes the variant that runs anywhere", async () => {
  const device = await nullGpu();
  expect(matrixVariants(device, "f16")).toEqual([]);
  const names = await compile(device, "f16", "matrix 64x64x32 by 2x2 of 16x16x16");
  expect(names.every((name) => /^matmul(-nf4)?\./.test(name))).toBe(true);
});

/** The device as one that multiplies these matrices, whatever the adapter tells. */
function withUnits(on: Gpu, units: readonly SubgroupMatrixConfig[]): Gpu {
  return Object.defineProperty(on, "matrixConfigs", { value: units });
}

/** Compiles both passes in a variant, for a native weight and NF4, and tells what they were. */
async function compile(device: Gpu, type: "f16" | "f32", variant: string) {
  const slots = { [`matmul.${type}.forward`]: variant, [`matmul.${type}.backward`]: variant };
  const recorder = new Recorder(
    device,
    variant,
    new Workspace(device),
    new StepScalars(device),
    slots,
  );
  const x = recorder.transient("x", type, [5, 64]);
  const y = recorder.transient("y", type, [5, 36]);
  const low = recorder.transient("low", "f32", [5, 8]);
  const a = recorder.transient("a", "f32", [8, 64]);
  const b = recorder.transient("b", "f32", [36, 8]);
  const shape = [36, 64] as const;
  const tensor = recorder.transient("weight", type, shape);
  const codes = recorder.transient("codes", "u32", [36 * 8]);
  const absmax = recorder.transient("absmax", "f32", [36]);
  for (const weight of [
    { tensor, shape, kind: "native" as const },
    { codes, absmax, shape },
  ]) {
    const up = { h: low, b, rank: 8, segmentEnds: [36] };
    const dropout = { probability: 0.5, moduleId: 1 };
    matmulForward(recorder, { x, weight, y, lora: up });
    const down = { dh: low, a, rank: 8, segments: 1, dropout };
    matmulBackward(recorder, { dy: y, weight, dx: x, lora: down });
  }
  const program = await recorder.build();
  const names = program.dispatchNames;
  program.free();
  return names;
}
