import { describe, expect, test } from "vitest";
import { decodeF16, encodeF16 } from "../../src/formats/float.ts";
import { readF32 } from "../../src/gpu/tensor.ts";
import { loraDown, loraGradients } from "../../src/kernels/lora.ts";
import { largestDifference, runOnce, testGpu, uploadF32 } from "../gpu.ts";
import { keptMask } from "../reference/dropout-mask.ts";
import {
  expectClose,
  expectDifferences,
  MODULE,
  randomData,
  referenceOf,
  runAll,
  type Size,
  STEP,
  tolerance,
} from "./lora-cases.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

const SIZES: readonly Size[] = [
  { rows: 1, inputs: 4, rank: 4, segmentEnds: [1], dropout: 0 },
  { rows: 1, inputs: 8, rank: 8, segmentEnds: [5], dropout: 0.5 },
  { rows: 2, inputs: 12, rank: 4, segmentEnds: [4, 8], dropout: 0 },
  { rows: 3, inputs: 20, rank: 12, segmentEnds: [4, 7], dropout: 0.25 },
  { rows: 4, inputs: 64, rank: 16, segmentEnds: [64], dropout: 0 },
  { rows: 5, inputs: 36, rank: 20, segmentEnds: [8, 12, 16, 20], dropout: 0.1 },
  { rows: 6, inputs: 100, rank: 4, segmentEnds: [3], dropout: 0 },
  { rows: 7, inputs: 4, rank: 64, segmentEnds: [12, 20, 33], dropout: 0.9 },
  { rows: 8, inputs: 32, rank: 32, segmentEnds: [32, 48, 64], dropout: 0 },
  { rows: 9, inputs: 68, rank: 8, segmentEnds: [41], dropout: 0.1 },
  { rows: 13, inputs: 132, rank: 4, segmentEnds: [100, 200], dropout: 0 },
  { rows: 16, inputs: 16, rank: 16, segmentEnds: [16], dropout: 0.05 },
  { rows: 17, inputs: 48, rank: 12, segmentEnds: [4, 30], dropout: 0 },
  { rows: 31, inputs: 28, rank: 8, segmentEnds: [28, 56, 84, 86], dropout: 0.3 },
  { rows: 33, inputs: 256, rank: 4, segmentEnds: [9], dropout: 0 },
  { rows: 40, inputs: 512, rank: 8, segmentEnds: [65], dropout: 0.1 },
  { rows: 63, inputs: 12, rank: 24, segmentEnds: [8, 17], dropout: 0 },
  { rows: 64, inputs: 64, rank: 4, segmentEnds: [64, 96, 128], dropout: 0.1 },
  { rows: 65, inputs: 20, rank: 16, segmentEnds: [300], dropout: 0 },
  { rows: 130, inputs: 44, rank: 8, segmentEnds: [52, 53], dropout: 0.2 },
  { rows: 257, inputs: 8, rank: 4, segmentEnds: [6], dropout: 0 },
];
describe.each([
  { name: "this adapter", on: gpu },
  { name: "a device with nothing but the defaults", on: baseline },
])("on $name", ({ on }) => {
  test.each(SIZES)(
    "the reference agrees: $rows rows, $inputs inputs, rank $rank, segments $segmentEnds, dropout $dropout",
    async (size) => {
      const data = randomData(size);
      const got = await runAll(on, size, data);
      expectClose(got, referenceOf(size, data), size);
    },
  );
});

test("gradients are those that finite differences find", () => expectDifferences(gpu, "direct"));

test.runIf(gpu.hasF16)("f16 activations are read as the numbers they hold", async () => {
  const size = { rows: 9, inputs: 20, rank: 8, segmentEnds: [12, 17], dropout: 0.25 };
  const data = randomData(size);
  data.x = decodeF16(encodeF16(data.x));
  data.dy = decodeF16(encodeF16(data.dy));
  const f32 = await runAll(gpu, size, data);
  const f16 = await runAll(gpu, size, data, { dtype: "f16" });
  expect(f16).toEqual(f32);
});

test("a run in chunks of rows, reading a piece of dy, agrees with one over all rows", async () => {
  const size = { rows: 11, inputs: 12, rank: 8, segmentEnds: [4, 9], dropout: 0.5 };
  const data = randomData(size);
  // Lanes share few rows out differently, and so add them up in another order.
  const direct = { variant: "direct" };
  const whole = await runAll(gpu, size, data, direct);
  const chunked = await runAll(gpu, size, data, { chunks: [5, 4, 2], columns: 13, column: 3 });
  expect(chunked.h).toEqual(whole.h);
  expect(chunked.dh).toEqual(whole.dh);
  // Each chunk is added in turn, so that the sums round differently.
  expect(largestDifference(chunked.da, whole.da)).toBeLessThan(tolerance(11, 20));
  expect(largestDifference(chunked.db, whole.db)).toBeLessThan(tolerance(11, 20));
});

test("the step's adapter scale multiplies h and dh", async () => {
  const size = { rows: 3, inputs: 8, rank: 4, segmentEnds: [6], dropout: 0 };
  const data = randomData(size);
  const [full, half] = [
    await runAll(gpu, size, data),
    await runAll(gpu, size, data, { scale: 0.5 }),
  ];
  expect(half.h).toEqual(full.h.map((value) => value / 2)); // a power of 2 is exact
  expect(half.dh).toEqual(full.dh.map((value) => value / 2));
});

test("a second run gives the same bits", async () => {
  const size = { rows: 37, inputs: 64, rank: 8, segmentEnds: [32, 50], dropout: 0.1 };
  const data = randomData(size);
  expect(await runAll(gpu, size, data)).toEqual(await runAll(gpu, size, data));
});

test("the mask keeps what the reference keeps, and about as much as it should", async () => {
  const count = 256 * 512;
  for (const probability of [0.05, 0.1, 0.5]) {
    const mask = await gpuMask(STEP, MODULE, probability, 256, 512);
    const want = keptMask({ ...STEP, moduleId: MODULE }, count, probability);
    expect(largestDifference(mask, want)).toBe(0);
    const kept = mask.reduce((sum, value) => sum + value, 0);
    const deviation = Math.sqrt(count * probability * (1 - probability));
    expect(Math.abs(kept - count * (1 - probability))).toBeLessThan(4 * deviation); // 1 in 16,000
  }
});

test("masks of other modules, steps, micro-batches and seeds have nothing in common", () => {
  const count = 2 ** 16;
  const places = [
    { ...STEP, moduleId: MODULE },
    { ...STEP, moduleId: MODULE + 1 },
    { ...STEP, moduleId: MODULE + 2 },
    { ...STEP, step: STEP.step + 1, moduleId: MODULE },
    { ...STEP, step: STEP.micro, micro: STEP.step, moduleId: MODULE },
    { ...STEP, micro: STEP.micro + 1, moduleId: MODULE },
    { ...STEP, seed: STEP.seed + 1, moduleId: MODULE },
  ];
  const signs = places.map((place) => signsOf(keptMask(place, count, 0.5)));
  for (let i = 0; i < signs.length; i++) {
    for (let j = 0; j < i; j++) {
      // A sum of 65,536 signs has deviation 256. Neighbors are tried too: masks must not be shifted copies.
      for (const shift of [0, 1, 2, 64]) {
        expect(Math.abs(correlation(signs[i]!, signs[j]!, shift))).toBeLessThan(4.5 * 256);
      }
    }
  }
});

test("within a mask, neighbors, rows and the two halves of a word are independent", () => {
  for (const probability of [0.1, 0.5]) {
    const kept = keptMask({ ...STEP, moduleId: MODULE }, 2 ** 16, probability);
    const centered = Float64Array.from(kept, (value) => value - (1 - probability));
    const deviation = 256 * probability * (1 - probability);
    for (const shift of [1, 2, 3, 4, 8, 63, 64, 512, 2048]) {
      expect(Math.abs(correlation(centered, centered, shift))).toBeLessThan(4.5 * deviation);
    }
  }
});

test("shapes that do not fit are refused by name", async () => {
  const x = gpu.allocate("normed", "f32", [3, 8]);
  const a = gpu.allocate("q.a", "f32", [4, 12]);
  const h = gpu.allocate("h", "f32", [3, 4]);
  await expect(
    runOnce(gpu, (recorder) => loraDown(recorder, { x, a, h, rank: 4, scales: [1] })),
  ).rejects.toThrow("q.a is f32 4 × 12, needs f32 4 × 8");
});

/** The mask as dA shows it: where x is all ones and dh picks token t for rank t, row t of dA is row t of the mask. */
async function gpuMask(
  step: typeof STEP,
  moduleId: number,
  probability: number,
  rows: number,
  inputs: number,
): Promise<Uint8Array> {
  const ones = uploadF32(gpu, "ones", [rows, inputs], new Float32Array(rows * inputs).fill(1));
  const da = gpu.allocate("da", "f32", [rows, inputs]);
  const identity = new Float32Array(rows * rows).map((_, i) => Number(i % (rows + 1) === 0));
  const dh = uploadF32(gpu, "dh", [rows, rows], identity);
  const db = gpu.allocate("db", "f32", [1, rows]);
  const dy = gpu.allocate("dy", "f32", [rows, 1]);
  const dropout = { probability, moduleId };
  const call = { x: ones, dy, h: dh, dh, da, db, rank: rows, segmentEnds: [1], dropout };
  await runOnce(gpu, (recorder) => loraGradients(recorder, call), step);
  const factors = await readF32(gpu, da);
  expect(new Set(factors)).toEqual(new Set([0, Math.fround(1 / (1 - probability))]));
  return Uint8Array.from(factors, (factor) => Number(factor !== 0));
}

function signsOf(mask: Uint8Array): Float64Array {
  return Float64Array.from(mask, (value) => 2 * value - 1);
}

function correlation(first: Float64Array, second: Float64Array, shift: number): number {
  let sum = 0;
  for (let i = shift; i < first.length; i++) sum += first[i]! * second[i - shift]!;
  return sum;
}
