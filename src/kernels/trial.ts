// Made-up numbers for the operands of trials.
import type { Gpu } from "../gpu/device.ts";
import { type StoredTensor, write } from "../gpu/tensor.ts";

/**
 * Numbers that trials are filled with again and again: as few as take the host no time. No multiple of a row's
 * length, so that rows differ.
 */
const TRIAL_NUMBERS = 1_000_006;

/** Fills a tensor with made-up numbers from 1/16 to 1/8 of both signs; u32 with made-up bits. */
export function fillTrial(gpu: Gpu, tensor: StoredTensor): void {
  const isHalf = tensor.dtype === "f16";
  const count = Math.min(tensor.bytes / (isHalf ? 2 : 4), TRIAL_NUMBERS);
  const numbers = isHalf ? new Uint16Array(count) : new Uint32Array(count);
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    if (tensor.dtype === "u32") numbers[i] = state;
    else if (isHalf) numbers[i] = ((state >>> 16) & 0x83ff) | 0x2c00;
    else numbers[i] = (state & 0x807f_ffff) | 0x3d80_0000;
  }
  for (let at = 0; at < tensor.bytes; at += numbers.byteLength) {
    const left = (tensor.bytes - at) / numbers.BYTES_PER_ELEMENT;
    write(gpu, tensor, numbers.subarray(0, Math.min(count, left)), at);
  }
}
