// Shapes that attention is tested on, with their operands and what the reference makes of them.
import { expect } from "vitest";
import type { Choices } from "../../src/gpu/choices.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { attentionBackward } from "../../src/kernels/attention-backward.ts";
import type { AttentionLayout, AttentionView } from "../../src/kernels/attention-layout.ts";
import { attentionForward } from "../../src/kernels/attention.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { ropeTable } from "../../src/kernels/rope.ts";
import {
  type ActivationType,
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
import * as reference from "../reference/attention.ts";
import { inverseFrequencies, ropeBackward } from "../reference/rope.ts";

export interface Case {
  tokens: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  /** First tokens of documents. */
  starts: number[];
  arrange?: Arrange;
  window?: number;
  scale?: number;
  /** Dimensions of a head that rotary positions turned. */
  rotary?: number;
}

export type Arrange = (
  heads: number,
  kvHeads: number,
  headSize: number,
) => Omit<AttentionLayout, Given>;
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
export const interleaved: Arrange = (heads, kvHeads, headSize) => {
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
export const cases: Case[] = [
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
export const windowed: Case[] = [
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

// Whole heads and parts of them, in one slice of a head and across two, a half that is no number of slots (40, 16)
// and one that no vector of four ends at (10), which a dispatch of its own turns back.
export const rotary: Case[] = [
  { tokens: 3, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 1], rotary: 16 },
  { tokens: 37, heads: 4, kvHeads: 2, headSize: 64, starts: [0, 11], rotary: 64 },
  { tokens: 35, heads: 2, kvHeads: 1, headSize: 80, starts: [0], rotary: 80, arrange: interleaved },
  { tokens: 33, heads: 2, kvHeads: 2, headSize: 80, starts: [0, 3], rotary: 32 },
  { tokens: 34, heads: 2, kvHeads: 1, headSize: 20, starts: [0], rotary: 20, arrange: interleaved },
  { tokens: 40, heads: 2, kvHeads: 1, headSize: 144, starts: [0, 20], rotary: 144 },
  { tokens: 36, heads: 2, kvHeads: 1, headSize: 256, starts: [0], rotary: 256, window: 9 },
  { tokens: 5, heads: 2, kvHeads: 1, headSize: 256, starts: [0], rotary: 128 },
];

/** Runs a case forward, in the variant that `choices` name, and compares all of it. */
export async function expectForward(
  gpu: Gpu,
  shape: Case,
  dtype: ActivationType,
  choices: Choices = {},
): Promise<void> {
  const prepared = prepare(shape, dtype);
  const { o, lse } = await runForward(gpu, prepared, dtype, shape, choices);
  const expected = referenceForward(prepared);
  const inF32 = f32Tolerance(shape);
  expect(largestDifference(lse, expected.lse)).toBeLessThan(inF32);
  expect(largestDifference(o, expected.o)).toBeLessThan(dtype === "f32" ? inF32 : 2 ** -10);
}

/** Runs a case backward from what the reference makes of it forward, and compares all of it. */
export async function expectBackward(
  gpu: Gpu,
  shape: Case,
  dtype: ActivationType,
  choices: Choices = {},
): Promise<void> {
  const prepared = prepare(shape, dtype);
  const dqkv = await runBackward(gpu, prepared, dtype, shape, choices);
  const gradient = referenceGradient(prepared, shape.rotary);
  const { layout } = prepared;
  // In f16 o itself is rounded, which the gradient inherits through Σ dO ∘ o.
  const inType = dtype === "f32" ? f32Tolerance(shape) : 2 ** -10 * Math.sqrt(shape.headSize);
  const untouched = columnsOfNoHead(layout);
  const mine = dqkv.map((value, i) => (untouched.has(i % layout.stride) ? 0 : value));
  expect(largestDifference(mine, gradient)).toBeLessThan(inType * largest(gradient));
  // What is not a head's column keeps its poison.
  const kept = dqkv.filter((_, i) => untouched.has(i % layout.stride));
  expect(kept.every(Number.isNaN)).toBe(true);
}

/**
 * A score is a sum of headSize products of numbers below 1, an output one of `tokens`; exp adds
 * 3 + 2 |x| units in the last place (WGSL), and scores are below 4.
 */
function f32Tolerance({ headSize, tokens }: Case): number {
  return 2 ** -22 * Math.sqrt(headSize + tokens) * 8;
}

/** o and lse, from outputs poisoned and guarded. */
export async function runForward(
  gpu: Gpu,
  { data, layout }: Pick<Prepared, "data" | "layout">,
  dtype: ActivationType,
  { window, scale }: AttentionView = {},
  choices: Choices = {},
) {
  const tokens = data.segmentStart.length;
  const { heads, headSize } = layout;
  const { qkv, segmentStart } = upload(gpu, data, layout, dtype);
  const o = poisoned(gpu, "o", [tokens, heads * headSize], dtype);
  const lse = poisoned(gpu, "lse", [2, tokens, heads]);
  await withChoices(gpu, choices, (recorder) => {
    const results = { o: o.tensor, lse: lse.tensor };
    attentionForward(recorder, { qkv, segmentStart, layout, window, scale, ...results });
  });
  const sums = await lse.read();
  return { o: await o.read(), lse: sums.slice(0, tokens * heads) };
}

/** dqkv, poisoned and guarded, from the o and lse of the reference. */
export async function runBackward(
  gpu: Gpu,
  prepared: Prepared,
  dtype: ActivationType,
  { window, scale, rotary: rotarySize }: AttentionView & Pick<Case, "rotary"> = {},
  choices: Choices = {},
): Promise<Float32Array> {
  const { data, layout } = prepared;
  const tokens = data.segmentStart.length;
  const { heads, headSize, stride } = layout;
  const expected = referenceForward(prepared);
  const { qkv, segmentStart } = upload(gpu, data, layout, dtype);
  const rows = [tokens, heads * headSize];
  const o = uploadActivation(gpu, "o", rows, Float32Array.from(expected.o), dtype);
  const dO = uploadActivation(gpu, "dO", rows, data.dO, dtype);
  const sums = new Float32Array(2 * tokens * heads).fill(Number.NaN);
  sums.set(expected.lse);
  const lse = guarded(gpu, "lse", [2, tokens, heads], sums);
  const dqkv = poisoned(gpu, "dqkv", [tokens, stride], dtype);
  await withChoices(gpu, choices, (recorder) =>
    attentionBackward(recorder, {
      qkv,
      segmentStart,
      layout,
      window,
      scale,
      o,
      dO,
      lse: lse.tensor,
      dqkv: dqkv.tensor,
      rope: rotarySize ? ropeOf(gpu, data, rotarySize) : undefined,
    }),
  );
  await lse.read(); // for its guard band
  return dqkv.read();
}

/** Compiles both passes of a case in a variant; the names of their dispatches. */
export async function compileVariant(
  gpu: Gpu,
  shape: Case,
  dtype: ActivationType,
  variant: string,
): Promise<readonly string[]> {
  const { data, layout } = prepare(shape, dtype);
  const { tokens, heads, headSize, rotary: rotarySize } = shape;
  const choices = {
    [`attention.${dtype}.forward`]: variant,
    [`attention.${dtype}.backward`]: variant,
  };
  const recorder = new Recorder(gpu, "test", new Workspace(gpu), new StepScalars(gpu), choices);
  const rows = [tokens, heads * headSize];
  const operands = {
    ...upload(gpu, data, layout, dtype),
    layout,
    o: recorder.transient("o", dtype, rows),
    lse: recorder.transient("lse", "f32", [2, tokens, heads]),
  };
  attentionForward(recorder, operands);
  attentionBackward(recorder, {
    ...operands,
    dO: recorder.transient("dO", dtype, rows),
    dqkv: recorder.transient("dqkv", dtype, [tokens, layout.stride]),
    rope: rotarySize ? ropeOf(gpu, data, rotarySize) : undefined,
  });
  return (await recorder.build()).dispatchNames;
}

async function withChoices(
  gpu: Gpu,
  choices: Choices,
  record: Parameters<typeof runOnce>[1],
): Promise<void> {
  const before = gpu.choices;
  gpu.choices = choices;
  try {
    await runOnce(gpu, record);
  } finally {
    gpu.choices = before;
  }
}

export function upload(
  gpu: Gpu,
  { qkv, segmentStart }: Data,
  { stride }: AttentionLayout,
  dtype: ActivationType,
) {
  const tokens = segmentStart.length;
  return {
    qkv: uploadActivation(gpu, "qkv", [tokens, stride], qkv, dtype),
    segmentStart: uploadU32(gpu, "segmentStart", [tokens], segmentStart),
  };
}

export interface Data {
  qkv: Float32Array;
  dO: Float32Array;
  segmentStart: Uint32Array;
}

export function prepare(shape: Case, dtype: ActivationType) {
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

// Of rotary positions: small, so that the dimensions of short heads turn at different speeds.
const THETA = 100;

/** Counted within each document, from 5 on. */
function positionsOf({ segmentStart }: Data): Uint32Array {
  return segmentStart.map((start, i) => 5 + i - start);
}

/** The gradient of heads before they were turned, of every query and key head. */
function turnedBack(
  gradient: Float64Array,
  data: Data,
  layout: AttentionLayout,
  rotarySize: number,
): Float64Array {
  const { heads, kvHeads, headSize, stride, qGroupStride, kBase, kStride } = layout;
  const group = heads / kvHeads;
  const queries = Array.from(
    { length: heads },
    (_, head) => Math.floor(head / group) * qGroupStride + (head % group) * headSize,
  );
  const keys = Array.from({ length: kvHeads }, (_, head) => kBase + head * kStride);
  return ropeBackward(gradient, positionsOf(data), inverseFrequencies(rotarySize, THETA), {
    tokens: data.segmentStart.length,
    rowSize: stride,
    headSize,
    headColumns: [...queries, ...keys],
    rotary: rotarySize,
  });
}

/** The rotary positions of a case, on the GPU. */
function ropeOf(gpu: Gpu, data: Data, rotarySize: number) {
  const positions = positionsOf(data);
  const count = Math.max(...positions) + 1;
  const table = ropeTable(inverseFrequencies(rotarySize, THETA), count);
  return {
    positions: uploadU32(gpu, "positions", [positions.length], positions),
    table: uploadF32(gpu, "table", [count, rotarySize], table),
  };
}

export function referenceForward({ data, referenceLayout }: Prepared) {
  return reference.attention(data.qkv, data.segmentStart, referenceLayout);
}

/** dqkv as the reference has it; zero in the columns of no head. */
export function referenceGradient(
  { data, layout, referenceLayout }: Prepared,
  rotarySize: number | undefined,
): Float64Array {
  const turned = reference.combineHeads(
    reference.attentionBackward(data.qkv, data.segmentStart, data.dO, referenceLayout),
    referenceLayout,
  );
  return rotarySize ? turnedBack(turned, data, layout, rotarySize) : turned;
}

export type Prepared = ReturnType<typeof prepare>;

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

/** The largest magnitude, 1 at the least. */
function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
}
