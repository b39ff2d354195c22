// SwiftShader, whose subgroups have 4 lanes, and llvmpipe, where they have 8, run the two forms of the shader.
import { describe, expect, test } from "vitest";
import { LANES_VARIANT } from "../../src/kernels/attention-lanes.ts";
import { activationTypes, largestDifference, testGpu } from "../gpu.ts";
import * as reference from "../reference/attention.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import { expectBackward, prepare, runBackward } from "./attention-cases.ts";
import { type Case, cases, rotary, windowed } from "./attention-shapes.ts";

const gpu = await testGpu();

const upTo = (longest: number) => (shape: Case) => shape.headSize <= longest;

describe.each(activationTypes(gpu))("over lanes of %s", (dtype) => {
  const choices = { [`attention.${dtype}.backward`]: LANES_VARIANT };
  // Where there is f16, long heads take software long to compile: they are left to f32, with rotary positions.
  const plain = upTo(gpu.hasF16 ? 20 : Infinity);

  test.each(cases.filter(plain))(
    "the gradient agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
    (shape) => expectBackward(gpu, shape, dtype, choices),
  );

  test.each(windowed.filter(plain))(
    "so it does through a window of $window: $tokens tokens, $heads/$kvHeads × $headSize",
    (shape) => expectBackward(gpu, shape, dtype, choices),
  );

  test.each(rotary.filter(upTo(dtype === "f32" ? Infinity : 64)))(
    "it is turned back by rotary positions of $rotary of $headSize dimensions: $tokens tokens",
    (shape) => expectBackward(gpu, shape, dtype, choices),
  );
});

const choices = { "attention.f32.backward": LANES_VARIANT };

test("the gradient is that of finite differences", async () => {
  const view = { window: 3, scale: 0.8 };
  const shape: Case = { tokens: 7, heads: 2, kvHeads: 1, headSize: 4, starts: [0, 5], ...view };
  const prepared = prepare(shape, "f32");
  const { data, referenceLayout } = prepared;
  const dqkv = await runBackward(gpu, prepared, "f32", shape, choices);
  const expected = differenceGradient(
    (qkv) => dot(reference.attention(qkv, data.segmentStart, referenceLayout).o, data.dO),
    Float64Array.from(data.qkv),
  );
  // The differences are good to 1e-9; what remains is f32.
  expect(largestDifference(dqkv, expected)).toBeLessThan(2 ** -20);
});

test("keys and queries outside the window are not read", async () => {
  // Queries 64 to 127 meet keys 59 … 130, keys 64 to 127 queries 64 … 135, which have keys of their own.
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const prepared = prepare(shape, "f32");
  const { data, layout } = prepared;
  const clean = await runBackward(gpu, prepared, "f32", shape, choices);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv), dO: Float32Array.from(data.dO) };
  spoilt.qkv.fill(Number.NaN, 0, 59 * layout.stride).fill(Number.NaN, 144 * layout.stride);
  spoilt.dO.fill(Number.NaN, 0, 59 * 16).fill(Number.NaN, 144 * 16);
  const dqkv = await runBackward(gpu, { ...prepared, data: spoilt }, "f32", shape, choices);
  const middle = (values: Float32Array) => values.slice(64 * layout.stride, 128 * layout.stride);
  expect(middle(dqkv)).toEqual(middle(clean));
});

test("large scores do not overflow", async () => {
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const prepared = prepare(shape, "f32");
  prepared.data.qkv.forEach((value, i) => (prepared.data.qkv[i] = value * 32));
  const dqkv = await runBackward(gpu, prepared, "f32", {}, choices);
  expect(dqkv.every(Number.isFinite)).toBe(true);
});

test.each([cases[19]!, windowed[6]!])("a second run gives the same bits", async (shape) => {
  const prepared = prepare(shape, "f32");
  const first = await runBackward(gpu, prepared, "f32", shape, choices);
  expect(await runBackward(gpu, prepared, "f32", shape, choices)).toEqual(first);
});
