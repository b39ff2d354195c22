import { expect, test } from "vitest";
import { attentionForward } from "../../src/kernels/attention.ts";
import { largestDifference, poisoned, runOnce, testGpu } from "../gpu.ts";
import { expectForward, prepare, referenceForward, runForward, upload } from "./attention-cases.ts";
import { type Case, cases, windowed } from "./attention-shapes.ts";

// Software without subgroups runs it untried; elsewhere it has to be asked for.
const gpu = await testGpu({ baseline: true });
const half = await testGpu();
const direct = { "attention.f32.forward": "direct", "attention.f16.forward": "direct" };

test.each(cases)(
  "attention agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
  (shape) => expectForward(gpu, shape, "f32", direct),
);

test.each(windowed)(
  "so it does through a window of $window: $tokens tokens, $heads/$kvHeads × $headSize",
  (shape) => expectForward(gpu, shape, "f32", direct),
);

const short = [...cases, ...windowed].filter(({ headSize }) => headSize <= 20);

test.runIf(half.hasF16).each(short)(
  "so it does in f16: $tokens tokens, $heads/$kvHeads × $headSize",
  (shape) => expectForward(half, shape, "f16", direct),
);

test("a window of all tokens gives the bits of none", async () => {
  const prepared = prepare(cases[19]!, "f32");
  const none = await runForward(gpu, prepared, "f32", {}, direct);
  const all = await runForward(gpu, prepared, "f32", { window: 101 }, direct);
  expect(all).toEqual(none);
});

test("keys outside the window are not read", async () => {
  // Query 95 sees keys 90 … 95. Beyond, in tiles of their own, lies NaN, which a masked product would pass on
  // to what shares a tile with it.
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const prepared = prepare(shape, "f32");
  const { data, layout } = prepared;
  const clean = await runForward(gpu, prepared, "f32", shape, direct);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv) };
  spoilt.qkv.fill(Number.NaN, 0, 32 * layout.stride).fill(Number.NaN, 160 * layout.stride);
  const { o } = await runForward(gpu, { data: spoilt, layout }, "f32", shape, direct);
  // Tiles of 32 rows: those of rows 64 to 127 meet neither rows below 32 nor from 160 on.
  expect(o.slice(64 * 16, 128 * 16)).toEqual(clean.o.slice(64 * 16, 128 * 16));
  expect(largestDifference(clean.o, referenceForward(prepared).o)).toBeLessThan(2 ** -18);
});

test.each([0, -1, 2.5])("a window of %f keys is refused", async (window) => {
  const prepared = prepare(cases[3]!, "f32");
  await expect(runForward(gpu, prepared, "f32", { window }, direct)).rejects.toThrow(
    `attention: a window of ${window} keys`,
  );
});

test("large scores neither overflow nor lose the largest", async () => {
  // Scores of about ±1,000: exp of them is infinite or zero unless the maximum is taken off first.
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const prepared = prepare(shape, "f32");
  const { data } = prepared;
  data.qkv.forEach((value, i) => (data.qkv[i] = value * 32));
  const { o, lse } = await runForward(gpu, prepared, "f32", {}, direct);
  const expected = referenceForward(prepared);
  // Scores are exact to 2^-22 · √16 · 32² / 4 ≈ 2.4e-4, which is the relative error of a weight.
  expect(largestDifference(lse, expected.lse)).toBeLessThan(2.4e-4);
  expect(largestDifference(o, expected.o)).toBeLessThan(2.4e-4 * 32 * 4);
});

test.each([cases[19]!, windowed[6]!])("a second run gives the same bits", async (shape) => {
  const prepared = prepare(shape, "f32");
  const [first, second] = [
    await runForward(gpu, prepared, "f32", shape, direct),
    await runForward(gpu, prepared, "f32", shape, direct),
  ];
  expect(second).toEqual(first);
});

test("attention names both tensors when they do not fit", async () => {
  const { data, layout } = prepare(cases[3]!, "f32");
  const tensors = upload(gpu, data, layout, "f32");
  const lse = poisoned(gpu, "lse", [2, 3, 4]).tensor;
  const o = poisoned(gpu, "o", [2, 64]).tensor;
  const record = runOnce(gpu, (recorder) =>
    attentionForward(recorder, { ...tensors, o, lse, layout }),
  );
  await expect(record).rejects.toThrow(
    "attentionForward: o is f32 [2, 64], but qkv asks for f32 [3, 64]",
  );
});
