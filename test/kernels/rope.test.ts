import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import type { AttentionLayout } from "../../src/kernels/attention-layout.ts";
import { ropeBackward, ropeForward, ropeTable } from "../../src/kernels/rope.ts";
import {
  type ActivationType,
  activationTypes,
  guarded,
  largestDifference,
  randomF32,
  roundTo,
  runOnce,
  testGpu,
  uploadF32,
  uploadU32,
} from "../gpu.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import * as reference from "../reference/rope.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const POSITIONS = 300;

interface Case {
  tokens: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  interleaved?: boolean;
}

const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 4 }, // two pairs
  { tokens: 1, heads: 2, kvHeads: 1, headSize: 16 },
  { tokens: 1, heads: 3, kvHeads: 3, headSize: 20 }, // ten pairs: no multiple of four
  { tokens: 1, heads: 32, kvHeads: 8, headSize: 64 },
  { tokens: 2, heads: 4, kvHeads: 2, headSize: 32 },
  { tokens: 2, heads: 2, kvHeads: 1, headSize: 256 },
  { tokens: 3, heads: 6, kvHeads: 2, headSize: 20, interleaved: true },
  { tokens: 5, heads: 4, kvHeads: 4, headSize: 80 },
  { tokens: 7, heads: 5, kvHeads: 1, headSize: 36 },
  { tokens: 8, heads: 2, kvHeads: 2, headSize: 128 },
  { tokens: 13, heads: 8, kvHeads: 2, headSize: 16, interleaved: true },
  { tokens: 16, heads: 3, kvHeads: 1, headSize: 16 }, // whole workgroups
  { tokens: 17, heads: 2, kvHeads: 2, headSize: 64 },
  { tokens: 31, heads: 4, kvHeads: 1, headSize: 8 },
  { tokens: 33, heads: 4, kvHeads: 2, headSize: 32, interleaved: true },
  { tokens: 64, heads: 2, kvHeads: 1, headSize: 4 },
  { tokens: 65, heads: 3, kvHeads: 3, headSize: 12 },
  { tokens: 100, heads: 1, kvHeads: 1, headSize: 64 },
  { tokens: 129, heads: 2, kvHeads: 1, headSize: 80 },
  { tokens: 200, heads: 4, kvHeads: 2, headSize: 16 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "rope and its inverse agree with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
      async (shape) => {
        const data = prepare(shape, dtype);
        const { turned, turnedBack } = await run(gpu, data, dtype);
        const { qkv, positions, frequencies, referenceLayout } = data;
        const expected = reference.rope(qkv, positions, frequencies, referenceLayout);
        const expectedBack = reference.ropeBackward(qkv, positions, frequencies, referenceLayout);
        // Two products of numbers below 1 with a cosine and a sine rounded to f32, and one sum.
        const tolerance = dtype === "f32" ? 2 ** -22 : 2 ** -10;
        expect(largestDifference(turned, expected)).toBeLessThan(tolerance);
        expect(largestDifference(turnedBack, expectedBack)).toBeLessThan(tolerance);
      },
    );
  });
}

test("step.position is added where the cache says so, and only there", async () => {
  const gpu = devices.baseline;
  const data = prepare({ tokens: 3, heads: 2, kvHeads: 1, headSize: 8 }, "f32");
  const { turned } = await run(gpu, data, "f32", { position: 41, usesStepPosition: true });
  const { turned: unmoved } = await run(gpu, data, "f32", { position: 41 });
  const { qkv, positions, frequencies, referenceLayout } = data;
  const moved = positions.map((position) => position + 41);
  const expected = reference.rope(qkv, moved, frequencies, referenceLayout);
  const expectedUnmoved = reference.rope(qkv, positions, frequencies, referenceLayout);
  expect(largestDifference(turned, expected)).toBeLessThan(2 ** -22);
  expect(largestDifference(unmoved, expectedUnmoved)).toBeLessThan(2 ** -22);
});

// Head size, and the dimensions of it that turn: one pair, an odd number of pairs, nearly all.
const partial = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 4, rotary: 2 },
  { tokens: 5, heads: 4, kvHeads: 2, headSize: 20, rotary: 10 },
  { tokens: 9, heads: 6, kvHeads: 2, headSize: 20, rotary: 18, interleaved: true },
  { tokens: 33, heads: 3, kvHeads: 1, headSize: 128, rotary: 96 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(partial)(
      "$rotary of $headSize dimensions turn, and grow by the table's scale",
      async ({ rotary, ...shape }) => {
        const data = prepare(shape, dtype);
        const scale = 1.1902380714238083;
        const frequencies = reference.inverseFrequencies(rotary, 10_000);
        const { turned, turnedBack } = await run(gpu, { ...data, frequencies }, dtype, { scale });
        const { qkv, positions } = data;
        const layout = { ...data.referenceLayout, rotary, scale };
        const expected = reference.rope(qkv, positions, frequencies, layout);
        const expectedBack = reference.ropeBackward(qkv, positions, frequencies, layout);
        const tolerance = dtype === "f32" ? 2 ** -22 * scale : 2 ** -10 * scale;
        expect(largestDifference(turned, expected)).toBeLessThan(tolerance);
        expect(largestDifference(turnedBack, expectedBack)).toBeLessThan(tolerance);
        // What does not turn keeps its bits.
        const kept = (values: Float32Array) => values.filter((_, i) => expected[i] === qkv[i]);
        expect(kept(turned)).toEqual(kept(qkv));
        expect(kept(turnedBack)).toEqual(kept(qkv));
      },
    );
  });
}

test("the gradient is that of finite differences, also of a part that turns", async () => {
  const data = prepare({ tokens: 3, heads: 2, kvHeads: 1, headSize: 8 }, "f32");
  const frequencies = reference.inverseFrequencies(6, 10_000);
  const scale = 1.25;
  const { turnedBack } = await run(devices.baseline, { ...data, frequencies }, "f32", { scale });
  const layout = { ...data.referenceLayout, rotary: 6, scale };
  // The kernel was given qkv as the gradient of what it turned; rope is linear, so any point will do.
  const expected = differenceGradient(
    (x) => dot(reference.rope(x, data.positions, frequencies, layout), data.qkv),
    new Float64Array(data.qkv.length),
  );
  expect(largestDifference(turnedBack, expected)).toBeLessThan(2 ** -21);
});

test("a second run gives the same bits", async () => {
  const data = prepare(cases[14]!, "f32");
  const first = await run(devices["all features"], data, "f32");
  expect(await run(devices["all features"], data, "f32")).toEqual(first);
});

test("a table that turns more than a head has is refused by name", async () => {
  const { layout, positions, qkv } = prepare(cases[4]!, "f32");
  const gpu = devices.baseline;
  const record = runOnce(gpu, (recorder) =>
    ropeForward(recorder, {
      qkv: uploadF32(gpu, "qkv", [2, layout.stride], qkv),
      positions: uploadU32(gpu, "positions", [2], positions),
      table: uploadF32(gpu, "angles", [5, 48], new Float32Array(240)),
      layout,
    }),
  );
  await expect(record).rejects.toThrow("rope: angles turns 48 dimensions of a head of 32");
});

test("the table is exact to f32 at positions where an f32 angle is off by 4e-3", () => {
  const [frequency, position] = [0.7548776662466927, 131_071];
  const table = ropeTable([frequency], position + 1);
  // The same angle by angle addition from 65,535 and 65,536, in f64.
  const [a, b] = [65_535 * frequency, 65_536 * frequency];
  const cosine = Math.cos(a) * Math.cos(b) - Math.sin(a) * Math.sin(b);
  const sine = Math.sin(a) * Math.cos(b) + Math.cos(a) * Math.sin(b);
  expect(Math.abs(table[position * 2]! - cosine)).toBeLessThan(2 ** -24);
  expect(Math.abs(table[position * 2 + 1]! - sine)).toBeLessThan(2 ** -24);
});

function prepare(shape: Case, dtype: ActivationType) {
  const { tokens, heads, kvHeads, headSize, interleaved = false } = shape;
  const group = heads / kvHeads;
  const groupStride = (group + 2) * headSize;
  const layout: AttentionLayout = {
    heads,
    kvHeads,
    headSize,
    ...(interleaved
      ? {
          stride: kvHeads * groupStride,
          qGroupStride: groupStride,
          kBase: group * headSize,
          vBase: (group + 1) * headSize,
          kStride: groupStride,
        }
      : {
          stride: (heads + 2 * kvHeads) * headSize,
          qGroupStride: group * headSize,
          kBase: heads * headSize,
          vBase: (heads + kvHeads) * headSize,
          kStride: headSize,
        }),
  };
  const qColumns = Array.from(
    { length: heads },
    (_, h) => Math.floor(h / group) * layout.qGroupStride + (h % group) * headSize,
  );
  const kColumns = Array.from({ length: kvHeads }, (_, g) => layout.kBase + g * layout.kStride);
  return {
    layout,
    qkv: roundTo(dtype, randomF32(tokens * layout.stride, tokens + headSize)),
    // Out of order and repeated, as in a row of several documents.
    positions: Uint32Array.from({ length: tokens }, (_, i) => (i * 37) % 251),
    frequencies: reference.inverseFrequencies(headSize, 10_000),
    referenceLayout: {
      tokens,
      rowSize: layout.stride,
      headSize,
      headColumns: [...qColumns, ...kColumns],
    },
  };
}

async function run(
  gpu: Gpu,
  { layout, qkv, positions, frequencies }: ReturnType<typeof prepare>,
  dtype: ActivationType,
  { position = 0, usesStepPosition = false, scale = 1 } = {},
) {
  const tokens = positions.length;
  const turned = guarded(gpu, "qkv", [tokens, layout.stride], qkv, dtype);
  const turnedBack = guarded(gpu, "dqkv", [tokens, layout.stride], qkv, dtype);
  const shared = {
    positions: uploadU32(gpu, "positions", [tokens], positions),
    table: uploadF32(
      gpu,
      "table",
      [POSITIONS, 2 * frequencies.length],
      ropeTable(frequencies, POSITIONS, scale),
    ),
    layout,
    usesStepPosition,
  };
  await runOnce(
    gpu,
    (recorder) => {
      ropeForward(recorder, { ...shared, qkv: turned.tensor });
      ropeBackward(recorder, { ...shared, qkv: turnedBack.tensor });
    },
    { position },
  );
  return { turned: await turned.read(), turnedBack: await turnedBack.read() };
}
