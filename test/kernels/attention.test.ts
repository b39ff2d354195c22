import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import type { StoredTensor } from "../../src/gpu/tensor.ts";
import {
  type AttentionLayout,
  type AttentionView,
  attentionBackwardKeys,
  attentionBackwardQueries,
  attentionForward,
  attentionRowDot,
} from "../../src/kernels/attention.ts";
import {
  type ActivationType,
  activationTypes,
  largestDifference,
  poisoned,
  randomF32,
  roundTo,
  runOnce,
  testGpu,
  uploadActivation,
  uploadU32,
} from "../gpu.ts";
import * as reference from "../reference/attention.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

interface Case {
  tokens: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  /** First tokens of documents. */
  starts: number[];
  arrange?: Arrange;
  window?: number;
  scale?: number;
}

type Arrange = (heads: number, kvHeads: number, headSize: number) => Omit<AttentionLayout, Given>;
type Given = "heads" | "kvHeads" | "headSize";

/** All queries, then all keys, then all values. */
const apart: Arrange = (heads, kvHeads, headSize) => ({
  stride: (heads + 2 * kvHeads) * headSize,
  qGroupStride: (heads / kvHeads) * headSize,
  kBase: heads * headSize,
  vBase: (heads + kvHeads) * headSize,
  kStride: headSize,
});

/** A group's queries, then its key and its value, as InternLM2 has them; and eight columns of no head. */
const interleaved: Arrange = (heads, kvHeads, headSize) => {
  const groupStride = (heads / kvHeads + 2) * headSize;
  return {
    stride: kvHeads * groupStride + 8,
    qGroupStride: groupStride,
    kBase: groupStride - 2 * headSize,
    vBase: groupStride - headSize,
    kStride: groupStride,
  };
};

// Head sizes: 16 and 20 leave threads of the only slot without work, 64 fills two slots, 144 and 256 take
// four and more than one workgroup for the keys (and 144 leaves most of the last one empty).
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 16, starts: [0] }, // nothing to choose between
  { tokens: 1, heads: 3, kvHeads: 1, headSize: 20, starts: [0] },
  { tokens: 2, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 1] }, // documents of one token
  { tokens: 3, heads: 4, kvHeads: 2, headSize: 16, starts: [0] },
  { tokens: 4, heads: 2, kvHeads: 2, headSize: 64, starts: [0] },
  { tokens: 5, heads: 6, kvHeads: 2, headSize: 20, starts: [0], arrange: interleaved },
  { tokens: 7, heads: 4, kvHeads: 1, headSize: 64, starts: [0, 3] },
  { tokens: 9, heads: 2, kvHeads: 1, headSize: 256, starts: [0] },
  { tokens: 13, heads: 3, kvHeads: 3, headSize: 144, starts: [0, 5] },
  { tokens: 17, heads: 5, kvHeads: 1, headSize: 20, starts: [0, 1, 2] },
  { tokens: 31, heads: 2, kvHeads: 1, headSize: 144, starts: [0, 30] },
  { tokens: 32, heads: 4, kvHeads: 2, headSize: 16, starts: [0, 27] }, // one whole tile
  { tokens: 33, heads: 4, kvHeads: 2, headSize: 20, starts: [0] }, // and one row more
  { tokens: 40, heads: 4, kvHeads: 4, headSize: 16, starts: [0, 8, 16, 24, 32] },
  { tokens: 47, heads: 2, kvHeads: 1, headSize: 256, starts: [0, 20], arrange: interleaved },
  { tokens: 64, heads: 2, kvHeads: 2, headSize: 64, starts: [0, 32] }, // a document for each tile
  { tokens: 66, heads: 2, kvHeads: 1, headSize: 64, starts: [0, 64] },
  { tokens: 70, heads: 8, kvHeads: 2, headSize: 16, starts: [0, 7, 61], arrange: interleaved },
  { tokens: 97, heads: 3, kvHeads: 1, headSize: 20, starts: [0, 50] },
  { tokens: 101, heads: 2, kvHeads: 1, headSize: 144, starts: [0, 33], arrange: interleaved },
  { tokens: 130, heads: 2, kvHeads: 2, headSize: 64, starts: [0] },
  { tokens: 201, heads: 4, kvHeads: 2, headSize: 20, starts: [0, 1, 150, 199] },
  { tokens: 256, heads: 2, kvHeads: 1, headSize: 64, starts: [0] },
];

// Windows of one token, below, of and above a tile, across documents, and longer than the row.
const windowed: Case[] = [
  { tokens: 1, heads: 2, kvHeads: 1, headSize: 16, starts: [0], window: 1 },
  { tokens: 5, heads: 2, kvHeads: 1, headSize: 16, starts: [0], window: 1 },
  { tokens: 40, heads: 2, kvHeads: 2, headSize: 20, starts: [0], window: 2 },
  {
    tokens: 70,
    heads: 6,
    kvHeads: 2,
    headSize: 20,
    starts: [0, 9, 61],
    window: 7,
    arrange: interleaved,
  },
  { tokens: 97, heads: 3, kvHeads: 1, headSize: 64, starts: [0], window: 31, scale: 0.3 },
  { tokens: 129, heads: 2, kvHeads: 1, headSize: 16, starts: [0], window: 32 },
  { tokens: 130, heads: 4, kvHeads: 2, headSize: 144, starts: [0, 50], window: 33, scale: 1 / 13 },
  { tokens: 201, heads: 2, kvHeads: 1, headSize: 256, starts: [0, 1, 150], window: 100 },
  { tokens: 66, heads: 2, kvHeads: 1, headSize: 64, starts: [0, 64], window: 66, scale: 1 },
  { tokens: 33, heads: 4, kvHeads: 2, headSize: 20, starts: [0], window: 1000 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "attention and its gradient agree with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
      (shape) => expectAgreement(gpu, shape, dtype),
    );

    test.each(windowed)(
      "so they do through a window of $window: $tokens tokens, $heads/$kvHeads × $headSize",
      (shape) => expectAgreement(gpu, shape, dtype),
    );
  });
}

test("the gradient is that of finite differences", async () => {
  const shape: Case = { tokens: 5, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 2] };
  const { data, layout, referenceLayout } = prepare(shape, "f32");
  const { dqkv } = await run(devices.baseline, data, layout, "f32");
  const expected = differenceGradient(
    (qkv) => dot(reference.attention(qkv, data.segmentStart, referenceLayout).o, data.dO),
    Float64Array.from(data.qkv),
  );
  // The differences are good to 1e-9; what remains is f32.
  expect(largestDifference(dqkv, expected)).toBeLessThan(2 ** -20);
});

test("the gradient through a window with a scale is that of finite differences", async () => {
  const shape: Case = {
    tokens: 7,
    heads: 2,
    kvHeads: 1,
    headSize: 4,
    starts: [0, 5],
    window: 3,
    scale: 0.8,
  };
  const { data, layout, referenceLayout } = prepare(shape, "f32");
  const { dqkv } = await run(devices.baseline, data, layout, "f32", shape);
  const expected = differenceGradient(
    (qkv) => dot(reference.attention(qkv, data.segmentStart, referenceLayout).o, data.dO),
    Float64Array.from(data.qkv),
  );
  expect(largestDifference(dqkv, expected)).toBeLessThan(2 ** -20);
});

test("a window of all tokens gives the bits of none", async () => {
  const { data, layout } = prepare(cases[19]!, "f32");
  const none = await run(devices["all features"], data, layout, "f32");
  const all = await run(devices["all features"], data, layout, "f32", { window: 101 });
  expect(all).toEqual(none);
});

test("keys and queries outside the window are not read", async () => {
  // Query 95 sees keys 90 … 95, key 95 is seen by queries 95 … 100. Beyond, in tiles of their own, lies NaN,
  // which a masked product would pass on to what shares a tile with it.
  const gpu = devices.baseline;
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const { data, layout, referenceLayout } = prepare(shape, "f32");
  const clean = await run(gpu, data, layout, "f32", shape);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv), dO: Float32Array.from(data.dO) };
  spoilt.qkv.fill(Number.NaN, 0, 32 * layout.stride).fill(Number.NaN, 160 * layout.stride);
  spoilt.dO.fill(Number.NaN, 0, 32 * 16).fill(Number.NaN, 160 * 16);
  const { o, dqkv } = await run(gpu, spoilt, layout, "f32", shape);
  // Tiles of 32 rows: those of rows 64 to 127 meet neither rows below 32 nor from 160 on.
  expect(o.slice(64 * 16, 128 * 16)).toEqual(clean.o.slice(64 * 16, 128 * 16));
  const middle = (values: Float32Array) => values.slice(64 * layout.stride, 128 * layout.stride);
  expect(middle(dqkv)).toEqual(middle(clean.dqkv));
  const expected = reference.attention(data.qkv, data.segmentStart, referenceLayout);
  expect(largestDifference(clean.o, expected.o)).toBeLessThan(2 ** -18);
});

test.each([0, -1, 2.5])("a window of %f keys is refused", async (window) => {
  const { data, layout } = prepare(cases[3]!, "f32");
  await expect(run(devices.baseline, data, layout, "f32", { window })).rejects.toThrow(
    `attention: a window of ${window} keys`,
  );
});

test("large scores neither overflow nor lose the largest", async () => {
  // Scores of about ±1,000: exp of them is infinite or zero unless the maximum is taken off first.
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const { data, layout, referenceLayout } = prepare(shape, "f32");
  data.qkv.forEach((value, i) => (data.qkv[i] = value * 32));
  const { o, lse, dqkv } = await run(devices.baseline, data, layout, "f32");
  const expected = reference.attention(data.qkv, data.segmentStart, referenceLayout);
  // Scores are exact to 2^-22 · √16 · 32² / 4 ≈ 2.4e-4, which is the relative error of a weight.
  expect(largestDifference(lse, expected.lse)).toBeLessThan(2.4e-4);
  expect(largestDifference(o, expected.o)).toBeLessThan(2.4e-4 * 32 * 4);
  expect(dqkv.every(Number.isFinite)).toBe(true);
});

test.each([cases[19]!, windowed[6]!])("a second run gives the same bits", async (shape) => {
  const { data, layout } = prepare(shape, "f32");
  const [first, second] = [
    await run(devices["all features"], data, layout, "f32", shape),
    await run(devices["all features"], data, layout, "f32", shape),
  ];
  expect(second).toEqual(first);
});

test("attention names both tensors when they do not fit", async () => {
  const gpu = devices.baseline;
  const { data, layout } = prepare(cases[3]!, "f32");
  const tensors = upload(gpu, data, layout, "f32");
  const lse = poisoned(gpu, "lse", [3, 4]).tensor;
  const o = poisoned(gpu, "o", [2, 64]).tensor;
  const record = runOnce(gpu, (recorder) =>
    attentionForward(recorder, { ...tensors, o, lse, layout }),
  );
  await expect(record).rejects.toThrow(
    "attentionForward: o is f32 [2, 64], but qkv asks for f32 [3, 64]",
  );
});

/** Runs a case forward and backward and compares all of it. */
async function expectAgreement(gpu: Gpu, shape: Case, dtype: ActivationType): Promise<void> {
  const { data, layout, referenceLayout } = prepare(shape, dtype);
  const { o, lse, dqkv } = await run(gpu, data, layout, dtype, shape);
  const expected = reference.attention(data.qkv, data.segmentStart, referenceLayout);
  const gradient = reference.combineHeads(
    reference.attentionBackward(data.qkv, data.segmentStart, data.dO, referenceLayout),
    referenceLayout,
  );
  // A score is a sum of headSize products of numbers below 1, an output one of `tokens`; exp adds
  // 3 + 2 |x| units in the last place (WGSL), and scores are below 4.
  const sums = Math.sqrt(shape.headSize + shape.tokens);
  const inF32 = 2 ** -22 * sums * 8;
  expect(largestDifference(lse, expected.lse)).toBeLessThan(inF32);
  // In f16 o itself is rounded, which the gradient inherits through Σ dO ∘ o.
  const inType = dtype === "f32" ? inF32 : 2 ** -10 * Math.sqrt(shape.headSize);
  expect(largestDifference(o, expected.o)).toBeLessThan(dtype === "f32" ? inF32 : 2 ** -10);
  const untouched = columnsOfNoHead(layout);
  const mine = dqkv.map((value, i) => (untouched.has(i % layout.stride) ? 0 : value));
  expect(largestDifference(mine, gradient)).toBeLessThan(inType * largest(gradient));
  // What is not a head's column keeps its poison.
  const kept = dqkv.filter((_, i) => untouched.has(i % layout.stride));
  expect(kept.every(Number.isNaN)).toBe(true);
}

interface Data {
  qkv: Float32Array;
  dO: Float32Array;
  segmentStart: Uint32Array;
}

function prepare(shape: Case, dtype: ActivationType) {
  const { tokens, heads, kvHeads, headSize, starts, arrange = apart, window, scale } = shape;
  const layout: AttentionLayout = {
    heads,
    kvHeads,
    headSize,
    ...arrange(heads, kvHeads, headSize),
  };
  const segmentStart = Uint32Array.from({ length: tokens }, (_, i) =>
    starts.findLast((start) => start <= i)!,
  );
  const data: Data = {
    qkv: roundTo(dtype, randomF32(tokens * layout.stride, tokens + headSize)),
    dO: roundTo(dtype, randomF32(tokens * heads * headSize, tokens + headSize + 1)),
    segmentStart,
  };
  const group = heads / kvHeads;
  const referenceLayout: reference.AttentionLayout = {
    tokens,
    heads,
    kvHeads,
    headSize,
    rowSize: layout.stride,
    ...(window !== undefined && { window }),
    ...(scale !== undefined && { scale }),
    qColumn: (head) => Math.floor(head / group) * layout.qGroupStride + (head % group) * headSize,
    kColumn: (head) => layout.kBase + head * layout.kStride,
    vColumn: (head) => layout.vBase + head * layout.kStride,
  };
  return { data, layout, referenceLayout };
}

function upload(
  gpu: Gpu,
  { qkv, segmentStart }: Data,
  { stride }: AttentionLayout,
  dtype: ActivationType,
): { qkv: StoredTensor; segmentStart: StoredTensor } {
  const tokens = segmentStart.length;
  return {
    qkv: uploadActivation(gpu, "qkv", [tokens, stride], qkv, dtype),
    segmentStart: uploadU32(gpu, "segmentStart", [tokens], segmentStart),
  };
}

/** Forward and backward in one program, each output poisoned and guarded. */
async function run(
  gpu: Gpu,
  data: Data,
  layout: AttentionLayout,
  dtype: ActivationType,
  { window, scale }: AttentionView = {},
) {
  const tokens = data.segmentStart.length;
  const { heads, headSize, stride } = layout;
  const { qkv, segmentStart } = upload(gpu, data, layout, dtype);
  const dO = uploadActivation(gpu, "dO", [tokens, heads * headSize], data.dO, dtype);
  const o = poisoned(gpu, "o", [tokens, heads * headSize], dtype);
  const lse = poisoned(gpu, "lse", [tokens, heads]);
  const rowDot = poisoned(gpu, "rowDot", [tokens, heads]);
  const dqkv = poisoned(gpu, "dqkv", [tokens, stride], dtype);
  const gradients = {
    qkv,
    segmentStart,
    lse: lse.tensor,
    layout,
    dO,
    rowDot: rowDot.tensor,
    dqkv: dqkv.tensor,
    window,
    scale,
  };
  await runOnce(gpu, (recorder) => {
    attentionForward(recorder, { ...gradients, o: o.tensor });
    attentionRowDot(recorder, { ...gradients, o: o.tensor });
    attentionBackwardKeys(recorder, gradients);
    attentionBackwardQueries(recorder, gradients);
  });
  await rowDot.read(); // for its guard band
  return { o: await o.read(), lse: await lse.read(), dqkv: await dqkv.read() };
}

function columnsOfNoHead(layout: AttentionLayout): Set<number> {
  const { heads, kvHeads, headSize, stride, qGroupStride, kBase, vBase, kStride } = layout;
  const columns = new Set(Array.from({ length: stride }, (_, i) => i));
  const remove = (start: number) => {
    for (let d = 0; d < headSize; d++) columns.delete(start + d);
  };
  const group = heads / kvHeads;
  for (let g = 0; g < kvHeads; g++) {
    for (let h = 0; h < group; h++) remove(g * qGroupStride + h * headSize);
    remove(kBase + g * kStride);
    remove(vBase + g * kStride);
  }
  return columns;
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
}
