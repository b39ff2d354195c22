// The operands of attention in a given shape, and what the reference makes of them.
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
import { apart, type Case } from "./attention-shapes.ts";

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
function referenceGradient(
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
