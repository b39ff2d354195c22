// SwiftShader, whose subgroups have 4 lanes, and llvmpipe, where they have 8, run the two forms of the shader.
import { describe, expect, test } from "vitest";
import { LANES_VARIANT, untriedVariant } from "../../src/kernels/attention-lanes.ts";
import { activationTypes, largestDifference, nullGpu, testGpu } from "../gpu.ts";
import { expectForward, prepare, referenceForward, runForward } from "./attention-cases.ts";
import { type Case, cases, windowed } from "./attention-shapes.ts";

const gpu = await testGpu();

describe.each(activationTypes(gpu))("over lanes of %s", (dtype) => {
  const choices = { [`attention.${dtype}.forward`]: LANES_VARIANT };
  // Long heads take software long to compile: those of f16 are left to f32.
  const isTried = ({ headSize }: Case) => dtype === "f32" || headSize <= 64;

  test.each(cases.filter(isTried))(
    "attention agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
    (shape) => expectForward(gpu, shape, dtype, choices),
  );

  test.each(windowed.filter(isTried))(
    "so it does through a window of $window: $tokens tokens, $heads/$kvHeads × $headSize",
    (shape) => expectForward(gpu, shape, dtype, choices),
  );
});

const choices = { "attention.f32.forward": LANES_VARIANT };

test("a window of all tokens gives the bits of none", async () => {
  const prepared = prepare(cases[19]!, "f32");
  const none = await runForward(gpu, prepared, "f32", {}, choices);
  const all = await runForward(gpu, prepared, "f32", { window: 101 }, choices);
  expect(all).toEqual(none);
});

test("keys outside the window are not read", async () => {
  // Rows 64 to 127 see keys 59 … 127, in eights from key 59 on: none below 59, none past 130.
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const prepared = prepare(shape, "f32");
  const { data, layout } = prepared;
  const clean = await runForward(gpu, prepared, "f32", shape, choices);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv) };
  spoilt.qkv.fill(Number.NaN, 0, 59 * layout.stride).fill(Number.NaN, 131 * layout.stride);
  const { o } = await runForward(gpu, { data: spoilt, layout }, "f32", shape, choices);
  expect(o.slice(64 * 16, 128 * 16)).toEqual(clean.o.slice(64 * 16, 128 * 16));
});

test("large scores neither overflow nor lose the largest", async () => {
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const prepared = prepare(shape, "f32");
  prepared.data.qkv.forEach((value, i) => (prepared.data.qkv[i] = value * 32));
  const { o, lse } = await runForward(gpu, prepared, "f32", shape, choices);
  const expected = referenceForward(prepared);
  // Scores are exact to 2^-22 · √16 · 32² / 4 ≈ 2.4e-4, which is the relative error of a weight.
  expect(largestDifference(lse, expected.lse)).toBeLessThan(2.4e-4);
  expect(largestDifference(o, expected.o)).toBeLessThan(2.4e-4 * 32 * 4);
});

test.each([cases[19]!, windowed[6]!])("a second run gives the same bits", async (shape) => {
  const prepared = prepare(shape, "f32");
  const first = await runForward(gpu, prepared, "f32", shape, choices);
  expect(await runForward(gpu, prepared, "f32", shape, choices)).toEqual(first);
});

test.skipIf(!gpu.info.isFallbackAdapter)(
  "software takes this variant where nothing was tried",
  () => {
    expect(untriedVariant(gpu)).toBe(LANES_VARIANT);
  },
);

test("a GPU that is one, or software without subgroups, does not take it unasked", async () => {
  expect(untriedVariant(await nullGpu())).toBeUndefined();
  expect(untriedVariant(await testGpu({ baseline: true }))).toBeUndefined();
});
