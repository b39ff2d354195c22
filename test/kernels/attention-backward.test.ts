import { expect, test } from "vitest";
import { largestDifference, testGpu } from "../gpu.ts";
import * as reference from "../reference/attention.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import { expectBackward, prepare, runBackward } from "./attention-cases.ts";
import { type Case, cases, rotary, windowed } from "./attention-shapes.ts";

// Software without subgroups runs it untried; elsewhere it has to be asked for.
const gpu = await testGpu({ baseline: true });
const half = await testGpu();
const direct = { "attention.f32.backward": "direct", "attention.f16.backward": "direct" };

test.each(cases)(
  "the gradient agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
  (shape) => expectBackward(gpu, shape, "f32", direct),
);

test.each(windowed)(
  "so it does through a window of $window: $tokens tokens, $heads/$kvHeads × $headSize",
  (shape) => expectBackward(gpu, shape, "f32", direct),
);

const isShort = ({ headSize }: Case) => headSize <= 64;

// Longer heads are turned back by the same text; what turns back over lanes sees them all.
test.each(rotary.filter(isShort))(
  "it is turned back by rotary positions of $rotary of $headSize dimensions: $tokens tokens",
  (shape) => expectBackward(gpu, shape, "f32", direct),
);

test.runIf(half.hasF16).each(rotary.filter(isShort))(
  "so it is in f16: $tokens tokens, $heads/$kvHeads × $headSize",
  (shape) => expectBackward(half, shape, "f16", direct),
);

test.each<Case>([
  { tokens: 5, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 2] },
  { tokens: 7, heads: 2, kvHeads: 1, headSize: 4, starts: [0, 5], window: 3, scale: 0.8 },
])("the gradient is that of finite differences: window $window, scale $scale", async (shape) => {
  const prepared = prepare(shape, "f32");
  const { data, referenceLayout } = prepared;
  const dqkv = await runBackward(gpu, prepared, "f32", shape, direct);
  const expected = differenceGradient(
    (qkv) => dot(reference.attention(qkv, data.segmentStart, referenceLayout).o, data.dO),
    Float64Array.from(data.qkv),
  );
  // The differences are good to 1e-9; what remains is f32.
  expect(largestDifference(dqkv, expected)).toBeLessThan(2 ** -20);
});

test("keys and queries outside the window are not read", async () => {
  // Query 95 sees keys 90 … 95, key 95 is seen by queries 95 … 100. Beyond, in tiles of their own, lies NaN,
  // which a masked product would pass on to what shares a tile with it.
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const prepared = prepare(shape, "f32");
  const { data, layout } = prepared;
  const clean = await runBackward(gpu, prepared, "f32", shape, direct);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv), dO: Float32Array.from(data.dO) };
  spoilt.qkv.fill(Number.NaN, 0, 32 * layout.stride).fill(Number.NaN, 160 * layout.stride);
  spoilt.dO.fill(Number.NaN, 0, 32 * 16).fill(Number.NaN, 160 * 16);
  const dqkv = await runBackward(gpu, { ...prepared, data: spoilt }, "f32", shape, direct);
  // Tiles of 32 rows: those of rows 64 to 127 meet neither rows below 32 nor from 160 on.
  const middle = (values: Float32Array) => values.slice(64 * layout.stride, 128 * layout.stride);
  expect(middle(dqkv)).toEqual(middle(clean));
});

test("large scores do not overflow", async () => {
  // Scores of about ±1,000, whose exp is infinite or zero.
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const prepared = prepare(shape, "f32");
  prepared.data.qkv.forEach((value, i) => (prepared.data.qkv[i] = value * 32));
  const dqkv = await runBackward(gpu, prepared, "f32", {}, direct);
  expect(dqkv.every(Number.isFinite)).toBe(true);
});

test.each([cases[19]!, windowed[6]!])("a second run gives the same bits", async (shape) => {
  const prepared = prepare(shape, "f32");
  const [first, second] = [
    await runBackward(gpu, prepared, "f32", shape, direct),
    await runBackward(gpu, prepared, "f32", shape, direct),
  ];
  expect(second).toEqual(first);
});
