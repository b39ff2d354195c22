import { describe, expect, test } from "vitest";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { matmulBackward, matmulForward } from "../../src/kernels/matmul.ts";
import { tileVariants } from "../../src/kernels/matmul-tile.ts";
import { activationTypes, nullGpu, testGpu } from "../gpu.ts";
import { expectProducts, type ProductCase } from "./products.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

// A tile is 32 × 32, 16 deep: smaller, larger and ragged in all three, with and without what is added. Few
// combinations of what a shader is made for, since each is one more to compile.
const RAGGED: readonly ProductCase[] = [
  { rows: 1, outputs: 2, inputs: 4 },
  { rows: 34, outputs: 33, inputs: 36, addend: "held" },
  { rows: 7, outputs: 70, inputs: 100, addend: "residual" },
  { rows: 6, outputs: 13, inputs: 12, offset: 1 },
];
const WHOLE: readonly ProductCase[] = [
  { rows: 32, outputs: 64, inputs: 32, bias: true, addend: "held" },
  { rows: 6, outputs: 16, inputs: 16, offset: 4, addend: "residual" },
];
const ADAPTED: readonly ProductCase[] = [
  { rows: 33, outputs: 72, inputs: 36, rank: 20, segmentEnds: [32, 36, 40, 72] },
  { rows: 6, outputs: 40, inputs: 20, rank: 8, bias: true },
];

describe.each(activationTypes(gpu))("tiles of 32 × 32 in %s", (act) => {
  test("products of every shape, aligned and ragged, alone and added to what is there", async () => {
    await expectProducts(gpu, act, [...RAGGED, ...WHOLE], "tile 32x32x16");
  });

  test("the adapter is added to each segment, backward through its mask", async () => {
    await expectProducts(gpu, act, ADAPTED, "tile 32x32x16");
  });

  test("a gradient in f32 is multiplied in the type of activations", async () => {
    const wide: ProductCase = { rows: 33, outputs: 40, inputs: 20, hasWideGradient: true };
    await expectProducts(gpu, act, [wide], "tile 32x32x16");
  });

  test("queries and keys are turned where y is stored", async () => {
    const heads = { heads: 4, kvHeads: 2, headSize: 12, rotary: 8 };
    const cases: ProductCase[] = [
      { rows: 5, outputs: 96, inputs: 20, heads, bias: true },
      { rows: 35, outputs: 96, inputs: 20, heads: { ...heads, isGrouped: true } },
    ];
    await expectProducts(gpu, act, cases, "tile 32x32x16");
  });

  test("a packed or NF4 weight is unpacked where it is read", async () => {
    const cases: ProductCase[] = [
      { rows: 34, outputs: 33, inputs: 132, storage: "nf4" },
      { rows: 2, outputs: 7, inputs: 20, storage: "nf4" },
      { rows: 9, outputs: 20, inputs: 68, storage: "packed-bf16", isForwardOnly: true },
    ];
    await expectProducts(gpu, act, cases, "tile 32x32x16");
  });
});

test("the largest tile, of eight rows a thread, runs on a device with nothing but the defaults", async () => {
  const cases = [{ rows: 65, outputs: 132, inputs: 36, rank: 20, segmentEnds: [32, 132] }];
  await expectProducts(baseline, "f32", cases, "tile 64x128x16");
});

test("every tile compiles, in f32 and f16, for every way of storing a weight", async () => {
  const device = await nullGpu();
  for (const act of ["f32", "f16"] as const) {
    const variants = tileVariants(device, act);
    expect(variants).toContain("tile 64x128x16");
    for (const variant of variants) {
      const slots = { [`matmul.${act}.forward`]: variant, [`matmul.${act}.backward`]: variant };
      const recorder = new Recorder(
        device,
        variant,
        new Workspace(device),
        new StepScalars(device),
        slots,
      );
      const x = recorder.transient("x", act, [5, 64]);
      const y = recorder.transient("y", act, [5, 36]);
      const low = recorder.transient("low", "f32", [5, 8]);
      const a = recorder.transient("a", "f32", [8, 64]);
      const b = recorder.transient("b", "f32", [36, 8]);
      const native = recorder.transient("weight", act, [36, 64]);
      const codes = recorder.transient("codes", "u32", [36 * 8]);
      const absmax = recorder.transient("absmax", "f32", [36]);
      const shape = [36, 64] as const;
      for (const weight of [
        { tensor: native, shape, kind: "native" as const },
        { codes, absmax, shape },
      ]) {
        const up = { h: low, b, rank: 8, segmentEnds: [36] };
        const dropout = { probability: 0.5, moduleId: 1 };
        const down = { dh: low, a, rank: 8, segments: 1, dropout };
        matmulForward(recorder, { x, weight, y, lora: up });
        matmulBackward(recorder, { dy: y, weight, dx: x, lora: down });
      }
      const program = await recorder.build();
      expect(program.dispatchNames.every((name) => name.startsWith("matmul-tile"))).toBe(true);
      program.free();
    }
  }
});

test("a tile that the device has no memory for is left to the variant that runs anywhere", async () => {
  expect(tileVariants(baseline, "f32")).not.toContain("tile 64x128x32");
  await expectProducts(baseline, "f32", [RAGGED[1]!], "tile 64x128x32");
});
