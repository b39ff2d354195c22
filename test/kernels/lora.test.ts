import { describe, expect, test } from "vitest";
import { decodeF16, encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { readF32, write } from "../../src/gpu/tensor.ts";
import {
  LORA_SLOT,
  LORA_TUNABLE,
  loraDown,
  loraGradients,
  loraUpBackward,
} from "../../src/kernels/lora.ts";
import {
  largestDifference,
  nullGpu,
  poisoned,
  randomF32,
  runOnce,
  testGpu,
  uploadF32,
} from "../gpu.ts";
import { keptMask } from "../reference/dropout-mask.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import {
  lora as loraReference,
  loraBackward,
  loraDown as downReference,
} from "../reference/lora.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

interface Size {
  rows: number;
  inputs: number;
  rank: number;
  segmentEnds: readonly number[];
  /** 0 is none. */
  dropout: number;
}

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
/** Sizes for the variants that deal the inner dimension out: few, since every one compiles anew. */
const LANES_SIZES: readonly (Size & { variant: string })[] = [
  // Less than the lanes; few rows, whose tile all threads share.
  { variant: "lanes 16", rows: 3, inputs: 20, rank: 4, segmentEnds: [5], dropout: 0.5 },
  // More than one block of ranks, and as many segments as there can be.
  {
    variant: "lanes 32",
    rows: 70,
    inputs: 300,
    rank: 20,
    segmentEnds: [8, 12, 16, 30],
    dropout: 0.25,
  },
];
const STEP = { seed: 123, step: 4, micro: 1 };
const MODULE = 30;
const SCALES = [2, 0.5, 1.25, -0.75];

/** See matmul.test.ts; the scale, dropout's 1 / (1 − p) and what a gradient starts with enlarge it. */
function tolerance(terms: number, largest: number): number {
  return 2 ** -21 * Math.sqrt(terms) * largest;
}

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

test.each(LANES_SIZES)(
  "$variant agrees: $rows rows, $inputs inputs, rank $rank, segments $segmentEnds, dropout $dropout",
  async ({ variant, ...size }) => {
    const data = randomData(size);
    const got = await runAll(baseline, size, data, { variant });
    expectClose(got, referenceOf(size, data), size);
    expect(await runAll(baseline, size, data, { variant })).toEqual(got); // bit for bit
  },
);

test("lanes take chunks of rows and a piece of dy", async () => {
  const { variant, ...size } = LANES_SIZES[1]!;
  const data = randomData(size);
  const got = await runAll(baseline, size, data, {
    chunks: [33, 37],
    columns: 37,
    column: 3,
    variant,
  });
  expectClose(got, referenceOf(size, data), size);
});

test.runIf(gpu.hasF16)("lanes read f16 activations as the numbers they hold", async () => {
  const { variant, ...size } = LANES_SIZES[0]!;
  const data = randomData(size);
  data.x = decodeF16(encodeF16(data.x));
  data.dy = decodeF16(encodeF16(data.dy));
  const got = await runAll(gpu, size, data, { dtype: "f16", variant });
  expectClose(got, referenceOf(size, data), size);
});

// "lanes 16" on the device that has compiled it.
test.each([
  { variant: "direct", on: gpu },
  { variant: "lanes 16", on: baseline },
])("gradients are those that finite differences find: $variant", async ({ variant, on }) => {
  const size = { rows: 3, inputs: 8, rank: 4, segmentEnds: [6], dropout: 0.5 };
  const data = { ...randomData(size), heldA: new Float32Array(32), heldB: new Float32Array(24) };
  const { x, a, b, dy } = data;
  const kept = keptMask({ ...STEP, moduleId: MODULE }, x.length, 0.5);
  const shape = { tokens: 3, inputs: 8, outputs: 6, rank: 4 };
  const branch = (A: ArrayLike<number>, B: ArrayLike<number>) =>
    dot(loraReference(x, A, B, 2, { kept, probability: 0.5 }, shape), dy);
  const { da, db } = await runAll(on, size, data, { variant });
  const wantA = differenceGradient((at) => branch(at, b), Float64Array.from(a));
  const wantB = differenceGradient((at) => branch(a, at), Float64Array.from(b));
  // Values are below 50, f32 keeps 2⁻²⁴ of them at each of about ten steps.
  expect(largestDifference(da, wantA)).toBeLessThan(2e-5);
  expect(largestDifference(db, wantB)).toBeLessThan(2e-5);
});

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

test("what is tried on a GPU compiles in every variant, and is whole", async () => {
  const nothing = await nullGpu();
  const sizes = { hidden: 256, intermediate: 512, heads: 4, kvHeads: 2, headSize: 64 };
  for (const rank of [16, 8, 4]) {
    const trial = LORA_TUNABLE.trial(nothing, { ...sizes, rank, tokens: 33, act: "f16" });
    const variants = LORA_TUNABLE.candidates(nothing, { ...sizes, rank, tokens: 33, act: "f16" });
    expect(variants).toEqual(["lanes 32", "lanes 16", "lanes 64", "direct"]);
    for (const variant of variants) {
      nothing.choices = { [LORA_SLOT]: variant };
      await runOnce(nothing, (recorder) => trial.record(recorder));
    }
    expect(trial.results.map(({ shape }) => shape.join(" × "))).toEqual([
      `33 × ${3 * rank}`,
      `33 × ${3 * rank}`,
      `${3 * rank} × 256`,
      `512 × ${rank}`,
    ]);
  }
  const none = { ...sizes, rank: 0, tokens: 33, act: "f16" } as const;
  expect(LORA_TUNABLE.candidates(nothing, none)).toEqual(["direct"]);
});

type Data = ReturnType<typeof randomData>;

function expectClose(
  got: Awaited<ReturnType<typeof runAll>>,
  want: ReturnType<typeof referenceOf>,
  { rows, inputs, segmentEnds, dropout }: Size,
): void {
  const outputs = segmentEnds.at(-1)!;
  const kept = 2 / (1 - dropout); // the largest scale, and dropout's
  expect(largestDifference(got.h, want.h)).toBeLessThan(tolerance(inputs, kept));
  expect(largestDifference(got.dh, want.dh)).toBeLessThan(tolerance(outputs, 2));
  // h and dh have the size of a sum themselves.
  const [sizeDh, sizeH] = [want.dh, want.h].map((all) => Math.max(...all.map(Math.abs), 1));
  const toleranceA = tolerance(rows + outputs, sizeDh! / (1 - dropout));
  const toleranceB = tolerance(rows + inputs, sizeH!);
  expect(largestDifference(got.da, want.da)).toBeLessThan(toleranceA);
  expect(largestDifference(got.db, want.db)).toBeLessThan(toleranceB);
}

function randomData({ rows, inputs, rank, segmentEnds }: Size) {
  const [segments, outputs] = [segmentEnds.length, segmentEnds.at(-1)!];
  return {
    x: randomF32(rows * inputs, 1),
    a: randomF32(segments * rank * inputs, 2),
    b: randomF32(outputs * rank, 3),
    dy: randomF32(rows * outputs, 4),
    // What the gradients hold before: they are added to.
    heldA: randomF32(segments * rank * inputs, 5),
    heldB: randomF32(outputs * rank, 6),
  };
}

interface RunOptions {
  dtype?: "f32" | "f16";
  /** Rows taken at a time. */
  chunks?: readonly number[];
  /** Columns of dy's buffer, and where the outputs start; all else is NaN. */
  columns?: number;
  column?: number;
  scale?: number;
  /** Of slot "lora". */
  variant?: string;
}

async function runAll(on: Gpu, size: Size, data: Data, options: RunOptions = {}) {
  const { rows, inputs, rank, segmentEnds, dropout: probability } = size;
  const [segments, outputs] = [segmentEnds.length, segmentEnds.at(-1)!];
  const { dtype = "f32", chunks = [rows], columns = outputs, column = 0, scale = 1 } = options;
  on.choices = options.variant === undefined ? {} : { [LORA_SLOT]: options.variant };
  const upload = (label: string, shape: readonly number[], values: Float32Array) => {
    const tensor = on.allocate(label, dtype, shape);
    const padded = new Float32Array(Math.ceil(values.length / 2) * 2);
    padded.set(values);
    write(on, tensor, dtype === "f16" ? encodeF16(padded) : values.slice());
    return tensor;
  };
  const wide = new Float32Array(rows * columns).fill(Number.NaN);
  data.dy.forEach((value, i) => {
    wide[Math.floor(i / outputs) * columns + column + (i % outputs)] = value;
  });
  const x = upload("x", [rows, inputs], data.x);
  const dy = upload("dy", [rows, columns], wide);
  const a = uploadF32(on, "a", [segments * rank, inputs], data.a);
  const b = uploadF32(on, "b", [outputs, rank], data.b);
  const h = poisoned(on, "h", [rows, segments * rank]);
  const dh = poisoned(on, "dh", [rows, segments * rank]);
  const da = poisoned(on, "da", [segments * rank, inputs]);
  const db = poisoned(on, "db", [outputs, rank]);
  write(on, da.tensor, data.heldA.slice());
  write(on, db.tensor, data.heldB.slice());
  const scales = SCALES.slice(0, segments);
  const dropout = probability > 0 ? { probability, moduleId: MODULE } : undefined;
  await runOnce(
    on,
    (recorder) => {
      let first = 0;
      for (const count of chunks) {
        const at = { rows: count, xRow: first, rank };
        const place = { ...at, dy, dyRow: first, dyColumn: column, segmentEnds };
        loraDown(recorder, { ...at, x, a, h: h.tensor, scales, dropout });
        loraUpBackward(recorder, { ...place, b, dh: dh.tensor, scales });
        const made = { h: h.tensor, dh: dh.tensor, da: da.tensor, db: db.tensor };
        loraGradients(recorder, { ...place, x, ...made, dropout });
        first += count;
      }
    },
    { ...STEP, adapterScale: scale },
  );
  return { h: await h.read(), dh: await dh.read(), da: await da.read(), db: await db.read() };
}

/** The reference knows one segment; what it says of each is put where the kernels put it. */
function referenceOf({ rows, inputs, rank, segmentEnds, dropout: probability }: Size, data: Data) {
  const segments = segmentEnds.length;
  const outputs = segmentEnds.at(-1)!;
  const h = new Float64Array(rows * segments * rank);
  const dh = new Float64Array(rows * segments * rank);
  const da = Float64Array.from(data.heldA);
  const db = Float64Array.from(data.heldB);
  segmentEnds.forEach((end, s) => {
    const start = segmentEnds[s - 1] ?? 0;
    const shape = { tokens: rows, inputs, outputs: end - start, rank };
    const a = data.a.subarray(s * rank * inputs, (s + 1) * rank * inputs);
    const b = data.b.subarray(start * rank, end * rank);
    const dy = data.dy.filter((_, i) => i % outputs >= start && i % outputs < end);
    const kept = keptMask({ ...STEP, moduleId: MODULE + s }, rows * inputs, probability);
    const dropout = { kept, probability };
    downReference(data.x, a, dropout, shape).forEach((value, i) => {
      h[(Math.floor(i / rank) * segments + s) * rank + (i % rank)] = SCALES[s]! * value;
    });
    for (let t = 0; t < rows; t++) {
      for (let j = 0; j < rank; j++) {
        for (let n = 0; n < end - start; n++) {
          const term = SCALES[s]! * dy[t * (end - start) + n]! * b[n * rank + j]!;
          dh[(t * segments + s) * rank + j]! += term;
        }
      }
    }
    const { dA, dB } = loraBackward(data.x, a, b, dy, SCALES[s]!, dropout, shape);
    dA.forEach((value, i) => (da[s * rank * inputs + i]! += value));
    dB.forEach((value, i) => (db[start * rank + i]! += value));
  });
  return { h, dh, da, db };
}

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
