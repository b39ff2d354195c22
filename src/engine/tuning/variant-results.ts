// What a variant of a kernel wrote: read back, and judged by what the first variant wrote.
import { decodeF16 } from "../../formats/float.ts";
import type { Gpu } from "../../gpu/device.ts";
import { MAP_READ, USAGE } from "../../gpu/flags.ts";
import { elementCount, read, type StoredTensor, write } from "../../gpu/tensor.ts";
import type { Fault } from "./try-variants.ts";

// Quiet NaN in f32, and twice in f16.
const POISON = { f32: 0x7fc0_0000, f16: 0x7e00_7e00, u32: 0xffff_ffff } as const;
const POISON_BYTES = 1 << 20;

/** Fills a result with what is no number, so that what is not written is seen. */
export function poison(gpu: Gpu, tensor: StoredTensor): void {
  const words = new Uint32Array(Math.min(tensor.bytes, POISON_BYTES) / 4).fill(
    POISON[tensor.dtype],
  );
  for (let at = 0; at < tensor.bytes; at += words.byteLength) {
    const length = Math.min(words.byteLength, tensor.bytes - at) / 4;
    write(gpu, tensor, words.subarray(0, length), at);
  }
}

/** How many pieces a result that is not read whole is read in: rows and columns of every part of a tile. */
const PIECES = 64;

/** The bytes of each result: all, or `limit` of them in pieces from its start, its end and between. */
export async function readResults(
  gpu: Gpu,
  results: readonly StoredTensor[],
  limit: number,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const whole: Uint8Array<ArrayBuffer>[] = [];
  for (const tensor of results) {
    const bytes = elementCount(tensor.shape) * (tensor.dtype === "f16" ? 2 : 4);
    const found =
      bytes <= limit ? read(gpu, tensor, 0, bytes) : readSome(gpu, tensor, bytes, limit);
    whole.push(new Uint8Array(await found));
  }
  return whole;
}

/** In one way there and back: each takes as long as a kernel runs. */
async function readSome(
  gpu: Gpu,
  { at, label }: StoredTensor,
  bytes: number,
  limit: number,
): Promise<ArrayBuffer> {
  const size = Math.floor(limit / PIECES / 4) * 4;
  const last = Math.floor((bytes - size) / 4) * 4;
  const some = gpu.buffer(`${label}.some`, size * PIECES, USAGE.mapRead | USAGE.copyTarget);
  try {
    await gpu.check();
    const encoder = gpu.device.createCommandEncoder({ label: some.label });
    for (let piece = 0; piece < PIECES; piece++) {
      const from = Math.floor((piece * last) / (PIECES - 1) / 4) * 4;
      encoder.copyBufferToBuffer(at.buffer, at.offset + from, some, piece * size, size);
    }
    gpu.device.queue.submit([encoder.finish()]);
    await gpu.unlessLost(some.mapAsync(MAP_READ));
    return some.getMappedRange().slice(0);
  } finally {
    gpu.freeBuffer(some);
  }
}

export function toNumbers(
  bytes: Uint8Array<ArrayBuffer>,
  tensor: StoredTensor | undefined,
): Float32Array {
  return tensor?.dtype === "f16"
    ? decodeF16(new Uint16Array(bytes.buffer))
    : new Float32Array(bytes.buffer);
}

const UNWRITTEN = {
  kind: "unwritten",
  words: "it leaves elements unwritten, or writes what is no number",
} as const;

/** What is wrong with results, beside those of the first variant; undefined if nothing is. */
export function differenceOf(
  results: readonly Float32Array[],
  reference: readonly Float32Array[],
  tolerance: number,
): Fault | undefined {
  for (const [index, values] of results.entries()) {
    const expected = reference[index] ?? values;
    let largest = 0;
    let worst = 0;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] ?? Number.NaN;
      // NaN is what was there before: either it was not written, or it came of the arithmetic.
      if (!Number.isFinite(value)) return UNWRITTEN;
      largest = Math.max(largest, Math.abs(expected[i] ?? 0));
      worst = Math.max(worst, Math.abs(value - (expected[i] ?? 0)));
    }
    if (worst <= tolerance * largest) continue;
    const share = largest > 0 ? (worst / largest).toExponential(1) : "all";
    return { kind: "wrong", words: `its results are wrong, by ${share} of the largest` };
  }
  return undefined;
}

/** Two sums over all words that tell different contents apart, but for a chance of 2⁻⁶⁴. */
export function fingerprint(bytes: Uint8Array<ArrayBuffer>): string {
  const words = new Uint32Array(bytes.buffer, 0, bytes.byteLength >>> 2);
  let a = 0x811c_9dc5;
  let b = 0x9e37_79b9;
  for (const word of words) {
    a = Math.imul(a ^ word, 0x0100_0193);
    b = Math.imul(b + word, 0x85eb_ca6b) ^ (b >>> 13);
  }
  const rest = bytes.subarray(words.byteLength).join(",");
  return `${a >>> 0}.${b >>> 0}.${rest}`;
}
