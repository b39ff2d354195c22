import { expect, test } from "vitest";
import { decodeF16, encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { read, write } from "../../src/gpu/tensor.ts";
import type { Nf4Weight } from "../../src/kernels/weight.ts";
import { NF4_GEMV_SLOT, nf4Gemv } from "../../src/kernels/nf4-gemv.ts";
import { largestDifference, poisoned, randomF32, runOnce, testGpu, uploadF32 } from "../gpu.ts";
import { matmulNt } from "../reference/matmul.ts";
import { dequantize } from "../reference/nf4.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

// Rows, outputs, inputs: rows that begin inside a word or a block, fewer outputs than a workgroup makes.
const SHAPES = [
  [1, 1, 4],
  [1, 2, 4],
  [1, 3, 12],
  [1, 4, 64],
  [1, 5, 60],
  [1, 64, 8],
  [1, 65, 68],
  [1, 7, 256],
  [1, 130, 20],
  [1, 33, 132],
  [1, 3, 2048],
  [1, 200, 64],
  [2, 9, 36],
  [2, 66, 128],
  [3, 5, 100],
  [3, 64, 64],
  [4, 17, 44],
  [5, 31, 28],
  [6, 63, 76],
  [7, 6, 512],
  [8, 97, 192],
] as const;

/** See matmul.test.ts. The block scales are within 1. */
function f32Tolerance(terms: number): number {
  return 2 ** -21 * Math.sqrt(terms);
}

test.each([
  { name: "this adapter, untried", on: gpu, variant: undefined },
  { name: "this adapter, select 1", on: gpu, variant: "select 1" },
  { name: "this adapter, shared 16", on: gpu, variant: "shared 16" },
  { name: "this adapter, shuffle 16", on: gpu, variant: "shuffle 16" },
  { name: "a device with nothing but the defaults", on: baseline, variant: undefined },
])("the product agrees with the reference's weights on $name", async ({ on, variant }) => {
  const cases = SHAPES.map(([rows, outputs, inputs]) => {
    const { weight, w } = randomNf4(on, outputs, inputs);
    const x = randomF32(rows * inputs, 1);
    const y = poisoned(on, "y", [rows, outputs]);
    const want = matmulNt(x, w, rows, outputs, inputs);
    return { weight, x: uploadF32(on, "x", [rows, inputs], x), y, want, inputs };
  });
  on.choices = variant === undefined ? {} : { [NF4_GEMV_SLOT]: variant };
  await runOnce(on, (recorder) => {
    for (const { weight, x, y } of cases) nf4Gemv(recorder, { x, weight, y: y.tensor });
  });
  for (const { y, want, inputs } of cases) {
    expect(largestDifference(await y.read(), want)).toBeLessThan(f32Tolerance(inputs));
  }
});

test.each(["select 1", "shared 16"])(
  "the adapter is added to each segment: %s",
  async (variant) => {
    gpu.choices = { [NF4_GEMV_SLOT]: variant };
    const [rows, inputs, rank] = [3, 36, 24];
    const segmentEnds = [8, 12, 16, 29];
    const { weight, w } = randomNf4(gpu, 29, inputs);
    const [x, b] = [randomF32(rows * inputs, 2), randomF32(29 * rank, 3)];
    const h = randomF32(rows * 4 * rank, 4);
    const y = poisoned(gpu, "y", [rows, 29]);
    await runOnce(gpu, (recorder) => {
      const input = uploadF32(gpu, "x", [rows, inputs], x);
      const side = {
        h: uploadF32(gpu, "h", [rows, 4 * rank], h),
        b: uploadF32(gpu, "b", [29, rank], b),
      };
      nf4Gemv(recorder, { x: input, weight, y: y.tensor, lora: { ...side, rank, segmentEnds } });
    });
    const want = matmulNt(x, w, rows, 29, inputs).map((value, i) => {
      const [t, n] = [Math.floor(i / 29), i % 29];
      const segment = segmentEnds.findIndex((end) => n < end);
      let sum = value;
      for (let j = 0; j < rank; j++) sum += h[(t * 4 + segment) * rank + j]! * b[n * rank + j]!;
      return sum;
    });
    expect(largestDifference(await y.read(), want)).toBeLessThan(f32Tolerance(inputs + rank));
  },
);

test("rows and columns of larger tensors are used, and y or a residual is added to", async () => {
  const [outputs, inputs] = [6, 20];
  const { weight, w } = randomNf4(gpu, outputs, inputs);
  const [x, held] = [randomF32(5 * inputs, 5), randomF32(4 * 11, 6)];
  const added = poisoned(gpu, "added", [4, 11]);
  const beside = poisoned(gpu, "beside", [4, 11]);
  write(gpu, added.tensor, held);
  await runOnce(gpu, (recorder) => {
    const place = { rows: 2, xRow: 3, yRow: 1, yColumn: 4 };
    const input = uploadF32(gpu, "x", [5, inputs], x);
    const residual = uploadF32(gpu, "residual", [4, 11], held);
    nf4Gemv(recorder, { x: input, weight, y: added.tensor, ...place, accumulate: true });
    nf4Gemv(recorder, { x: input, weight, y: beside.tensor, ...place, residual });
  });
  const want = Float64Array.from(held);
  const untouched = Float64Array.from(held).fill(Number.NaN);
  matmulNt(x.subarray(3 * inputs), w, 2, outputs, inputs).forEach((value, i) => {
    const at = (1 + Math.floor(i / outputs)) * 11 + 4 + (i % outputs);
    want[at]! += value;
    untouched[at] = 0;
  });
  const sums = await added.read();
  expect(largestDifference(sums, want)).toBeLessThan(f32Tolerance(inputs));
  expect(await beside.read()).toEqual(sums.map((value, i) => value + untouched[i]!));
});

test.each(["select 1", "shared 16"])("a bias is added to every row, once: %s", async (variant) => {
  gpu.choices = { [NF4_GEMV_SLOT]: variant };
  for (const [rows, outputs, inputs] of [
    [1, 1, 4],
    [3, 65, 36],
  ] as const) {
    const { weight, w } = randomNf4(gpu, outputs, inputs);
    const [x, bias] = [randomF32(rows * inputs, 9), randomF32(outputs, 10)];
    const held = randomF32(rows * outputs, 11);
    const [alone, beside] = [0, 1].map(() => poisoned(gpu, "y", [rows, outputs]));
    const rank = 4;
    const [h, b] = [randomF32(rows * rank, 12), randomF32(outputs * rank, 13)];
    await runOnce(gpu, (recorder) => {
      const shared = {
        x: uploadF32(gpu, "x", [rows, inputs], x),
        weight,
        bias: uploadF32(gpu, "bias", [outputs], bias),
      };
      const lora = {
        h: uploadF32(gpu, "h", [rows, rank], h),
        b: uploadF32(gpu, "b", [outputs, rank], b),
        rank,
        segmentEnds: [outputs],
      };
      const residual = uploadF32(gpu, "residual", [rows, outputs], held);
      nf4Gemv(recorder, { ...shared, y: alone!.tensor });
      nf4Gemv(recorder, { ...shared, y: beside!.tensor, residual, lora });
    });
    const product = matmulNt(x, w, rows, outputs, inputs);
    const want = product.map((value, i) => value + bias[i % outputs]!);
    const branch = matmulNt(h, b, rows, outputs, rank);
    const wantAll = want.map((value, i) => value + branch[i]! + held[i]!);
    expect(largestDifference(await alone!.read(), want)).toBeLessThan(f32Tolerance(inputs + 1));
    expect(largestDifference(await beside!.read(), wantAll)).toBeLessThan(
      f32Tolerance(inputs + rank + 2),
    );
  }
});

test.each(["select 1", "shuffle 8"])(
  "a gate and what it gates are one product: %s",
  async (variant) => {
    gpu.choices = { [NF4_GEMV_SLOT]: variant };
    for (const [rows, features, inputs] of [
      [1, 37, 128],
      [2, 5, 36],
    ] as const) {
      const { weight, w } = randomNf4(gpu, 2 * features, inputs);
      const [x, bias] = [randomF32(rows * inputs, 21), randomF32(2 * features, 22)];
      const y = poisoned(gpu, "y", [rows + 1, features + 3]);
      await runOnce(gpu, (recorder) =>
        nf4Gemv(recorder, {
          x: uploadF32(gpu, "x", [rows, inputs], x),
          weight,
          bias: uploadF32(gpu, "bias", [2 * features], bias),
          y: y.tensor,
          yRow: 1,
          yColumn: 2,
          gate: "silu",
        }),
      );
      const both = matmulNt(x, w, rows, 2 * features, inputs).map(
        (v, i) => v + bias[i % (2 * features)]!,
      );
      const want = Float64Array.from({ length: rows * features }, (_, i) => {
        const at = Math.floor(i / features) * 2 * features + (i % features);
        return (both[at]! / (1 + Math.exp(-both[at]!))) * both[at + features]!;
      });
      const got = await y.read();
      const placed = want.map(
        (_, i) => got[(1 + Math.floor(i / features)) * (features + 3) + 2 + (i % features)]!,
      );
      // Two factors of size √inputs.
      expect(largestDifference(placed, want)).toBeLessThan(2 ** -21 * inputs * 4);
      expect(got.filter(Number.isNaN)).toHaveLength(got.length - want.length);
    }
  },
);

test.runIf(gpu.hasF16)("f16 activations cost no more than their rounding", async () => {
  const [rows, outputs, inputs] = [2, 33, 128];
  const { weight, w } = randomNf4(gpu, outputs, inputs);
  const halves = encodeF16(randomF32(rows * inputs, 7));
  const x = gpu.allocate("x", "f16", [rows, inputs]);
  const y = gpu.allocate("y", "f16", [rows, outputs]);
  write(gpu, x, halves);
  await runOnce(gpu, (recorder) => nf4Gemv(recorder, { x, weight, y }));
  const got = decodeF16(new Uint16Array(await read(gpu, y), 0, rows * outputs));
  const want = matmulNt(decodeF16(halves), w, rows, outputs, inputs);
  // Operands are exact and sums f32; the result, of size √inputs, is rounded to f16.
  expect(largestDifference(got, want)).toBeLessThan(2 ** -10 * Math.sqrt(inputs));
});

test("a second run gives the same bits", async () => {
  const { weight } = randomNf4(gpu, 70, 260);
  const x = uploadF32(gpu, "x", [1, 260], randomF32(260, 8));
  const [first, second] = [poisoned(gpu, "y", [1, 70]), poisoned(gpu, "y", [1, 70])];
  for (const y of [first, second]) {
    await runOnce(gpu, (recorder) => nf4Gemv(recorder, { x, weight, y: y.tensor }));
  }
  expect(await second.read()).toEqual(await first.read());
});

test("shapes that do not fit are refused by name", async () => {
  const { weight } = randomNf4(gpu, 4, 32);
  const [x, y] = [gpu.allocate("normed", "f32", [1, 36]), gpu.allocate("y", "f32", [1, 4])];
  await expect(runOnce(gpu, (recorder) => nf4Gemv(recorder, { x, weight, y }))).rejects.toThrow(
    "normed is 1 × 36, needs 1 × 32",
  );
});

/** Random codes and scales, and the weights they stand for. */
function randomNf4(on: Gpu, outputs: number, inputs: number) {
  const count = outputs * inputs;
  const bytes = Uint8Array.from(randomF32(Math.ceil(count / 8) * 4, count), (v) => (v + 1) * 128);
  const absmax = randomF32(Math.ceil(count / 64), count + 1).map(Math.abs);
  const codes = on.allocate("codes", "u32", [bytes.length / 4]);
  write(on, codes, bytes);
  const scales = uploadF32(on, "absmax", [absmax.length], absmax);
  const weight: Nf4Weight = { codes, absmax: scales, shape: [outputs, inputs] };
  return { weight, w: dequantize(bytes, absmax, count) };
}
