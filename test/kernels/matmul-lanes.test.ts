// SwiftShader, whose subgroups have 4 lanes, and llvmpipe, where they have 8, run the two forms of the shader.
import { expect, test } from "vitest";
import { LANES_VARIANT, untriedVariant } from "../../src/kernels/matmul-lanes.ts";
import { nullGpu, testGpu } from "../gpu.ts";
import { expectProducts, type ProductCase } from "./products.ts";

const gpu = await testGpu();

// A workgroup makes 8 × 32: smaller, larger and ragged, with and without what is added.
const CASES: readonly ProductCase[] = [
  { rows: 1, outputs: 2, inputs: 4 },
  { rows: 18, outputs: 33, inputs: 36, addend: "held" },
  { rows: 6, outputs: 13, inputs: 12, offset: 1, bias: true, addend: "residual" },
  { rows: 9, outputs: 72, inputs: 132, rank: 20, segmentEnds: [24, 36, 40, 72] },
  { rows: 10, outputs: 70, inputs: 20, storage: "nf4", isForwardOnly: true },
  {
    rows: 11,
    outputs: 96,
    inputs: 20,
    heads: { heads: 4, kvHeads: 2, headSize: 12, rotary: 8 },
  },
];

test("products in f32, with all that is added to them", async () => {
  await expectProducts(gpu, "f32", CASES, LANES_VARIANT);
});

test.runIf(gpu.hasF16)("products in f16, with an adapter", async () => {
  await expectProducts(gpu, "f16", CASES.slice(3, 4), LANES_VARIANT);
});

test("software adapters take this variant where nothing was tried", () => {
  expect(untriedVariant(gpu)).toBe(LANES_VARIANT);
});

test("a GPU that is one, or has no subgroups, does not take it unasked", async () => {
  expect(untriedVariant(await nullGpu())).toBeUndefined();
  expect(untriedVariant(await nullGpu({ baseline: true }))).toBeUndefined();
});
