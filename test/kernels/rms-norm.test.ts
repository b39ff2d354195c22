import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { rmsNormBackward, rmsNormForward } from "../../src/kernels/rms-norm.ts";
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
import * as reference from "../reference/rms-norm.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const EPSILON = 1e-5;

const cases = [
  { rows: 1, size: 4 }, // one thread has work
  { rows: 1, size: 20 },
  { rows: 1, size: 252 }, // the last thread has none
  { rows: 1, size: 256 }, // one quad for each thread
  { rows: 1, size: 260 }, // and one more
  { rows: 1, size: 2048 },
  { rows: 2, size: 8 },
  { rows: 2, size: 512 },
  { rows: 3, size: 100 },
  { rows: 3, size: 1028 },
  { rows: 4, size: 64 },
  { rows: 5, size: 36 },
  { rows: 7, size: 300 },
  { rows: 16, size: 128 },
  { rows: 17, size: 68 },
  { rows: 31, size: 192 },
  { rows: 33, size: 4 },
  { rows: 64, size: 64 },
  { rows: 65, size: 132 },
  { rows: 129, size: 16 },
  { rows: 200, size: 44 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "rmsNorm and its gradient agree with the reference: $rows × $size",
      async ({ rows, size }) => {
        const data = prepare(rows, size, dtype);
        const { y, dx } = await run(gpu, data, dtype);
        const shape = { rows, size, epsilon: EPSILON };
        const expectedY = reference.rmsNorm(data.x, data.weight, shape);
        const expectedDx = reference
          .rmsNormBackward(data.x, data.weight, data.dy, shape)
          .map((value, i) => value + data.dx[i]!);
        // A mean of squares, good to √size roundings of which a thread sees few, times an rsqrt and two
        // products; |y| reaches √3 for numbers even in [−1, 1), more for short rows.
        const inF32 = 2 ** -22 * (4 + Math.sqrt(size));
        const most = Math.max(...expectedY.map(Math.abs), ...expectedDx.map(Math.abs));
        const inType = dtype === "f32" ? inF32 : 2 ** -10;
        expect(largestDifference(y, expectedY)).toBeLessThan(inType * most);
        // dx is f32 whatever dy is, and so is its sum.
        expect(largestDifference(dx, expectedDx)).toBeLessThan(inF32 * most);
      },
    );
  });
}

test("the gradient is that of finite differences", async () => {
  const [rows, size] = [3, 8];
  const data = prepare(rows, size, "f32");
  data.dx.fill(0);
  const { dx } = await run(devices.baseline, data, "f32");
  const shape = { rows, size, epsilon: EPSILON };
  const expected = differenceGradient(
    (x) => dot(reference.rmsNorm(x, data.weight, shape), data.dy),
    Float64Array.from(data.x),
  );
  // The differences are good to 1e-9; what remains is f32.
  expect(largestDifference(dx, expected)).toBeLessThan(2 ** -20);
});

test.each([
  { rows: 1, size: 4 },
  { rows: 5, size: 36 },
  { rows: 7, size: 1028 },
])("a residual is added: $rows × $size", async ({ rows, size }) => {
  const gpu = devices.baseline;
  const data = prepare(rows, size, "f32");
  const y = poisoned(gpu, "y", [rows, size]);
  const chunk = poisoned(gpu, "chunk", [1, size]);
  await runOnce(gpu, (recorder) => {
    const x = uploadF32(gpu, "x", [rows, size], data.x);
    const shared = { x, weight: uploadF32(gpu, "weight", [size], data.weight), epsilon: EPSILON };
    const residual = uploadF32(gpu, "residual", [rows, size], data.dx);
    rmsNormForward(recorder, { ...shared, y: y.tensor, residual });
    // Of a chunk, row r of the residual goes with row r of y.
    const last = uploadF32(gpu, "last", [1, size], data.dx.slice((rows - 1) * size));
    rmsNormForward(recorder, { ...shared, y: chunk.tensor, residual: last, firstRow: rows - 1 });
  });
  const expected = reference
    .rmsNorm(data.x, data.weight, { rows, size, epsilon: EPSILON })
    .map((value, i) => value + data.dx[i]!);
  const most = Math.max(...expected.map(Math.abs));
  const got = await y.read();
  expect(largestDifference(got, expected)).toBeLessThan(2 ** -22 * (4 + Math.sqrt(size)) * most);
  expect(await chunk.read()).toEqual(got.slice((rows - 1) * size));
});

test("a residual goes only with an f32 y, and is not y itself", async () => {
  const gpu = devices.baseline;
  const tensor = (label: string, rows: number) => gpu.allocate(label, "f32", [rows, 8]);
  const [x, weight, y] = [tensor("x", 2), gpu.allocate("weight", "f32", [8]), tensor("mid", 2)];
  const operands = { x, weight, y, epsilon: EPSILON };
  const record = (residual: typeof x, out = y) =>
    runOnce(gpu, (recorder) => rmsNormForward(recorder, { ...operands, y: out, residual }));
  await expect(record(y)).rejects.toThrow("rmsNormForward: mid cannot be its own residual");
  await expect(record(tensor("residual", 3))).rejects.toThrow("residual is f32 [3, 8]");
  const halves: typeof x = { ...y, label: "halves", dtype: "f16" };
  await expect(record(y, halves)).rejects.toThrow("halves is f16 [2, 8]");
});

test("rows of zeros give zeros: ε keeps the root away from 0", async () => {
  const data = prepare(2, 12, "f32");
  data.x.fill(0);
  const { y, dx } = await run(devices.baseline, data, "f32");
  expect(y.every((value) => value === 0)).toBe(true);
  const shape = { rows: 2, size: 12, epsilon: EPSILON };
  const gradient = reference.rmsNormBackward(data.x, data.weight, data.dy, shape);
  const expected = gradient.map((value, i) => value + data.dx[i]!);
  // The gradient is up to 1 / √ε = 316 times dy; a root and two products round it.
  expect(largestDifference(dx, expected)).toBeLessThan(2 ** -21 * 316);
});

test("firstRow norms a chunk of rows, and touches the gradient of no other", async () => {
  const gpu = devices.baseline;
  const data = prepare(11, 20, "f32");
  const [firstRow, rows] = [4, 5];
  const y = poisoned(gpu, "y", [rows, 20]);
  const dx = guarded(gpu, "dx", [11, 20], data.dx);
  const x = uploadF32(gpu, "x", [11, 20], data.x);
  const weight = uploadF32(gpu, "weight", [20], data.weight);
  const chunk = (values: ArrayLike<number>) =>
    Array.from(values).slice(firstRow * 20, (firstRow + rows) * 20);
  await runOnce(gpu, (recorder) => {
    rmsNormForward(recorder, { x, weight, y: y.tensor, epsilon: EPSILON, firstRow });
    const dy = uploadF32(gpu, "dy", [rows, 20], chunk(data.dy));
    rmsNormBackward(recorder, { x, weight, dy, dx: dx.tensor, epsilon: EPSILON, firstRow });
  });
  const shape = { rows: 11, size: 20, epsilon: EPSILON };
  const expectedY = chunk(reference.rmsNorm(data.x, data.weight, shape));
  const gradient = reference.rmsNormBackward(data.x, data.weight, data.dy, shape);
  const expectedDx = data.dx.map((value, i) =>
    i >= firstRow * 20 && i < (firstRow + rows) * 20 ? value + gradient[i]! : value,
  );
  expect(largestDifference(await y.read(), expectedY)).toBeLessThan(2 ** -19);
  expect(largestDifference(await dx.read(), expectedDx)).toBeLessThan(2 ** -19);
});

test.each([1, 3, 7])('firstRow "last" norms the last real row, of %i', async (rows) => {
  const gpu = devices.baseline;
  const data = prepare(7, 12, "f32");
  const y = poisoned(gpu, "y", [1, 12]);
  await runOnce(
    gpu,
    (recorder) =>
      rmsNormForward(recorder, {
        x: uploadF32(gpu, "x", [7, 12], data.x),
        weight: uploadF32(gpu, "weight", [12], data.weight),
        y: y.tensor,
        epsilon: EPSILON,
        firstRow: "last",
      }),
    { rows },
  );
  const expected = reference
    .rmsNorm(data.x, data.weight, { rows: 7, size: 12, epsilon: EPSILON })
    .slice((rows - 1) * 12, rows * 12);
  expect(largestDifference(await y.read(), expected)).toBeLessThan(2 ** -19);
});

describe.each([8, 1028])("rows that are listed, of %i columns", (size) => {
  const gpu = devices.baseline;
  const data = prepare(6, size, "f32");
  const listed = [1, 2, 5];
  const NONE = 0xffff_ffff;
  const places = [NONE, 0, 1, NONE, NONE, 2];
  const rowsOf = (values: ArrayLike<number>) =>
    listed.flatMap((row) => Array.from(values).slice(row * size, (row + 1) * size));
  const shape = { rows: 6, size, epsilon: EPSILON };
  const tolerance = 2 ** -22 * (4 + Math.sqrt(size)) * 4;

  test("are normed one after the other, and rows of zeros follow", async () => {
    const y = poisoned(gpu, "y", [5, size]);
    await runOnce(gpu, (recorder) =>
      rmsNormForward(recorder, {
        x: uploadF32(gpu, "x", [6, size], data.x),
        weight: uploadF32(gpu, "weight", [size], data.weight),
        y: y.tensor,
        epsilon: EPSILON,
        rowOf: uploadU32(gpu, "rowOf", [5], [...listed, NONE, NONE]),
      }),
    );
    const got = await y.read();
    const expected = rowsOf(reference.rmsNorm(data.x, data.weight, shape));
    expect(largestDifference(got.slice(0, 3 * size), expected)).toBeLessThan(tolerance);
    expect(got.slice(3 * size).every((value) => value === 0)).toBe(true);
  });

  test.each([true, false])(
    "have their gradient where they are; accumulate %s",
    async (accumulate) => {
      const dx = guarded(gpu, "dx", [6, size], data.dx);
      // What lies behind the rows that are there is of no run, and read by none.
      const packed = [...rowsOf(data.dy), ...Array<number>(size).fill(Number.NaN)];
      await runOnce(gpu, (recorder) =>
        rmsNormBackward(recorder, {
          x: uploadF32(gpu, "x", [6, size], data.x),
          weight: uploadF32(gpu, "weight", [size], data.weight),
          dy: uploadF32(gpu, "dy", [4, size], packed),
          dx: dx.tensor,
          epsilon: EPSILON,
          placeOf: uploadU32(gpu, "placeOf", [6], places),
          accumulate,
        }),
      );
      const gradient = reference.rmsNormBackward(data.x, data.weight, data.dy, shape);
      const expected = data.dx.map((value, i) => {
        const own = places[Math.floor(i / size)] === NONE ? 0 : gradient[i]!;
        return accumulate ? value + own : own;
      });
      expect(largestDifference(await dx.read(), expected)).toBeLessThan(tolerance);
    },
  );
});

test("a second run gives the same bits", async () => {
  const data = prepare(9, 1028, "f32");
  const first = await run(devices["all features"], data, "f32");
  expect(await run(devices["all features"], data, "f32")).toEqual(first);
});

test("rmsNormForward names both tensors when they do not fit", async () => {
  const gpu = devices.baseline;
  const record = runOnce(gpu, (recorder) =>
    rmsNormForward(recorder, {
      x: uploadF32(gpu, "x", [2, 8], new Float32Array(16)),
      weight: uploadF32(gpu, "layers.0.norm", [12], new Float32Array(12)),
      y: poisoned(gpu, "y", [2, 8]).tensor,
      epsilon: EPSILON,
    }),
  );
  await expect(record).rejects.toThrow(
    "rmsNormForward: layers.0.norm is f32 [1, 12], but y asks for f32 [1, 8]",
  );
});

interface Data {
  rows: number;
  size: number;
  x: Float32Array;
  weight: Float32Array;
  dy: Float32Array;
  /** What the residual stream's gradient holds before. */
  dx: Float32Array;
}

function prepare(rows: number, size: number, dtype: ActivationType): Data {
  return {
    rows,
    size,
    x: randomF32(rows * size, rows + size),
    weight: randomF32(size, 2),
    dy: roundTo(dtype, randomF32(rows * size, 3)),
    dx: randomF32(rows * size, 4),
  };
}

async function run(gpu: Gpu, data: Data, dtype: ActivationType) {
  const { rows, size } = data;
  const x = uploadF32(gpu, "x", [rows, size], data.x);
  const weight = uploadF32(gpu, "weight", [size], data.weight);
  const dy = uploadActivation(gpu, "dy", [rows, size], data.dy, dtype);
  const y = poisoned(gpu, "y", [rows, size], dtype);
  const dx = guarded(gpu, "dx", [rows, size], data.dx);
  await runOnce(gpu, (recorder) => {
    rmsNormForward(recorder, { x, weight, y: y.tensor, epsilon: EPSILON });
    rmsNormBackward(recorder, { x, weight, dy, dx: dx.tensor, epsilon: EPSILON });
  });
  return { y: await y.read(), dx: await dx.read() };
}
