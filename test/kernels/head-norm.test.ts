import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import type { AttentionLayout } from "../../src/kernels/attention-layout.ts";
import { headNormBackward, headNormForward } from "../../src/kernels/head-norm.ts";
import { ropeTable } from "../../src/kernels/rope.ts";
import {
  type ActivationType,
  activationTypes,
  guarded,
  largestDifference,
  poisoned,
  randomF32,
  roundTo,
  runOnce,
  testGpu,
  uploadActivation,
  uploadF32,
  uploadU32,
} from "../gpu.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import { rope, ropeBackward } from "../reference/rope.ts";
import * as reference from "../reference/head-norm.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const EPSILON = 1e-6;

interface Case {
  tokens: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  /** A group's queries, then its key and its value, and eight columns of no head. */
  interleaved?: boolean;
}

// A team has eight threads of four dimensions each: heads of 4 leave seven without work, 36 makes one go
// twice. A workgroup has eight heads.
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 4 },
  { tokens: 1, heads: 2, kvHeads: 1, headSize: 16 },
  { tokens: 1, heads: 4, kvHeads: 2, headSize: 32 }, // one whole workgroup
  { tokens: 1, heads: 3, kvHeads: 3, headSize: 36 }, // and one head more
  { tokens: 1, heads: 16, kvHeads: 8, headSize: 128 },
  { tokens: 2, heads: 4, kvHeads: 1, headSize: 256 },
  { tokens: 3, heads: 6, kvHeads: 2, headSize: 20, interleaved: true },
  { tokens: 5, heads: 4, kvHeads: 4, headSize: 80 },
  { tokens: 7, heads: 5, kvHeads: 1, headSize: 60 },
  { tokens: 13, heads: 8, kvHeads: 2, headSize: 16, interleaved: true },
  { tokens: 31, heads: 2, kvHeads: 1, headSize: 64 },
  { tokens: 33, heads: 4, kvHeads: 2, headSize: 128, interleaved: true },
  { tokens: 70, heads: 3, kvHeads: 1, headSize: 12 },
  { tokens: 129, heads: 2, kvHeads: 2, headSize: 44 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "headNorm and its gradient agree with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
      async (shape) => {
        const data = prepare(shape, dtype);
        const { y, dx } = await run(gpu, data, dtype);
        const expectedY = reference.headNorm(data.x, data.norm);
        const expectedDx = reference.headNormBackward(data.x, data.dy, data.norm);
        // As of the norm of whole rows: a mean of squares, an rsqrt and two products.
        const inF32 = 2 ** -22 * (4 + Math.sqrt(shape.headSize));
        const inType = dtype === "f32" ? inF32 : 2 ** -10;
        const untouched = columnsOfNoHead(data.layout);
        const isHead = (_: number, i: number) => !untouched.has(i % data.layout.stride);
        const expectedHeads = expectedY.filter(isHead);
        expect(largestDifference(y.filter(isHead), expectedHeads)).toBeLessThan(
          inType * largest(expectedHeads),
        );
        expect(largestDifference(dx, expectedDx)).toBeLessThan(inType * largest(expectedDx));
        // Values go through as they are, y of no head keeps its poison, and dy its bits.
        const kept = (values: Float32Array, like: Float32Array, expected: Float64Array) =>
          values.filter((_, i) => expected[i] === like[i] && isHead(0, i));
        expect(kept(y, data.x, expectedY)).toEqual(kept(data.x, data.x, expectedY));
        expect(y.filter((_, i) => !isHead(0, i)).every(Number.isNaN)).toBe(true);
        const others = (values: Float32Array) =>
          values.filter((_, i) => expectedDx[i] === data.dy[i]);
        expect(others(dx)).toEqual(others(data.dy));
      },
    );
  });
}

// 16 and 128 turn whole, 24 in part and beside dimensions that stay; 12 has halves that begin within a quad.
describe.each([
  { tokens: 3, heads: 2, kvHeads: 1, headSize: 16, rotary: 16 },
  { tokens: 9, heads: 4, kvHeads: 2, headSize: 128, rotary: 128, interleaved: true },
  { tokens: 5, heads: 3, kvHeads: 1, headSize: 24, rotary: 16 },
  { tokens: 4, heads: 2, kvHeads: 2, headSize: 12, rotary: 12 },
])("normed and turned: $headSize, of which $rotary", ({ rotary, ...shape }) => {
  const frequencies = Float64Array.from({ length: rotary / 2 }, (_, i) => 1 / 10 ** (i / 4));
  const positions = Uint32Array.from({ length: shape.tokens }, (_, token) => 3 * token + 1);

  test.each(activationTypes(devices["all features"]))("in %s", async (dtype) => {
    const data = prepare(shape, dtype);
    const { layout } = data.norm;
    const heads = {
      ...layout,
      rotary,
      headColumns: [
        ...Array.from({ length: layout.heads }, (_, i) => layout.qColumn(i)),
        ...Array.from({ length: layout.kvHeads }, (_, i) => layout.kColumn(i)),
      ],
    };
    const { y, dx } = await run(devices["all features"], data, dtype, { frequencies, positions });
    const normed = reference.headNorm(data.x, data.norm);
    const expectedY = rope(normed, positions, frequencies, heads);
    const back = ropeBackward(data.dy, positions, frequencies, heads);
    const expectedDx = reference.headNormBackward(data.x, back, data.norm);
    const isHead = (_: number, i: number) =>
      !columnsOfNoHead(data.layout).has(i % data.layout.stride);
    // As above, and two more products; in f16, where the turn is a dispatch of its own, two more roundings.
    const inType = dtype === "f32" ? 2 ** -22 * (6 + Math.sqrt(shape.headSize)) : 2 ** -9;
    expect(largestDifference(y.filter(isHead), expectedY.filter(isHead))).toBeLessThan(
      inType * largest(expectedY),
    );
    expect(largestDifference(dx, expectedDx)).toBeLessThan(inType * largest(expectedDx));
  });
});

test("the gradient is that of finite differences", async () => {
  const data = prepare({ tokens: 2, heads: 2, kvHeads: 1, headSize: 8 }, "f32");
  const { dx } = await run(devices.baseline, data, "f32");
  const expected = differenceGradient(
    (x) => dot(reference.headNorm(x, data.norm), data.dy),
    Float64Array.from(data.x),
  );
  // The differences are good to 1e-8 of gradients up to about 4; what remains is f32.
  expect(largestDifference(dx, expected)).toBeLessThan(2 ** -19);
});

test("heads of zeros give zeros: ε keeps the root away from 0", async () => {
  const data = prepare({ tokens: 3, heads: 2, kvHeads: 1, headSize: 12 }, "f32");
  data.x.fill(0);
  const { y, dx } = await run(devices.baseline, data, "f32");
  expect(y.every((value) => value === 0)).toBe(true);
  const expected = reference.headNormBackward(data.x, data.dy, data.norm);
  // The gradient is up to 1 / √ε = 1,000 times dy; a root and two products round it.
  expect(largestDifference(dx, expected)).toBeLessThan(2 ** -21 * 1000);
});

test("a second run gives the same bits", async () => {
  const data = prepare(cases[11]!, "f32");
  const first = await run(devices["all features"], data, "f32");
  expect(await run(devices["all features"], data, "f32")).toEqual(first);
});

test("headNorm names both tensors when they do not fit", async () => {
  const gpu = devices.baseline;
  const { layout, norm } = prepare(cases[1]!, "f32");
  const x = gpu.allocate("layers.0.qkv", "f32", [1, layout.stride]);
  const y = gpu.allocate("y", "f32", [1, layout.stride]);
  const keyWeight = uploadF32(gpu, "k_norm", [16], norm.keyWeight);
  const queryWeight = gpu.allocate("q_norm", "f32", [64]);
  const operands = { x, keyWeight, layout, epsilon: EPSILON };
  await expect(
    runOnce(gpu, (recorder) => headNormForward(recorder, { ...operands, queryWeight, y })),
  ).rejects.toThrow(
    "headNormForward: q_norm is f32 [1, 64], but layers.0.qkv asks for f32 [1, 16]",
  );
  await expect(
    runOnce(gpu, (recorder) =>
      headNormBackward(recorder, { ...operands, queryWeight: keyWeight, dy: x }),
    ),
  ).rejects.toThrow("headNormBackward: layers.0.qkv is both read and written");
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
          stride: kvHeads * groupStride + 8,
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
  const count = tokens * layout.stride;
  return {
    tokens,
    layout,
    x: roundTo(dtype, randomF32(count, tokens + headSize)),
    dy: roundTo(dtype, randomF32(count, 2)),
    norm: {
      queryWeight: randomF32(headSize, 3),
      keyWeight: randomF32(headSize, 4),
      epsilon: EPSILON,
      layout: {
        tokens,
        heads,
        kvHeads,
        headSize,
        rowSize: layout.stride,
        qColumn: (h: number) =>
          Math.floor(h / group) * layout.qGroupStride + (h % group) * headSize,
        kColumn: (g: number) => layout.kBase + g * layout.kStride,
        vColumn: (g: number) => layout.vBase + g * layout.kStride,
      },
    },
  };
}

async function run(
  gpu: Gpu,
  { tokens, layout, norm, ...data }: ReturnType<typeof prepare>,
  dtype: ActivationType,
  turn?: { frequencies: Float64Array; positions: Uint32Array },
) {
  const shape = [tokens, layout.stride];
  const y = poisoned(gpu, "y", shape, dtype);
  const dy = guarded(gpu, "dy", shape, data.dy, dtype);
  const shared = {
    x: uploadActivation(gpu, "x", shape, data.x, dtype),
    queryWeight: uploadF32(gpu, "queryWeight", [layout.headSize], norm.queryWeight),
    keyWeight: uploadF32(gpu, "keyWeight", [layout.headSize], norm.keyWeight),
    layout,
    epsilon: norm.epsilon,
    rope: turn && {
      positions: uploadU32(gpu, "positions", [tokens], turn.positions),
      table: uploadF32(
        gpu,
        "table",
        [100, 2 * turn.frequencies.length],
        ropeTable(turn.frequencies, 100),
      ),
    },
  };
  await runOnce(gpu, (recorder) => {
    headNormForward(recorder, { ...shared, y: y.tensor });
    headNormBackward(recorder, { ...shared, dy: dy.tensor });
  });
  return { y: await y.read(), dx: await dy.read() };
}

function columnsOfNoHead({ heads, kvHeads, headSize, stride }: AttentionLayout): Set<number> {
  const used = (heads + 2 * kvHeads) * headSize;
  return new Set(Array.from({ length: stride - used }, (_, i) => used + i));
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
}
