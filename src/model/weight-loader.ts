// What a model's weights need on the GPU, and what is to be read for them: first noted, then done.
//
// Files are read into memory that the GPU sees, and nobody waits for the GPU but for the next such place.
// Matrices are quantized as they come; their scales come back when the GPU has made them, are quantized on
// the host while others are read, and go up again.
import { UserError } from "../base/error.ts";
import { decodeFloats } from "../formats/float.ts";
import type { SafetensorsDtype } from "../formats/safetensors.ts";
import type { Gpu } from "../gpu/device.ts";
import { type StoredTensor, write } from "../gpu/tensor.ts";
import type { Nf4Weight, PlainWeight, WeightKind } from "../kernels/weight.ts";
import type { TableEncoding } from "../kernels/embed.ts";
import {
  createNf4Quantizer,
  MOST_SCALES_UNDER_WAY,
  type Nf4Quantizer,
  QuantizerDesk,
  type ReadInto,
} from "../kernels/nf4-quantize.ts";
import {
  asHalf,
  type FloatTensor,
  type ModelFiles,
  type Nf4Source,
  requireTensor,
  sizeInBytes,
} from "./files/checkpoint-files.ts";
import type { LinearShape } from "./linears.ts";
import { type Piece, streamPieces } from "./weight-stream.ts";
import type { FrozenLinear, LoadWeightsOptions, TableShard } from "./weights.ts";

/** How the GEMMs name a table's encoding. */
export const KIND_OF: Readonly<Record<TableEncoding, WeightKind>> = {
  f32: "native",
  f16: "packed-f16",
  bf16: "packed-bf16",
};

// Rows of a shard come in multiples of this, so that shards of the head's adapter lie on 256 bytes.
const SHARD_ROWS = 64;

/** How many rows of a table one binding can show. */
export function shardRows(gpu: Gpu, rowBytes: number): number {
  return Math.floor(gpu.maxTensorBytes / rowBytes / SHARD_ROWS) * SHARD_ROWS;
}

/** How much of a tensor is read at a time, in bytes: whole NF4 blocks of every type. */
const SLICE_BYTES = 8 * 2 ** 20;

/** Allocates what weights need, notes what is to be read for them, and then reads it. */
export class WeightLoader {
  readonly #gpu: Gpu;
  readonly #files: ModelFiles;
  readonly #options: LoadWeightsOptions;
  readonly #desk: QuantizerDesk;
  readonly #pieces: Piece[] = [];
  readonly #quantizers: Nf4Quantizer[] = [];
  /** The oldest first. */
  readonly #scalesUnderWay: Promise<void>[] = [];
  /** What has been allocated. */
  readonly tensors: StoredTensor[] = [];

  constructor(gpu: Gpu, files: ModelFiles, options: LoadWeightsOptions) {
    this.#gpu = gpu;
    this.#files = files;
    this.#options = options;
    this.#desk = new QuantizerDesk(gpu, "weights");
  }

  /** Reads all that was noted, once. */
  async fill(): Promise<void> {
    const { signal, onProgress } = this.#options;
    try {
      await this.#gpu.check(); // what is refused is refused before gigabytes are read
      await streamPieces(this.#pieces, {
        signal,
        onProgress: (bytes) => {
          this.#gpu.checkErrors();
          onProgress?.(bytes, this.#files.totalBytes);
        },
        stop: () => this.#desk.ring.stop(),
      });
      while (this.#scalesUnderWay.length > 0) await this.#scalesUnderWay.shift();
      for (const quantizer of this.#quantizers) quantizer.finish();
      await this.#gpu.finish();
    } catch (error) {
      await Promise.allSettled(this.#scalesUnderWay);
      this.#gpu.checkErrors(); // a lost device is the cause of whatever else failed
      throw error;
    } finally {
      this.#desk.free();
    }
  }

  /** A norm's weight plus `offset`, f32. */
  norm(module: string, size: number, offset: 0 | 1): StoredTensor {
    const tensor = this.#allocate(module, "f32", [size]);
    this.#floats(`${module}.weight`, size, tensor, 0, offset);
    return tensor;
  }

  /** An f32 tensor of what `compute` gives, which is called while files are read. */
  computed(
    label: string,
    shape: readonly number[],
    compute: () => Float32Array<ArrayBuffer>,
  ): StoredTensor {
    const tensor = this.#allocate(label, "f32", shape);
    this.#pieces.push({
      bytes: 0,
      read: async () => () => write(this.#gpu, tensor, compute()),
    });
    return tensor;
  }

  /** The embedding table or the head, in the file's own type, in as many shards as it needs. */
  table(module: string, shape: readonly [number, number]): TableShard[] {
    const source = asHalf(requireTensor(this.#files, `${module}.weight`, shape));
    const [rows, columns] = shape;
    const { encoding, dtype, perElement } = storageOf(source);
    const limit = shardRows(this.#gpu, sizeInBytes(source.dtype, columns));
    return Array.from({ length: Math.ceil(rows / limit) }, (_, index): TableShard => {
      const firstRow = index * limit;
      const count = Math.min(limit, rows - firstRow);
      const tensor = this.#allocate(`${module}.${index}`, dtype, [count, columns * perElement]);
      this.#upload(rowsOf(source, firstRow, count), tensor, 0);
      return { tensor, encoding, firstRow, rows: count };
    });
  }

  /** A fused map: its modules' rows one after the other. */
  linear(shape: LinearShape): FrozenLinear {
    const parts = shape.segments.map(({ path, rows }) =>
      requireTensor(this.#files, `${path}.weight`, [rows, shape.inputs]),
    );
    // Of a model that was quantized already, what was left out then is left out now.
    const isLeftOut = this.#files.isQuantized === true && parts.every(({ nf4 }) => !nf4);
    const weight =
      this.#options.quantization === "nf4" && !isLeftOut
        ? this.#quantized(shape, parts)
        : this.#plain(shape, parts.map(asHalf));
    return { weight, bias: shape.hasBias ? this.#bias(shape) : undefined };
  }

  #allocate(label: string, dtype: "f32" | "u32", shape: readonly number[]): StoredTensor {
    const tensor = this.#gpu.allocate(label, dtype, shape);
    this.tensors.push(tensor);
    return tensor;
  }

  #bias({ label, outputs, segments }: LinearShape): StoredTensor {
    const tensor = this.#allocate(`${label}.bias`, "f32", [outputs]);
    let row = 0;
    for (const { path, rows } of segments) {
      this.#floats(`${path}.bias`, rows, tensor, row, 0);
      row += rows;
    }
    return tensor;
  }

  /** A vector of the file plus `offset`, as f32 from element `first` of `tensor` on. */
  #floats(name: string, size: number, tensor: StoredTensor, first: number, offset: 0 | 1): void {
    const source = requireTensor(this.#files, name, [size]);
    this.#pieces.push({
      bytes: sizeInBytes(source.dtype, size),
      read: async () => {
        const values = decodeFloats(await source.read(0, size), source.dtype);
        const wanted = offset === 0 ? values : values.map((value) => value + offset);
        return () => write(this.#gpu, tensor, wanted, first * 4);
      },
    });
  }

  #quantized(shape: LinearShape, parts: readonly FloatTensor[]): Nf4Weight {
    const { label, outputs, inputs } = shape;
    const { doubleQuant } = this.#options;
    const size = [outputs, inputs] as const;
    const quantizer = createNf4Quantizer(this.#gpu, label, size, { doubleQuant, desk: this.#desk });
    this.#quantizers.push(quantizer);
    this.tensors.push(quantizer.weight.codes, quantizer.weight.absmax);
    let start = 0;
    for (const part of parts) {
      const count = (part.shape[0] ?? 0) * inputs;
      if (part.nf4) this.#codes(quantizer, start, count, part.nf4, part.dtype);
      else this.#weights(quantizer, start, count, part);
      start += count;
    }
    return quantizer.weight;
  }

  /** A tensor to quantize. */
  #weights(quantizer: Nf4Quantizer, start: number, count: number, source: FloatTensor): void {
    const part = quantizer.begin(start, count, source.dtype);
    for (const { first, end } of slicesOf(source.dtype, count)) {
      this.#pieces.push({
        bytes: sizeInBytes(source.dtype, end - first),
        read: () => part.prepare(end - first, (into) => source.read(first, end, into)),
      });
    }
    this.#pieces.push({
      bytes: 0,
      read: async () => async () => {
        const scales = part.end();
        scales.catch(() => {}); // told when it is waited for
        this.#scalesUnderWay.push(scales);
        if (this.#scalesUnderWay.length >= MOST_SCALES_UNDER_WAY)
          await this.#scalesUnderWay.shift();
      },
    });
  }

  /** A tensor that is NF4 already, for which progress counts the numbers it stands for. */
  #codes(
    quantizer: Nf4Quantizer,
    start: number,
    count: number,
    source: Nf4Source,
    dtype: FloatTensor["dtype"],
  ): void {
    const { codes } = quantizer.weight;
    for (const { first, end } of slicesOf("U8", count / 2)) {
      const bytes = sizeInBytes(dtype, (end - first) * 2);
      const read = (into: Uint8Array<ArrayBuffer>) => source.readCodes(first, end, into);
      this.#bytes(bytes, end - first, read, codes, start / 2 + first);
    }
    this.#pieces.push({
      bytes: 0,
      read: async () => {
        const scales = await source.readAbsmax();
        return () => quantizer.takeScales(start, count, scales);
      },
    });
  }

  #plain(shape: LinearShape, parts: readonly FloatTensor[]): PlainWeight {
    const { label, outputs, inputs } = shape;
    const first = parts[0];
    if (!first || parts.some(({ dtype }) => dtype !== first.dtype)) {
      throw new UserError(
        `${this.#files.path}: the parts of ${label} are of different types (${parts.map(({ dtype }) => dtype).join(", ")}).`,
        "Use quantization: nf4, which reads each in its own type.",
      );
    }
    const { dtype, perElement, encoding } = storageOf(first);
    const tensor = this.#allocate(label, dtype, [outputs, inputs * perElement]);
    let offset = 0;
    for (const part of parts) {
      this.#upload(part, tensor, offset);
      offset += sizeInBytes(part.dtype, (part.shape[0] ?? 0) * inputs);
    }
    return { tensor, shape: [outputs, inputs], kind: KIND_OF[encoding] };
  }

  /** A tensor as it is, to byte `offset` of `tensor`. */
  #upload(source: FloatTensor, tensor: StoredTensor, offset: number): void {
    const count = source.shape.reduce((product, size) => product * size, 1);
    for (const { first, end } of slicesOf(source.dtype, count)) {
      const bytes = sizeInBytes(source.dtype, end - first);
      const read = (into: Uint8Array<ArrayBuffer>) => source.read(first, end, into);
      this.#bytes(bytes, bytes, read, tensor, offset + sizeInBytes(source.dtype, first));
    }
  }

  /** `size` bytes that `read` gives, to byte `offset` of `tensor`. */
  #bytes(bytes: number, size: number, read: ReadInto, tensor: StoredTensor, offset: number): void {
    this.#pieces.push({
      bytes,
      read: async () => {
        const slot = await this.#desk.ring.take(size);
        slot.fill(await read(slot.bytes));
        return () => slot.send(tensor, offset);
      },
    });
  }
}

/** A tensor of `count` elements in slices, in order. */
function slicesOf(dtype: SafetensorsDtype, count: number): { first: number; end: number }[] {
  const elements = SLICE_BYTES / sizeInBytes(dtype, 1);
  return Array.from({ length: Math.ceil(count / elements) }, (_, i) => ({
    first: i * elements,
    end: Math.min((i + 1) * elements, count),
  }));
}

/** How numbers lie on the GPU: as they are in the file, two 16-bit numbers to a u32. */
function storageOf({ dtype }: FloatTensor): {
  encoding: TableEncoding;
  dtype: "f32" | "u32";
  perElement: number;
} {
  if (dtype === "F32") return { encoding: "f32", dtype: "f32", perElement: 1 };
  return { encoding: dtype === "F16" ? "f16" : "bf16", dtype: "u32", perElement: 0.5 };
}

/** Some rows of a matrix as a tensor of its own. */
function rowsOf(source: FloatTensor, firstRow: number, rows: number): FloatTensor {
  const columns = source.shape[1] ?? 1;
  const first = firstRow * columns;
  const { name, dtype, place } = source;
  return {
    name,
    dtype,
    place,
    shape: [rows, columns],
    read: (start, end, into) => source.read(first + start, first + end, into),
  };
}
