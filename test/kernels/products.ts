// Products with a frozen weight in every form they come in, judged by the reference: what each family of
// kernels is asked.
import { expect } from "vitest";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/formats/float.ts";
import type { Choices } from "../../src/gpu/choices.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import type { Recorder } from "../../src/gpu/program.ts";
import { write } from "../../src/gpu/tensor.ts";
import type { AttentionLayout } from "../../src/kernels/attention-layout.ts";
import { matmulBackward, matmulForward } from "../../src/kernels/matmul.ts";
import type { Nf4Weight, PlainWeight } from "../../src/kernels/weight.ts";
import { ropeTable } from "../../src/kernels/rope.ts";
import {
  type ActivationType,
  type GuardedTensor,
  guarded,
  largestDifference,
  poisoned,
  randomF32,
  roundTo,
  runOnce,
  uploadActivation,
  uploadF32,
  uploadU32,
} from "../gpu.ts";
import { keptMask } from "../reference/dropout-mask.ts";
import { matmulNn, matmulNt } from "../reference/matmul.ts";
import { dequantize } from "../reference/nf4.ts";
import * as rope from "../reference/rope.ts";

export interface ProductCase {
  readonly rows: number;
  readonly outputs: number;
  readonly inputs: number;
  /** In the type of activations, if not given. */
  readonly storage?: "packed-f16" | "packed-bf16" | "nf4";
  /** The adapter, if there is one. */
  readonly rank?: number;
  /** Of the adapter; all outputs are one, if not given. */
  readonly segmentEnds?: readonly number[];
  readonly bias?: boolean;
  readonly addend?: "held" | "residual";
  /** Rows before and columns around the piece of x, y, dx and dy; none, if not given. */
  readonly offset?: number;
  /** Queries and keys to be turned; the outputs are then all of qkv. */
  readonly heads?: Heads;
  /** dy is f32 whatever the activations are, as the gradient of the residual stream is. */
  readonly hasWideGradient?: boolean;
  /** Not backward: every pass and combination is one more shader to compile. */
  readonly isForwardOnly?: boolean;
  /** Backward alone, in so many slices of the inner dimension. */
  readonly slices?: number;
}

export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly rotary: number;
  readonly isGrouped?: boolean;
}

const STEP = { seed: 77, step: 3, micro: 2, position: 4 };
const DROPOUT = { probability: 0.25, moduleId: 40 };

/** Runs all cases, forward and backward, in `variant` twice: right both times, and the same bits. */
export async function expectProducts(
  gpu: Gpu,
  act: ActivationType,
  cases: readonly ProductCase[],
  variant: string | undefined,
): Promise<void> {
  const choices: Choices = variant
    ? { [`matmul.${act}.forward`]: variant, [`matmul.${act}.backward`]: variant }
    : {};
  const kept = gpu.choices;
  gpu.choices = choices;
  try {
    const prepared = cases.map((given, seed) => [
      ...(given.slices ? [] : [prepareForward(gpu, act, given, seed * 20)]),
      ...(given.heads || given.isForwardOnly
        ? []
        : [prepareBackward(gpu, act, given, seed * 20 + 10)]),
    ]);
    const checks = prepared.flat();
    const labels = new Set<string>();
    const record = (recorder: Recorder) => {
      noteLabels(recorder, labels);
      checks.forEach((check) => check.record(recorder));
    };
    await runOnce(gpu, record, STEP);
    // A variant that a device cannot run is left to another, which would be judged in its place.
    const isOfUnits = /^(matrix|emulated) /.test(variant ?? "");
    const others = [...labels].filter((label) => /^matmul(?!-(matrix|slices))/.test(label));
    expect(isOfUnits ? others : []).toEqual([]);
    const factor = act === "f32" && variant?.startsWith("matrix ") ? UNITS_FACTOR : 1;
    const results: Float32Array[] = [];
    for (const { name, result, want, tolerance } of checks) {
      const got = await result.read();
      results.push(got);
      expect(largestDifference(got, want), name).toBeLessThan(factor * tolerance);
    }
    const again = checks.filter(({ isReplayable }) => isReplayable);
    await runOnce(gpu, (recorder) => again.forEach((check) => check.record(recorder)), STEP);
    for (const [index, { name, result, isReplayable }] of checks.entries()) {
      if (isReplayable) expect(await result.read(), `${name}, again`).toEqual(results[index]);
    }
  } finally {
    gpu.choices = kept;
  }
}

/** Notes what shaders are recorded from now on. */
function noteLabels(recorder: Recorder, labels: Set<string>): void {
  const dispatch = recorder.dispatch.bind(recorder);
  recorder.dispatch = (shader, call) => {
    labels.add(shader.label);
    dispatch(shader, call);
  };
}

interface Check {
  readonly name: string;
  readonly record: (recorder: Recorder) => void;
  readonly result: GuardedTensor;
  readonly want: Float64Array;
  readonly tolerance: number;
  /** Whether a second run writes the same: not where it adds to what the first wrote. */
  readonly isReplayable: boolean;
}

/**
 * What a sum of `terms` products of numbers within ±1 may lose. In f32, see matmul.test.ts. In f16 all
 * operands of the adapter are rounded, by up to 2⁻¹¹ of 1, and so is the result, which reaches about √terms.
 */
function toleranceOf(act: ActivationType, terms: number): number {
  return (act === "f32" ? 2 ** -21 : 2 ** -9) * Math.sqrt(terms);
}

/**
 * How much more than that an adapter's own units may lose, which add in an order that nobody tells. Where it is one by
 * one, an f32 sum of hundreds is rounded a hundred times near its largest: the worst of 80,000 made on a CPU lost 2.7
 * times as much.
 */
const UNITS_FACTOR = 4;

function prepareForward(gpu: Gpu, act: ActivationType, given: ProductCase, seed: number): Check {
  const { rows, outputs, inputs, rank = 0, addend, offset = 0, heads } = given;
  const { segmentEnds = [outputs] } = given;
  const xData = roundTo(act, randomF32((rows + offset) * inputs, seed));
  const { weight, w } = weightOf(gpu, act, given, seed + 1);
  const stride = outputs + 3 * offset;
  const yRows = rows + 2 * offset;
  const held = randomF32(yRows * stride, seed + 2);
  const roundedHeld = roundTo(act, held);
  const result = addend === "held" ? guarded(gpu, "y", [yRows, stride], held, act) : undefined;
  const y = result ?? poisoned(gpu, "y", [yRows, stride], act);

  const product = matmulNt(xData.subarray(offset * inputs), w, rows, outputs, inputs);
  const side = sideOf(gpu, rows + offset, rank, segmentEnds, inputs, seed + 3);
  const biasData = randomF32(outputs, seed + 7);
  const turned = turnOf(gpu, given, yRows);
  let sums: Float64Array = product.map((value, i) => {
    const [t, n] = [Math.floor(i / outputs), i % outputs];
    const segment = segmentEnds.findIndex((end) => n < end);
    let sum = value + (given.bias ? biasData[n]! : 0);
    const low = ((t + offset) * segmentEnds.length + segment) * rank;
    for (let j = 0; j < rank; j++) sum += side.low[low + j]! * side.b[n * rank + j]!;
    return sum;
  });
  if (turned) {
    sums = rope.rope(sums, turned.positionData, turned.frequencies, turned.referenceLayout);
  }
  // Outside the piece: what was held, or the NaN that it was poisoned with.
  const piece = { stride, firstRow: offset, firstColumn: offset, rows, columns: outputs };
  const want = Float64Array.from(held, (_, at) => {
    const before = addend === "held" ? roundedHeld[at]! : 0;
    if (!isInside(piece, at)) return before;
    const [t, n] = [Math.floor(at / stride) - offset, (at % stride) - offset];
    return sums[t * outputs + n]! + (addend === "residual" ? held[at]! : before);
  });
  const operands = {
    x: uploadActivation(gpu, "x", [rows + offset, inputs], xData, act),
    weight,
    y: y.tensor,
    ...(offset && { rows, xRow: offset, yRow: offset, yColumn: offset }),
    ...(given.bias && { bias: uploadF32(gpu, "bias", [outputs], biasData) }),
    ...(addend === "held" && { accumulate: true }),
    ...(addend === "residual" && {
      residual: uploadF32(gpu, "residual", [yRows, stride], held),
    }),
    ...(rank && { lora: { h: side.lowTensor, b: side.bTensor, rank, segmentEnds } }),
    ...(turned && { rope: turned.operands }),
  };
  return {
    name: `forward ${JSON.stringify(given)}`,
    record: (recorder) => matmulForward(recorder, operands),
    result: addend === "held" ? y : onlyPiece(y, piece),
    want,
    tolerance: toleranceOf(act, inputs + rank + 2) * (heads ? 2 : 1),
    isReplayable: addend !== "held",
  };
}

interface Piece {
  readonly stride: number;
  readonly firstRow: number;
  readonly firstColumn: number;
  readonly rows: number;
  readonly columns: number;
}

function isInside({ stride, firstRow, firstColumn, rows, columns }: Piece, at: number): boolean {
  const [t, n] = [Math.floor(at / stride) - firstRow, (at % stride) - firstColumn];
  return t >= 0 && t < rows && n >= 0 && n < columns;
}

/** Reads what is still NaN around a piece as 0; a number there is a fault, and read as NaN. */
function onlyPiece(result: GuardedTensor, piece: Piece): GuardedTensor {
  return {
    tensor: result.tensor,
    async read() {
      const values = await result.read();
      return values.map((value, at) => {
        if (isInside(piece, at)) return value;
        return Number.isNaN(value) ? 0 : Number.NaN;
      });
    },
  };
}

function prepareBackward(gpu: Gpu, act: ActivationType, given: ProductCase, seed: number): Check {
  const { rows, outputs, inputs, rank = 0, offset = 0, segmentEnds = [outputs], slices } = given;
  const isAdded = given.addend !== undefined;
  const segments = segmentEnds.length;
  const stride = outputs + 3 * offset;
  const dyType = given.hasWideGradient ? "f32" : act;
  const piece = roundTo(dyType, randomF32(rows * outputs, seed));
  // All that is not the piece is NaN, and must not reach the sums.
  const count = (rows + 2 * offset) * stride;
  const dyData = new Float32Array(count + (count % 2)).fill(Number.NaN); // writes are of whole words
  piece.forEach((value, i) => {
    const [t, n] = [Math.floor(i / outputs), i % outputs];
    dyData[(t + offset) * stride + offset + n] = value;
  });
  const { weight, w } = weightOf(gpu, act, given, seed + 1);
  const held = roundTo(act, randomF32((rows + offset) * inputs, seed + 2));
  const dx = isAdded
    ? guarded(gpu, "dx", [rows + offset, inputs], held, act)
    : poisoned(gpu, "dx", [rows + offset, inputs], act);
  const side = sideOf(gpu, rows + offset, rank, segmentEnds, inputs, seed + 3);
  const product = matmulNn(piece, w, rows, inputs, outputs);
  const keepScale = 1 / (1 - DROPOUT.probability);
  for (let s = 0; s < (rank ? segments : 0); s++) {
    const moduleId = DROPOUT.moduleId + s;
    const mask = keptMask({ ...STEP, moduleId }, (rows + offset) * inputs, DROPOUT.probability);
    for (let i = 0; i < product.length; i++) {
      const at = i + offset * inputs;
      const [t, k] = [Math.floor(at / inputs), at % inputs];
      let sum = 0;
      for (let j = 0; j < rank; j++) {
        sum += side.low[(t * segments + s) * rank + j]! * side.a[(s * rank + j) * inputs + k]!;
      }
      product[i]! += mask[at]! * keepScale * sum;
    }
  }
  const want = Float64Array.from(held, (value, at) => {
    const i = at - offset * inputs;
    if (i < 0) return isAdded ? value : 0;
    return product[i]! + (isAdded ? value : 0);
  });
  const operands = {
    dy: uploadActivation(gpu, "dy", [rows + 2 * offset, stride], dyData, dyType),
    weight,
    dx: dx.tensor,
    ...(offset && { rows, dyRow: offset, dyColumn: offset, dxRow: offset }),
    ...(isAdded && { accumulate: true }),
    ...(rank && {
      lora: { dh: side.lowTensor, a: side.aTensor, rank, segments, dropout: DROPOUT },
    }),
    ...(slices && { slices }),
  };
  const whole = { stride: inputs, firstRow: offset, firstColumn: 0, rows, columns: inputs };
  return {
    name: `backward ${JSON.stringify(given)}`,
    record: (recorder) => matmulBackward(recorder, operands),
    result: isAdded ? dx : onlyPiece(dx, whole),
    want,
    tolerance: toleranceOf(act, outputs + 2 * rank * segments),
    isReplayable: !isAdded,
  };
}

/** A weight, and the numbers that the kernels are to see in it. */
function weightOf(
  gpu: Gpu,
  act: ActivationType,
  { outputs, inputs, storage }: ProductCase,
  seed: number,
): { weight: PlainWeight | Nf4Weight; w: Float32Array | Float64Array } {
  const shape = [outputs, inputs] as const;
  const count = outputs * inputs;
  if (storage === "nf4") return nf4Of(gpu, shape, seed);
  const data = randomF32(count, seed);
  if (!storage) {
    const tensor = uploadActivation(gpu, "weight", shape, data, act);
    return { weight: { tensor, shape, kind: "native" }, w: roundTo(act, data) };
  }
  const isBf16 = storage === "packed-bf16";
  // Numbers that an f16 holds too: where products are made in f16, nothing else is lost.
  const halves = isBf16 ? encodeBf16(data) : encodeF16(data);
  const words = new Uint32Array(halves.buffer, 0, Math.ceil(halves.length / 2));
  const tensor = uploadU32(gpu, "weight", [outputs, inputs / 2], words);
  const w = isBf16 ? decodeBf16(halves) : decodeF16(halves);
  return { weight: { tensor, shape, kind: storage }, w };
}

function nf4Of(gpu: Gpu, shape: readonly [number, number], seed: number) {
  const count = shape[0] * shape[1];
  const words = Math.ceil(count / 8);
  const bytes = Uint8Array.from(randomF32(words * 4, seed), (v) => (v + 1) * 128);
  const absmax = randomF32(Math.ceil(count / 64), seed + 1).map(Math.abs);
  const codes = gpu.allocate("codes", "u32", [words]);
  write(gpu, codes, bytes);
  const scales = uploadF32(gpu, "absmax", [absmax.length], absmax);
  return { weight: { codes, absmax: scales, shape }, w: dequantize(bytes, absmax, count) };
}

/** Random h (or dh), A and B. */
function sideOf(
  gpu: Gpu,
  rows: number,
  rank: number,
  segmentEnds: readonly number[],
  inputs: number,
  seed: number,
) {
  const segments = segmentEnds.length;
  const outputs = segmentEnds.at(-1)!;
  const low = randomF32(rows * segments * rank, seed);
  const a = randomF32(segments * rank * inputs, seed + 1);
  const b = randomF32(outputs * rank, seed + 2);
  return {
    low,
    a,
    b,
    lowTensor: uploadF32(gpu, "low", [rows, segments * rank], low),
    aTensor: uploadF32(gpu, "a", [segments * rank, inputs], a),
    bTensor: uploadF32(gpu, "b", [outputs, rank], b),
  };
}

const POSITIONS = 60;

function turnOf(gpu: Gpu, { heads: given }: ProductCase, tokens: number) {
  if (!given) return undefined;
  const { heads, kvHeads, headSize, rotary, isGrouped = false } = given;
  const group = heads / kvHeads;
  const stride = (heads + 2 * kvHeads) * headSize;
  const groupStride = (group + 2) * headSize;
  const shared = { heads, kvHeads, headSize, stride };
  const layout: AttentionLayout = isGrouped
    ? {
        ...shared,
        qGroupStride: groupStride,
        kBase: group * headSize,
        vBase: (group + 1) * headSize,
        kStride: groupStride,
      }
    : {
        ...shared,
        qGroupStride: group * headSize,
        kBase: heads * headSize,
        vBase: (heads + kvHeads) * headSize,
        kStride: headSize,
      };
  const headColumns = [
    ...Array.from(
      { length: heads },
      (_, head) => Math.floor(head / group) * layout.qGroupStride + (head % group) * headSize,
    ),
    ...Array.from({ length: kvHeads }, (_, head) => layout.kBase + head * layout.kStride),
  ];
  const frequencies = rope.inverseFrequencies(rotary, 10_000);
  const positions = Uint32Array.from({ length: tokens }, (_, i) => (i * 37) % 51);
  return {
    operands: {
      positions: uploadU32(gpu, "positions", [tokens], positions),
      table: uploadF32(gpu, "table", [POSITIONS, rotary], ropeTable(frequencies, POSITIONS)),
      layout,
      usesStepPosition: true,
    },
    positionData: positions.map((position) => position + STEP.position),
    frequencies,
    referenceLayout: { tokens, rowSize: stride, headSize, headColumns, rotary },
  };
}
