// A model as bitsandbytes saves it in 4 bits: the tensors of its files, made when they are read.
//
// What writes weights copies these tensors like any others. One weight at a time is quantized and on the
// GPU; a file has the small tensors of all its weights before the codes of the first, so each is quantized
// once for its scales and once more for its codes.
import { invariant, throwIfAborted } from "../base/error.ts";
import { BNB_CODES, BNB_STORAGE, type BnbStorage, encodeBnbState } from "../formats/bnb.ts";
import { encodeFloats } from "../formats/float.ts";
import type { Gpu } from "../gpu/device.ts";
import { read, readF32, type StoredTensor } from "../gpu/tensor.ts";
import { type DoubleQuantized, doubleQuantize, DYNAMIC_MAP } from "../kernels/double-quant.ts";
import { createNf4Quantizer } from "../kernels/nf4-quantize.ts";
import {
  type FloatTensor,
  type ModelFiles,
  readSlices,
  requireTensor,
  sizeInBytes,
  type SourceTensor,
} from "../model/files/checkpoint-files.ts";

const BLOCK = 64;
const NESTED_BLOCK = 256;

export interface BnbParts {
  readonly gpu: Gpu;
  readonly files: ModelFiles;
  /** Weights [outputs, inputs] to quantize, inputs a multiple of 64; all others stay as they are. */
  readonly weights: readonly { readonly name: string; readonly shape: readonly [number, number] }[];
  /** Keep the scales in 8 bits. */
  readonly doubleQuant: boolean;
  readonly storage: BnbStorage;
  /** Called while the scales are made, which is before anything can be written. */
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
  /** Looked at after every weight, until all scales are made. */
  readonly signal?: AbortSignal | undefined;
}

/** Tensors that take memory while they are read. */
export interface BnbFiles {
  readonly files: ModelFiles;
  /** Frees what is on the GPU. */
  free(): void;
}

/** The files of the model after quantization, to be read tensor by tensor. */
export async function quantizeToBnb(parts: BnbParts): Promise<BnbFiles> {
  const { gpu, files, weights, doubleQuant, storage, onProgress, signal } = parts;
  const tensors = new Map(files.tensors);
  const desk = new Desk(gpu);
  const sources = weights.map(({ name, shape }) => requireTensor(files, name, shape));
  const totalBytes = sources.reduce((sum, source) => sum + bytesOf(source), 0);
  let doneBytes = 0;
  try {
    for (const source of sources) {
      // The length of the text beside a weight depends on the mean of its scales: those come first.
      const own = doubleQuant
        ? nestedTensors(desk, source, scalesOf(await desk.quantize(source)))
        : plainTensors(desk, source);
      tensors.set(source.name, codesTensor(desk, source, storage));
      for (const tensor of own) tensors.set(tensor.name, tensor);
      doneBytes += bytesOf(source);
      onProgress?.(doneBytes, totalBytes);
      throwIfAborted(signal);
    }
  } catch (error) {
    desk.free();
    throw error;
  }
  const all = [...tensors.values()].reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  return { files: { path: files.path, tensors, totalBytes: all }, free: () => desk.free() };
}

interface Quantized {
  readonly name: string;
  /** u32 [weights / 8]. */
  readonly codes: StoredTensor;
  /** f32 [weights / 64]. */
  readonly absmax: Float32Array<ArrayBuffer>;
}

/** Holds the weight that was quantized last: its tensors are read one after the other. */
class Desk {
  readonly #gpu: Gpu;
  #last: Quantized | undefined;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  async quantize(source: FloatTensor): Promise<Quantized> {
    if (this.#last?.name === source.name) return this.#last;
    this.free();
    const { name, dtype, shape } = source;
    const [outputs = 0, inputs = 0] = shape;
    const size = outputs * inputs;
    invariant(size % BLOCK === 0, () => `${name}: ${size} weights are no whole blocks`);
    // Without double quantization on the GPU, since both the scales and what is left of them are needed.
    const options = { doubleQuant: false };
    const quantizer = createNf4Quantizer(this.#gpu, name, [outputs, inputs], options);
    try {
      const part = quantizer.begin(0, size, dtype);
      for await (const { bytes } of readSlices(source)) await part.push(bytes);
      await part.end();
    } catch (error) {
      quantizer.abandon();
      throw error;
    }
    const { codes, absmax } = quantizer.finish();
    try {
      const scales = await readF32(this.#gpu, absmax);
      this.#last = { name, codes, absmax: scales.slice(0, size / BLOCK) };
    } finally {
      this.#gpu.free(absmax);
    }
    return this.#last;
  }

  /** Bytes [start, end) of a weight's packed codes. */
  async codes(source: FloatTensor, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    const { codes } = await this.quantize(source);
    return new Uint8Array(await read(this.#gpu, codes, start, end - start));
  }

  free(): void {
    if (this.#last) this.#gpu.free(this.#last.codes);
    this.#last = undefined;
  }
}

/** What is kept of a weight's scales until they are written: a value for 16,384 weights. */
type Kept = Pick<DoubleQuantized, "nestedAbsmax" | "offset">;

function scalesOf({ absmax }: Quantized): Kept {
  const { nestedAbsmax, offset } = doubleQuantize(absmax);
  return { nestedAbsmax, offset };
}

function codesTensor(desk: Desk, source: FloatTensor, storage: BnbStorage): SourceTensor {
  const dtype = BNB_STORAGE[storage];
  const unit = sizeInBytes(dtype, 1);
  return {
    name: source.name,
    shape: [elements(source) / 2 / unit, 1],
    dtype,
    place: source.place,
    read: (start, end) => desk.codes(source, start * unit, end * unit),
  };
}

function nestedTensors(desk: Desk, source: FloatTensor, { nestedAbsmax, offset }: Kept) {
  return [
    ...tablesOf(source, { blockSize: NESTED_BLOCK, offset }),
    floats(source, "nested_absmax", nestedAbsmax),
    floats(source, "nested_quant_map", DYNAMIC_MAP),
    made(source, "absmax", "U8", [elements(source) / BLOCK], async () => {
      const { absmax } = await desk.quantize(source);
      return doubleQuantize(absmax).quantized;
    }),
  ];
}

function plainTensors(desk: Desk, source: FloatTensor): SourceTensor[] {
  return [
    ...tablesOf(source),
    made(source, "absmax", "F32", [elements(source) / BLOCK], async () => {
      const { absmax } = await desk.quantize(source);
      return encodeFloats(absmax, "F32");
    }),
  ];
}

function tablesOf(
  source: FloatTensor,
  nested?: { readonly blockSize: number; readonly offset: number },
): SourceTensor[] {
  const { dtype, shape } = source;
  const state = encodeBnbState({
    quantType: "nf4",
    blockSize: BLOCK,
    dtype,
    shape,
    ...(nested && { nested }),
  });
  return [
    floats(source, "quant_map", BNB_CODES.nf4),
    made(source, "quant_state.bitsandbytes__nf4", "U8", [state.length], async () => state),
  ];
}

function floats(source: FloatTensor, key: string, values: Float32Array): SourceTensor {
  return made(source, key, "F32", [values.length], async () => encodeFloats(values, "F32"));
}

/** A small tensor beside a weight, made whole whenever it is read. */
function made(
  { name, place }: FloatTensor,
  key: string,
  dtype: "F32" | "U8",
  shape: readonly [number],
  make: () => Promise<Uint8Array<ArrayBuffer>>,
): SourceTensor {
  return {
    name: `${name}.${key}`,
    shape,
    dtype,
    place,
    read: async (start, end) =>
      (await make()).subarray(sizeInBytes(dtype, start), sizeInBytes(dtype, end)),
  };
}

function elements({ shape }: SourceTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

function bytesOf(tensor: SourceTensor): number {
  return sizeInBytes(tensor.dtype, elements(tensor));
}
