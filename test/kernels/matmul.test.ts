import { describe, expect, test } from "vitest";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { read, type StoredTensor, write } from "../../src/gpu/tensor.ts";
import { matmulBackward, matmulForward } from "../../src/kernels/matmul.ts";
import type { PlainWeight } from "../../src/kernels/weight.ts";
import {
  activationTypes,
  largestDifference,
  poisoned,
  randomF32,
  runOnce,
  testGpu,
  uploadF32,
  uploadU32,
} from "../gpu.ts";
import { keptMask } from "../reference/dropout-mask.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import { lora as loraReference } from "../reference/lora.ts";
import { matmulNn, matmulNt } from "../reference/matmul.ts";
import { expectProducts, type ProductCase } from "./products.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });
// What the others are checked against, which no device takes by itself that has lanes or tiles.
baseline.choices = { "matmul.f32.forward": "direct", "matmul.f32.backward": "direct" };

// Rows, outputs, inputs. 4 × 4 is what a thread makes and 32 × 32 a workgroup: most miss both.
const SHAPES = [
  [1, 1, 4],
  [1, 5, 8],
  [2, 4, 4],
  [3, 7, 12],
  [4, 4, 64],
  [5, 3, 20],
  [1, 33, 64],
  [31, 32, 36],
  [32, 32, 32],
  [33, 31, 28],
  [7, 130, 100],
  [64, 16, 256],
  [65, 65, 4],
  [17, 48, 132],
  [1, 256, 192],
  [100, 3, 8],
  [36, 36, 36],
  [9, 97, 512],
  [2, 6, 1000],
  [63, 34, 44],
  [13, 1, 2048],
] as const;

/**
 * What an f32 sum of `terms` products of numbers within ±1 may lose: the sum reaches about √terms, and
 * every addition rounds it by up to 2⁻²⁴, up and down alike. The factor 8 is for the worst of thousands.
 */
function f32Tolerance(terms: number): number {
  return 2 ** -21 * Math.sqrt(terms);
}

function nativeWeight(on: Gpu, outputs: number, inputs: number, data: Float32Array): PlainWeight {
  const tensor = uploadF32(on, "weight", [outputs, inputs], data);
  return { tensor, shape: [outputs, inputs], kind: "native" };
}

describe.each([
  { name: "this adapter", on: gpu },
  { name: "a device with nothing but the defaults", on: baseline },
])("on $name", ({ on }) => {
  test.each(SHAPES)("the reference agrees: %i rows, %i outputs, %i inputs", async (...size) => {
    const [rows, outputs, inputs] = size;
    const x = randomF32(rows * inputs, 1);
    const w = randomF32(outputs * inputs, 2);
    const dy = randomF32(rows * outputs, 3);
    const weight = nativeWeight(on, outputs, inputs, w);
    const y = poisoned(on, "y", [rows, outputs]);
    const dx = poisoned(on, "dx", [rows, inputs]);
    await runOnce(on, (recorder) => {
      matmulForward(recorder, { x: uploadF32(on, "x", [rows, inputs], x), weight, y: y.tensor });
      const dyTensor = uploadF32(on, "dy", [rows, outputs], dy);
      matmulBackward(recorder, { dy: dyTensor, weight, dx: dx.tensor });
    });
    const wantY = matmulNt(x, w, rows, outputs, inputs);
    const wantDx = matmulNn(dy, w, rows, inputs, outputs);
    expect(largestDifference(await y.read(), wantY)).toBeLessThan(f32Tolerance(inputs));
    expect(largestDifference(await dx.read(), wantDx)).toBeLessThan(f32Tolerance(outputs));
  });
});

test.each([
  { kind: "packed-f16", encode: encodeF16, decode: decodeF16 },
  { kind: "packed-bf16", encode: encodeBf16, decode: decodeBf16 },
] as const)("a $kind weight is read as the numbers it packs", async ({ kind, encode, decode }) => {
  for (const [rows, outputs, inputs] of [
    [5, 7, 12],
    [33, 35, 64],
  ] as const) {
    const halves = encode(randomF32(outputs * inputs, 4));
    const w = decode(halves);
    const words = new Uint32Array(halves.buffer, 0, halves.length / 2);
    const tensor = uploadU32(gpu, "weight", [outputs, inputs / 2], words);
    const weight: PlainWeight = { tensor, shape: [outputs, inputs], kind };
    const [x, dy] = [randomF32(rows * inputs, 5), randomF32(rows * outputs, 6)];
    const y = poisoned(gpu, "y", [rows, outputs]);
    const dx = poisoned(gpu, "dx", [rows, inputs]);
    await runOnce(gpu, (recorder) => {
      matmulForward(recorder, { x: uploadF32(gpu, "x", [rows, inputs], x), weight, y: y.tensor });
      const dyTensor = uploadF32(gpu, "dy", [rows, outputs], dy);
      matmulBackward(recorder, { dy: dyTensor, weight, dx: dx.tensor });
    });
    const wantY = matmulNt(x, w, rows, outputs, inputs);
    const wantDx = matmulNn(dy, w, rows, inputs, outputs);
    expect(largestDifference(await y.read(), wantY)).toBeLessThan(f32Tolerance(inputs));
    expect(largestDifference(await dx.read(), wantDx)).toBeLessThan(f32Tolerance(outputs));
  }
});

test.runIf(process.env["HONE_ADAPTER"] === "llvmpipe")(
  "llvmpipe computes in f16, so that the cases in f16 run there",
  () => expect(gpu.hasF16).toBe(true),
);

test.runIf(gpu.hasF16)("f16 activations and weights cost no more than their rounding", async () => {
  for (const [rows, outputs, inputs] of [
    [3, 5, 16],
    [34, 33, 68],
    [1, 64, 256],
  ] as const) {
    const [x, w, dy] = [rows * inputs, outputs * inputs, rows * outputs].map((count, i) =>
      encodeF16(randomF32(count, 7 + i)),
    ) as [Uint16Array, Uint16Array, Uint16Array];
    const tensor = uploadF16("weight", [outputs, inputs], w);
    const weight: PlainWeight = { tensor, shape: [outputs, inputs], kind: "native" };
    const y = uploadF16("y", [rows, outputs], new Uint16Array(rows * outputs).fill(0x7e00));
    const dx = uploadF16("dx", [rows, inputs], new Uint16Array(rows * inputs).fill(0x7e00));
    await runOnce(gpu, (recorder) => {
      matmulForward(recorder, { x: uploadF16("x", [rows, inputs], x), weight, y });
      matmulBackward(recorder, { dy: uploadF16("dy", [rows, outputs], dy), weight, dx });
    });
    const wantY = matmulNt(decodeF16(x), decodeF16(w), rows, outputs, inputs);
    const wantDx = matmulNn(decodeF16(dy), decodeF16(w), rows, inputs, outputs);
    // The operands are exact, the sums f32: what is left is rounding a result of size √terms to f16.
    const gotY = decodeF16(new Uint16Array(await read(gpu, y), 0, rows * outputs));
    const gotDx = decodeF16(new Uint16Array(await read(gpu, dx), 0, rows * inputs));
    expect(largestDifference(gotY, wantY)).toBeLessThan(2 ** -10 * Math.sqrt(inputs));
    expect(largestDifference(gotDx, wantDx)).toBeLessThan(2 ** -10 * Math.sqrt(outputs));
  }
});

test("a piece of a larger y is written, and only that piece", async () => {
  const [rows, outputs, inputs] = [5, 6, 8];
  const [x, w] = [randomF32(9 * inputs, 10), randomF32(outputs * inputs, 11)];
  const y = poisoned(gpu, "y", [8, 13]);
  await runOnce(gpu, (recorder) => {
    matmulForward(recorder, {
      x: uploadF32(gpu, "x", [9, inputs], x),
      weight: nativeWeight(gpu, outputs, inputs, w),
      y: y.tensor,
      rows,
      xRow: 3,
      yRow: 2,
      yColumn: 5,
    });
  });
  const piece = matmulNt(x.subarray(3 * inputs), w, rows, outputs, inputs);
  const got = await y.read();
  const inside = Float32Array.from(piece, (_, i) => {
    const [t, n] = [Math.floor(i / outputs), i % outputs];
    return got[(2 + t) * 13 + 5 + n]!;
  });
  expect(largestDifference(inside, piece)).toBeLessThan(f32Tolerance(inputs));
  expect(got.filter((value) => !Number.isNaN(value))).toHaveLength(rows * outputs);
});

test.each([
  { stride: 16, column: 8, outputs: 8 }, // aligned
  { stride: 16, column: 4, outputs: 7 }, // the last vector is part of the next columns
  { stride: 13, column: 5, outputs: 6 }, // every row starts elsewhere in a vector
  { stride: 7, column: 0, outputs: 7 }, // the last row ends with the buffer
])("backward reads a piece of a larger dy: $outputs of $stride from $column", async (size) => {
  const { stride, column, outputs } = size;
  const [rows, inputs] = [6, 12];
  // All that is not the piece is NaN, and must not reach the sums.
  const piece = randomF32(rows * outputs, 12);
  const dy = new Float32Array(8 * stride).fill(Number.NaN);
  for (let i = 0; i < piece.length; i++) {
    dy[(1 + Math.floor(i / outputs)) * stride + column + (i % outputs)] = piece[i]!;
  }
  const w = randomF32(outputs * inputs, 13);
  const held = randomF32(9 * inputs, 14);
  const dx = poisoned(gpu, "dx", [9, inputs]);
  write(gpu, dx.tensor, held);
  await runOnce(gpu, (recorder) => {
    const weight = nativeWeight(gpu, outputs, inputs, w);
    const dyTensor = uploadF32(gpu, "dy", [8, stride], dy);
    const place = { rows, dyRow: 1, dyColumn: column, dxRow: 2 };
    matmulBackward(recorder, { dy: dyTensor, weight, dx: dx.tensor, ...place });
    matmulBackward(recorder, { dy: dyTensor, weight, dx: dx.tensor, ...place, accumulate: true });
  });
  const once = matmulNn(piece, w, rows, inputs, outputs);
  const want = Float64Array.from(held);
  once.forEach((value, i) => (want[2 * inputs + i] = 2 * value));
  expect(largestDifference(await dx.read(), want)).toBeLessThan(4 * f32Tolerance(outputs));
});

test("forward adds to what y holds, or to a residual", async () => {
  const [rows, outputs, inputs] = [5, 7, 12];
  const [x, w] = [randomF32(rows * inputs, 15), randomF32(outputs * inputs, 16)];
  const held = randomF32(rows * outputs, 17);
  const residual = uploadF32(gpu, "residual", [rows, outputs], held);
  const added = poisoned(gpu, "added", [rows, outputs]);
  const beside = poisoned(gpu, "beside", [rows, outputs]);
  write(gpu, added.tensor, held);
  await runOnce(gpu, (recorder) => {
    const input = uploadF32(gpu, "x", [rows, inputs], x);
    const weight = nativeWeight(gpu, outputs, inputs, w);
    matmulForward(recorder, { x: input, weight, y: added.tensor, accumulate: true });
    matmulForward(recorder, { x: input, weight, y: beside.tensor, residual });
  });
  const want = matmulNt(x, w, rows, outputs, inputs).map((value, i) => value + held[i]!);
  expect(largestDifference(await added.read(), want)).toBeLessThan(f32Tolerance(inputs));
  expect(await beside.read()).toEqual(await added.read());
});

test.each([
  [1, 1, 4],
  [5, 7, 12],
  [3, 8, 12], // four outputs at once
  [33, 35, 64],
] as const)("a bias is added to every row, once: %i × %i, %i inputs", async (...size) => {
  const [rows, outputs, inputs] = size;
  const [x, w] = [randomF32(rows * inputs, 40), randomF32(outputs * inputs, 41)];
  const [bias, held] = [randomF32(outputs, 42), randomF32(rows * outputs, 43)];
  const rank = 8;
  const { h, b, up } = adapterOf(rows, inputs, rank, [outputs]);
  const [alone, beside, added] = [0, 1, 2].map(() => poisoned(gpu, "y", [rows, outputs]));
  write(gpu, added!.tensor, held);
  await runOnce(gpu, (recorder) => {
    const shared = {
      x: uploadF32(gpu, "x", [rows, inputs], x),
      weight: nativeWeight(gpu, outputs, inputs, w),
      bias: uploadF32(gpu, "bias", [outputs], bias),
    };
    const residual = uploadF32(gpu, "residual", [rows, outputs], held);
    matmulForward(recorder, { ...shared, y: alone!.tensor });
    matmulForward(recorder, { ...shared, y: beside!.tensor, residual, lora: up });
    matmulForward(recorder, { ...shared, y: added!.tensor, accumulate: true, lora: up });
  });
  const want = matmulNt(x, w, rows, outputs, inputs).map((value, i) => value + bias[i % outputs]!);
  const branch = matmulNt(h, b, rows, outputs, rank);
  const wantAll = want.map((value, i) => value + branch[i]! + held[i]!);
  expect(largestDifference(await alone!.read(), want)).toBeLessThan(f32Tolerance(inputs + 1));
  const tolerance = f32Tolerance(inputs + rank + 2);
  expect(largestDifference(await beside!.read(), wantAll)).toBeLessThan(tolerance);
  expect(await added!.read()).toEqual(await beside!.read());
});

test("a piece of a larger y takes a bias of its own outputs", async () => {
  const [rows, outputs, inputs] = [3, 6, 8];
  const [x, w, bias] = [8, 9, 10].map((seed, i) =>
    randomF32([rows * inputs, outputs * inputs, outputs][i]!, seed),
  ) as [Float32Array, Float32Array, Float32Array];
  const y = poisoned(gpu, "y", [4, 13]);
  await runOnce(gpu, (recorder) => {
    matmulForward(recorder, {
      x: uploadF32(gpu, "x", [rows, inputs], x),
      weight: nativeWeight(gpu, outputs, inputs, w),
      y: y.tensor,
      yRow: 1,
      yColumn: 5,
      bias: uploadF32(gpu, "bias", [outputs], bias),
    });
  });
  const got = (await y.read()).filter((value) => !Number.isNaN(value));
  const want = matmulNt(x, w, rows, outputs, inputs).map((value, i) => value + bias[i % outputs]!);
  expect(largestDifference(got, want)).toBeLessThan(f32Tolerance(inputs + 1));
});

// Rows, inputs, rank, and where the segments end.
const ADAPTED = [
  { rows: 1, inputs: 4, rank: 4, segmentEnds: [3] },
  { rows: 6, inputs: 20, rank: 8, segmentEnds: [37] },
  { rows: 33, inputs: 36, rank: 12, segmentEnds: [8, 12, 21] },
  { rows: 5, inputs: 64, rank: 16, segmentEnds: [32, 36, 40, 72] },
  { rows: 18, inputs: 8, rank: 64, segmentEnds: [4, 8] },
];
const PLACE = { seed: 77, step: 3, micro: 2 };

test.each(ADAPTED)(
  "the adapter is added to each segment: $segmentEnds of rank $rank",
  async ({ rows, inputs, rank, segmentEnds }) => {
    const { outputs, h, dh, a, b, up, down } = adapterOf(rows, inputs, rank, segmentEnds);
    const segments = segmentEnds.length;
    const [x, w] = [randomF32(rows * inputs, 20), randomF32(outputs * inputs, 21)];
    const dy = randomF32(rows * outputs, 22);
    const dropout = { probability: 0.25, moduleId: 40 };
    const y = poisoned(gpu, "y", [rows, outputs]);
    const dx = poisoned(gpu, "dx", [rows, inputs]);
    const dropped = poisoned(gpu, "dropped", [rows, inputs]);
    await runOnce(
      gpu,
      (recorder) => {
        const weight = nativeWeight(gpu, outputs, inputs, w);
        const dyTensor = uploadF32(gpu, "dy", [rows, outputs], dy);
        const lora = { ...down, dropout };
        const input = uploadF32(gpu, "x", [rows, inputs], x);
        matmulForward(recorder, { x: input, weight, y: y.tensor, lora: up });
        matmulBackward(recorder, { dy: dyTensor, weight, dx: dx.tensor, lora: down });
        matmulBackward(recorder, { dy: dyTensor, weight, dx: dropped.tensor, lora });
      },
      PLACE,
    );

    const wantY = matmulNt(x, w, rows, outputs, inputs);
    const wantDx = matmulNn(dy, w, rows, inputs, outputs);
    const wantDropped = wantDx.slice();
    for (let s = 0; s < segments; s++) {
      const mask = keptMask({ ...PLACE, moduleId: 40 + s }, rows * inputs, 0.25);
      for (let t = 0; t < rows; t++) {
        for (let j = 0; j < rank; j++) {
          const at = (t * segments + s) * rank + j;
          for (let n = segmentEnds[s - 1] ?? 0; n < segmentEnds[s]!; n++) {
            wantY[t * outputs + n]! += h[at]! * b[n * rank + j]!;
          }
          for (let k = 0; k < inputs; k++) {
            const term = dh[at]! * a[(s * rank + j) * inputs + k]!;
            wantDx[t * inputs + k]! += term;
            wantDropped[t * inputs + k]! += (mask[t * inputs + k]! * term) / 0.75;
          }
        }
      }
    }
    expect(largestDifference(await y.read(), wantY)).toBeLessThan(f32Tolerance(inputs + rank));
    const terms = outputs + 2 * segments * rank; // what dropout keeps counts 4/3, squared nearly 2
    expect(largestDifference(await dx.read(), wantDx)).toBeLessThan(f32Tolerance(terms));
    expect(largestDifference(await dropped.read(), wantDropped)).toBeLessThan(f32Tolerance(terms));
  },
);

test("backward with adapter and dropout is the gradient that finite differences find", async () => {
  const [rows, inputs, outputs, rank, scale] = [3, 8, 6, 4, 1.5];
  const { a, b, down } = adapterOf(rows, inputs, rank, [outputs]);
  const [x, w] = [randomF32(rows * inputs, 23), randomF32(outputs * inputs, 24)];
  const dy = randomF32(rows * outputs, 25);
  const kept = keptMask({ ...PLACE, moduleId: 5 }, rows * inputs, 0.5);
  const dropout = { kept, probability: 0.5 };
  const want = differenceGradient((at) => {
    const branch = loraReference(at, a, b, scale, dropout, { tokens: rows, inputs, outputs, rank });
    return dot(matmulNt(at, w, rows, outputs, inputs), dy) + dot(branch, dy);
  }, Float64Array.from(x));

  const dh = matmulNn(dy, b, rows, rank, outputs).map((value) => value * scale);
  const dx = poisoned(gpu, "dx", [rows, inputs]);
  await runOnce(
    gpu,
    (recorder) => {
      matmulBackward(recorder, {
        dy: uploadF32(gpu, "dy", [rows, outputs], dy),
        weight: nativeWeight(gpu, outputs, inputs, w),
        dx: dx.tensor,
        lora: {
          ...down,
          dh: uploadF32(gpu, "dh", [rows, rank], dh),
          dropout: { probability: 0.5, moduleId: 5 },
        },
      });
    },
    PLACE,
  );
  // dh, up to about 6, is rounded to f32 before it is multiplied.
  expect(largestDifference(await dx.read(), want)).toBeLessThan(1e-5);
});

test("h and dropout follow the rows of x when a product is made in chunks", async () => {
  const [rows, inputs, outputs, rank] = [11, 12, 9, 4];
  const { up, down } = adapterOf(rows, inputs, rank, [outputs]);
  const [x, w] = [randomF32(rows * inputs, 26), randomF32(outputs * inputs, 27)];
  const dy = randomF32(rows * outputs, 28);
  const [y, chunkedY] = [0, 1].map(() => poisoned(gpu, "y", [rows, outputs]));
  const [dx, chunkedDx] = [0, 1].map(() => poisoned(gpu, "dx", [rows, inputs]));
  await runOnce(
    gpu,
    (recorder) => {
      const weight = nativeWeight(gpu, outputs, inputs, w);
      const input = uploadF32(gpu, "x", [rows, inputs], x);
      const dyTensor = uploadF32(gpu, "dy", [rows, outputs], dy);
      const lora = { ...down, dropout: { probability: 0.5, moduleId: 9 } };
      matmulForward(recorder, { x: input, weight, y: y!.tensor, lora: up });
      matmulBackward(recorder, { dy: dyTensor, weight, dx: dx!.tensor, lora });
      for (const { first, count } of [
        { first: 0, count: 6 },
        { first: 6, count: 5 },
      ]) {
        const place = { rows: count, xRow: first, yRow: first };
        matmulForward(recorder, { x: input, weight, y: chunkedY!.tensor, ...place, lora: up });
        const back = { rows: count, dyRow: first, dxRow: first };
        matmulBackward(recorder, { dy: dyTensor, weight, dx: chunkedDx!.tensor, ...back, lora });
      }
    },
    PLACE,
  );
  expect(await chunkedY!.read()).toEqual(await y!.read());
  expect(await chunkedDx!.read()).toEqual(await dx!.read());
});

describe.each(activationTypes(gpu))("in %s", (act) => {
  test("queries and keys are turned where y is stored", async () => {
    const shared = { rows: 5, inputs: 20 };
    const split = { heads: 4, kvHeads: 2, headSize: 12, rotary: 12 };
    const part = { heads: 2, kvHeads: 2, headSize: 16, rotary: 8, isGrouped: true };
    // An odd number of pairs: one of each four outputs would be another thread's.
    const odd = { heads: 2, kvHeads: 1, headSize: 12, rotary: 10 };
    const cases: ProductCase[] = [
      { ...shared, outputs: 96, heads: split },
      { ...shared, outputs: 96, heads: { ...split, isGrouped: true }, bias: true },
      { ...shared, outputs: 96, heads: part, rank: 4, segmentEnds: [96] },
      { ...shared, outputs: 96, heads: split, rank: 4, segmentEnds: [48, 72, 96] },
      { ...shared, outputs: 48, heads: odd },
      { ...shared, outputs: 48, heads: { ...odd, rotary: 12 }, storage: "nf4" },
    ];
    await expectProducts(gpu, act, cases, undefined);
  });

  test("an NF4 weight is read as the numbers it stands for", async () => {
    const cases: ProductCase[] = [
      { rows: 1, outputs: 6, inputs: 4 },
      { rows: 6, outputs: 33, inputs: 132 }, // rows that begin inside a word and a block
      { rows: 34, outputs: 40, inputs: 64, rank: 8, segmentEnds: [4, 12, 40], bias: true },
      { rows: 5, outputs: 9, inputs: 20, offset: 1, addend: "residual" },
    ];
    const nf4 = cases.map((given) => ({ ...given, storage: "nf4" as const }));
    await expectProducts(gpu, act, nf4, undefined);
  });
});

test("a second run gives the same bits", async () => {
  const [rows, outputs, inputs] = [37, 41, 300];
  const x = uploadF32(gpu, "x", [rows, inputs], randomF32(rows * inputs, 29));
  const weight = nativeWeight(gpu, outputs, inputs, randomF32(outputs * inputs, 30));
  const [first, second] = [0, 1].map(() => poisoned(gpu, "y", [rows, outputs]));
  for (const y of [first!, second!]) {
    await runOnce(gpu, (recorder) => matmulForward(recorder, { x, weight, y: y.tensor }));
  }
  expect(await second!.read()).toEqual(await first!.read());
});

test("shapes that do not fit are refused by name", async () => {
  const weight = nativeWeight(gpu, 6, 8, randomF32(48, 31));
  const [x, y] = [gpu.allocate("tokens", "f32", [3, 12]), gpu.allocate("logits", "f32", [3, 6])];
  const bias = gpu.allocate("q.bias", "f32", [4]);
  const record = (call: () => void) => runOnce(gpu, call);
  await expect(record(() => matmulForward(undefined as never, { x, weight, y }))).rejects.toThrow(
    "tokens is 3 × 12, needs 3 × 8",
  );
  const fitting = { x: gpu.allocate("x", "f32", [3, 8]), weight, y };
  await expect(
    record(() => matmulForward(undefined as never, { ...fitting, bias })),
  ).rejects.toThrow("matmul: q.bias is f32 [1, 4], but logits asks for f32 [1, 6]");
  await expect(
    record(() => matmulBackward(undefined as never, { dy: x, weight, dx: y })),
  ).rejects.toThrow("logits is 3 × 6, needs 3 × 8");
});

/** Random A, B, h and dh, and what the two passes are given of them. */
function adapterOf(rows: number, inputs: number, rank: number, segmentEnds: number[]) {
  const segments = segmentEnds.length;
  const outputs = segmentEnds.at(-1)!;
  const a = randomF32(segments * rank * inputs, 32);
  const b = randomF32(outputs * rank, 33);
  const h = randomF32(rows * segments * rank, 34);
  const dh = randomF32(rows * segments * rank, 35);
  const up = {
    h: uploadF32(gpu, "h", [rows, segments * rank], h),
    b: uploadF32(gpu, "b", [outputs, rank], b),
    rank,
    segmentEnds,
  };
  const down = {
    dh: uploadF32(gpu, "dh", [rows, segments * rank], dh),
    a: uploadF32(gpu, "a", [segments * rank, inputs], a),
    rank,
    segments,
  };
  return { outputs, a, b, h, dh, up, down };
}

function uploadF16(label: string, shape: readonly number[], halves: Uint16Array): StoredTensor {
  const tensor = gpu.allocate(label, "f16", shape);
  // Writes are of whole words; the tensor's end is rounded up.
  const padded = new Uint16Array(Math.ceil(halves.length / 2) * 2);
  padded.set(halves);
  write(gpu, tensor, padded);
  return tensor;
}
