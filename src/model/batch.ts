// A micro-batch on the GPU: one buffer, written at once.
//
// Only the rows with a target go through the head. They are listed here, by token and by place, so that the
// final norm writes them one after the other and its backward pass finds each token's gradient again.
import type { Gpu } from "../gpu/device.ts";
import { slice, type StoredTensor, write } from "../gpu/tensor.ts";

/** What the host fills before a run; each [tokens]. */
export interface BatchArrays {
  readonly ids: Uint32Array<ArrayBuffer>;
  /** NO_TARGET where a token predicts nothing. */
  readonly targets: Uint32Array<ArrayBuffer>;
  readonly positions: Uint32Array<ArrayBuffer>;
  readonly segmentStart: Uint32Array<ArrayBuffer>;
}

/** u32 [tokens] each. */
export interface BatchTensors {
  readonly ids: StoredTensor;
  readonly positions: StoredTensor;
  readonly segmentStart: StoredTensor;
  /** The tokens with a target, in order, and NO_ROW after them. */
  readonly labeled: StoredTensor;
  /** The targets of those, and NO_TARGET after them. */
  readonly targets: StoredTensor;
  /** For every token, where it is in `labeled`; NO_ROW where it is not. */
  readonly places: StoredTensor;
  /** All of the above, which are parts of it. */
  readonly whole: StoredTensor;
  /** What `whole` is written from. */
  readonly staging: Uint32Array<ArrayBuffer>;
}

/** Of a token that predicts nothing, and of what is not there. */
const NO_TARGET = 0xffff_ffff;
const NO_ROW = 0xffff_ffff;

const PARTS = ["ids", "positions", "segmentStart", "labeled", "targets", "places"] as const;

// A part begins on a multiple of 256 bytes, as WebGPU wants of what is bound.
const ALIGNED_ELEMENTS = 64;

/** Room for a micro-batch of `tokens` tokens, padding included. Whoever calls this frees `whole`. */
export function allocateBatch(gpu: Gpu, tokens: number): BatchTensors {
  const stride = strideOf(tokens);
  const whole = gpu.allocate("batch", "u32", [PARTS.length * stride]);
  const part = (name: (typeof PARTS)[number]) =>
    slice(whole, `batch.${name}`, PARTS.indexOf(name) * stride, [tokens]);
  return {
    ids: part("ids"),
    positions: part("positions"),
    segmentStart: part("segmentStart"),
    labeled: part("labeled"),
    targets: part("targets"),
    places: part("places"),
    whole,
    staging: new Uint32Array(PARTS.length * stride),
  };
}

/**
 * Writes a micro-batch for all runs submitted from now on, and returns how many rows have a target: those
 * that such a run is over. WebGPU takes the bytes when it is called and hands them to the GPU in the order of
 * submits, so nobody waits, neither for a run under way nor for the next.
 */
export function writeBatch(gpu: Gpu, batch: BatchTensors, arrays: BatchArrays): number {
  const { staging } = batch;
  const stride = staging.length / PARTS.length;
  const [ids, positions, segmentStart, labeled, targets, places] = PARTS.map((_, i) => i * stride);
  staging.set(arrays.ids, ids);
  staging.set(arrays.positions, positions);
  staging.set(arrays.segmentStart, segmentStart);
  staging.fill(NO_ROW, labeled);
  let rows = 0;
  arrays.targets.forEach((target, token) => {
    if (target === NO_TARGET) return;
    staging[(labeled ?? 0) + rows] = token;
    staging[(targets ?? 0) + rows] = target;
    staging[(places ?? 0) + token] = rows++;
  });
  write(gpu, batch.whole, staging);
  return rows;
}

/** Numbers of the rows that have a target, as those of all tokens: 0 where there is none. */
export function spread(packed: Float32Array, { targets }: BatchArrays): Float32Array {
  let row = 0;
  return Float32Array.from(targets, (target) => (target === NO_TARGET ? 0 : (packed[row++] ?? 0)));
}

function strideOf(tokens: number): number {
  return Math.ceil(tokens / ALIGNED_ELEMENTS) * ALIGNED_ELEMENTS;
}
