// The low-rank side path with made-up numbers: run by its kernels, and by the reference.
import { expect } from "vitest";
import { encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { write } from "../../src/gpu/tensor.ts";
import { LORA_SLOT, loraDown, loraGradients, loraUpBackward } from "../../src/kernels/lora.ts";
import { largestDifference, poisoned, randomF32, runOnce, uploadF32 } from "../gpu.ts";
import { keptMask } from "../reference/dropout-mask.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import {
  lora as loraReference,
  loraBackward,
  loraDown as downReference,
} from "../reference/lora.ts";

export interface Size {
  rows: number;
  inputs: number;
  rank: number;
  segmentEnds: readonly number[];
  /** 0 is none. */
  dropout: number;
}

export const STEP = { seed: 123, step: 4, micro: 1 };
export const MODULE = 30;
const SCALES = [2, 0.5, 1.25, -0.75];

/** See matmul.test.ts; the scale, dropout's 1 / (1 − p) and what a gradient starts with enlarge it. */
export function tolerance(terms: number, largest: number): number {
  return 2 ** -21 * Math.sqrt(terms) * largest;
}

export type Data = ReturnType<typeof randomData>;

export function expectClose(
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

export function randomData({ rows, inputs, rank, segmentEnds }: Size) {
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

export async function runAll(on: Gpu, size: Size, data: Data, options: RunOptions = {}) {
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
export function referenceOf(
  { rows, inputs, rank, segmentEnds, dropout: probability }: Size,
  data: Data,
) {
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

/** Judges the gradients of a variant by finite differences of the reference. */
export async function expectDifferences(on: Gpu, variant: string): Promise<void> {
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
}
