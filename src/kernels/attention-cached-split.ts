// Attention of one new token over a long cache: chunks of keys side by side, then joined.
//
// Slot "attention.decode" is "whole", one workgroup a head over all keys, or "split N": chunks of N keys.
import split from "../../shaders/attention-cached-split.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { type CachedAttention, cachedCall, cachedShaders } from "./attention-cached-operands.ts";

export const ATTENTION_DECODE_SLOT = "attention.decode";

const CHUNKS: readonly number[] = [64, 128, 256];
/** Query heads of a workgroup. */
const HEADS = 4;

export const SPLITS: readonly string[] = CHUNKS.map((chunk) => `split ${chunk}`);

const SHADERS = cachedShaders("attention-cached-split", [split]);

/** A GPU has room for far more workgroups than a token has heads; the few threads of a CPU have enough with a head each. */
export function untriedDecode({ info }: Gpu): string {
  return info.isFallbackAdapter ? "whole" : "split 128";
}

/** Keys of a chunk where splitting them is chosen; with one chunk there is nothing to join. */
export function splitChunk(recorder: Recorder, capacity: number): number | undefined {
  const choice = recorder.choice(ATTENTION_DECODE_SLOT) ?? untriedDecode(recorder.gpu);
  return CHUNKS.find((chunk) => choice === `split ${chunk}` && capacity > chunk);
}

/** Records `attentionCached` of one token, in chunks of as many keys. */
export function recordSplit(recorder: Recorder, operands: CachedAttention, chunk: number): void {
  const { heads, kvHeads, headSize } = operands.layout;
  const { buffers, ...call } = cachedCall(operands);
  const chunks = workgroups(call.params.capacity, chunk);
  const parts = recorder.transient("attention.parts", "f32", [chunks, heads, headSize]);
  const sums = recorder.transient("attention.sums", "f32", [chunks, heads, 2]);
  const shader = SHADERS[operands.cache.storage];
  recorder.dispatch(shader, {
    ...call,
    entry: "part",
    constants: { CHUNK: chunk },
    buffers: { ...buffers, parts, sums },
    grid: [chunks, kvHeads * workgroups(heads / kvHeads, HEADS)],
  });
  recorder.dispatch(shader, {
    ...call,
    entry: "join",
    constants: { CHUNK: chunk },
    buffers: { parts, sums, o: operands.o },
    grid: [heads],
    flops: 2 * chunks * heads * headSize,
  });
}
