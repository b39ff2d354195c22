// Weights from a model's files to the GPU, a slice at a time, quantized as they come.
//
// A whole file is never held. Matrices of the blocks become NF4 (or are taken as they are where the file
// has NF4), or stay in the file's type; embeddings and head stay as they are, cut into shards of rows
// where one binding cannot show them; norms and biases become f32.
import { throwIfAborted, UserError } from "../base/error.ts";
import { decodeFloats } from "../formats/float.ts";
import type { Gpu } from "../gpu/device.ts";
import { type StoredTensor, write } from "../gpu/tensor.ts";
import type { Nf4Weight } from "../kernels/dequantize.ts";
import type { TableEncoding } from "../kernels/embed.ts";
import type { PlainWeight, WeightKind } from "../kernels/matmul.ts";
import { createNf4Quantizer } from "../kernels/nf4-quantize.ts";
import { ropeTable } from "../kernels/rope.ts";
import type { Architecture } from "./architecture.ts";
import {
  type FloatTensor,
  type ModelFiles,
  asHalf,
  readSlices,
  requireTensor,
  sizeInBytes,
} from "./checkpoint-files.ts";
import type { LinearName, NormNames } from "./families.ts";
import { blockLinears, type LinearShape } from "./linears.ts";
import { checkAllTensors } from "./required-tensors.ts";

/** Rows [firstRow, firstRow + rows) of the embedding table or the head. */
export interface TableShard {
  /** f32 [rows, hidden], or u32 [rows, hidden / 2] of packed pairs. */
  readonly tensor: StoredTensor;
  readonly encoding: TableEncoding;
  readonly firstRow: number;
  readonly rows: number;
}

/** How the GEMMs name a table's encoding. */
export const KIND_OF: Readonly<Record<TableEncoding, WeightKind>> = {
  f32: "native",
  f16: "packed-f16",
  bf16: "packed-bf16",
};

/** A map as it is stored. */
export interface FrozenLinear {
  readonly weight: Nf4Weight | PlainWeight;
  /** f32 [outputs]. */
  readonly bias: StoredTensor | undefined;
}

/** Weights of a layer's norms, f32, as they are multiplied by. */
export type BlockNorms = Readonly<Record<keyof NormNames, StoredTensor | undefined>> & {
  readonly attention: StoredTensor;
  readonly mlp: StoredTensor;
};

export interface BlockWeights {
  readonly norms: BlockNorms;
  readonly linears: Readonly<Record<LinearName, FrozenLinear>>;
}

export interface Weights {
  readonly embedding: readonly TableShard[];
  /** The embedding's shards where they are tied. */
  readonly head: readonly TableShard[];
  readonly finalNorm: StoredTensor;
  readonly blocks: readonly BlockWeights[];
  /** For each of the architecture's ropes: cos and sin of every position, f32 [positions, rotaryDims]. */
  readonly ropeTables: readonly StoredTensor[];
  /** Every tensor above, once. */
  readonly tensors: readonly StoredTensor[];
}

export interface LoadWeightsOptions {
  readonly quantization: "nf4" | "none";
  /** Keep NF4's scales in 8 bits, as bitsandbytes does with compress_statistics. */
  readonly doubleQuant: boolean;
  /** Positions that rotary embedding must know. */
  readonly positions: number;
  /** The longest sequence, in tokens, where a scaling depends on it; default: `positions`. */
  readonly contextTokens?: number | undefined;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
  /** Looked at after every slice. */
  readonly signal?: AbortSignal | undefined;
}

// Rows of a shard come in multiples of this, so that shards of the head's adapter lie on 256 bytes.
const SHARD_ROWS = 64;

/** How many rows of a table one binding can show. */
export function shardRows(gpu: Gpu, rowBytes: number): number {
  return Math.floor(gpu.maxTensorBytes / rowBytes / SHARD_ROWS) * SHARD_ROWS;
}

export async function loadWeights(
  gpu: Gpu,
  architecture: Architecture,
  files: ModelFiles,
  options: LoadWeightsOptions,
): Promise<Weights> {
  const loader = new Loader(gpu, files, options);
  try {
    return await loadAll(gpu, architecture, files, options, loader);
  } catch (error) {
    loader.freeAll();
    throw error;
  }
}

async function loadAll(
  gpu: Gpu,
  architecture: Architecture,
  files: ModelFiles,
  { positions, contextTokens = positions }: LoadWeightsOptions,
  loader: Loader,
): Promise<Weights> {
  const { family, hidden, vocab, layers, hasTiedEmbeddings, ropes } = architecture;
  checkAllTensors(architecture, files);
  const embedding = await loader.table(family.embedding, [vocab, hidden]);
  const blocks: BlockWeights[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const linears = blockLinears(architecture, layer);
    blocks.push({
      norms: await loadNorms(architecture, layer, loader),
      linears: {
        qkv: await loader.linear(linears.qkv),
        attentionOut: await loader.linear(linears.attentionOut),
        gateUp: await loader.linear(linears.gateUp),
        down: await loader.linear(linears.down),
      },
    });
  }
  const finalNorm = await loader.norm(family.finalNorm, hidden, family.normOffset);
  const head = hasTiedEmbeddings ? embedding : await loader.table(family.head, [vocab, hidden]);

  const ropeTables = ropes.map(({ rotaryDims, anglesFor }, index) => {
    const table = loader.allocate(`rope.${index}`, "f32", [positions, rotaryDims]);
    const { inverseFrequencies, scale } = anglesFor(contextTokens);
    write(gpu, table, ropeTable(inverseFrequencies, positions, scale));
    return table;
  });
  await gpu.check();
  return { embedding, head, finalNorm, blocks, ropeTables, tensors: loader.tensors };
}

async function loadNorms(
  { family, hidden, headSize }: Architecture,
  layer: number,
  loader: Loader,
): Promise<BlockNorms> {
  const { norms, normOffset } = family;
  const norm = (name: string, size = hidden) =>
    loader.norm(`${family.layerPrefix(layer)}.${name}`, size, normOffset);
  const optional = async (name: string | undefined, size = hidden) =>
    name === undefined ? undefined : norm(name, size);
  return {
    attention: await norm(norms.attention),
    mlp: await norm(norms.mlp),
    postAttention: await optional(norms.postAttention),
    postMlp: await optional(norms.postMlp),
    query: await optional(norms.query, headSize),
    key: await optional(norms.key, headSize),
  };
}

export function freeWeights(gpu: Gpu, { tensors }: Weights): void {
  for (const tensor of tensors) gpu.free(tensor);
}

class Loader {
  readonly #gpu: Gpu;
  readonly #files: ModelFiles;
  readonly #options: LoadWeightsOptions;
  #loadedBytes = 0;
  /** What has been allocated, to be freed if loading fails. */
  readonly #made: StoredTensor[] = [];

  constructor(gpu: Gpu, files: ModelFiles, options: LoadWeightsOptions) {
    this.#gpu = gpu;
    this.#files = files;
    this.#options = options;
  }

  allocate(label: string, dtype: "f32" | "u32", shape: readonly number[]): StoredTensor {
    const tensor = this.#gpu.allocate(label, dtype, shape);
    this.#made.push(tensor);
    return tensor;
  }

  get tensors(): readonly StoredTensor[] {
    return this.#made;
  }

  freeAll(): void {
    for (const tensor of this.#made) this.#gpu.free(tensor);
  }

  /** A norm's weight plus `offset`, f32. */
  async norm(module: string, size: number, offset: 0 | 1): Promise<StoredTensor> {
    const values = await this.#floats(`${module}.weight`, size);
    const tensor = this.allocate(module, "f32", [size]);
    write(this.#gpu, tensor, offset === 0 ? values : values.map((value) => value + offset));
    return tensor;
  }

  async #floats(name: string, size: number): Promise<Float32Array<ArrayBuffer>> {
    const tensor = requireTensor(this.#files, name, [size]);
    const bytes = await tensor.read(0, size);
    this.#progress(bytes.byteLength);
    return decodeFloats(bytes, tensor.dtype);
  }

  /** The embedding table or the head, in the file's own type, in as many shards as it needs. */
  async table(module: string, shape: readonly [number, number]): Promise<TableShard[]> {
    const source = asHalf(requireTensor(this.#files, `${module}.weight`, shape));
    const [rows, columns] = shape;
    const { encoding, dtype, perElement } = storageOf(source);
    const rowBytes = sizeInBytes(source.dtype, columns);
    const limit = shardRows(this.#gpu, rowBytes);
    const shards: TableShard[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += limit) {
      const count = Math.min(limit, rows - firstRow);
      const label = `${module}.${shards.length}`;
      const tensor = this.allocate(label, dtype, [count, columns * perElement]);
      await this.#upload(rowsOf(source, firstRow, count), tensor, 0);
      shards.push({ tensor, encoding, firstRow, rows: count });
    }
    return shards;
  }

  /** A fused map: its modules' rows one after the other. */
  async linear(shape: LinearShape): Promise<FrozenLinear> {
    const parts = shape.segments.map(({ path, rows }) =>
      requireTensor(this.#files, `${path}.weight`, [rows, shape.inputs]),
    );
    // Of a model that was quantized already, what was left out then is left out now.
    const isLeftOut = this.#files.isQuantized === true && parts.every(({ nf4 }) => !nf4);
    const weight =
      this.#options.quantization === "nf4" && !isLeftOut
        ? await this.#quantized(shape, parts)
        : await this.#plain(shape, parts.map(asHalf));
    return { weight, bias: shape.hasBias ? await this.#bias(shape) : undefined };
  }

  async #bias({ label, outputs, segments }: LinearShape): Promise<StoredTensor> {
    const tensor = this.allocate(`${label}.bias`, "f32", [outputs]);
    let row = 0;
    for (const { path, rows } of segments) {
      write(this.#gpu, tensor, await this.#floats(`${path}.bias`, rows), row * 4);
      row += rows;
    }
    return tensor;
  }

  async #quantized(shape: LinearShape, parts: readonly FloatTensor[]): Promise<Nf4Weight> {
    const { label, outputs, inputs } = shape;
    const { doubleQuant } = this.#options;
    const quantizer = createNf4Quantizer(this.#gpu, label, [outputs, inputs], { doubleQuant });
    try {
      let start = 0;
      for (const part of parts) {
        const count = (part.shape[0] ?? 0) * inputs;
        if (part.nf4) {
          await quantizer.take(start, count, part.nf4);
          this.#progress(sizeInBytes(part.dtype, count));
        } else {
          const tensor = quantizer.begin(start, count, part.dtype);
          for await (const { bytes } of readSlices(part)) {
            await tensor.push(bytes);
            this.#progress(bytes.byteLength);
          }
          await tensor.end();
        }
        start += count;
      }
    } catch (error) {
      quantizer.abandon();
      throw error;
    }
    const weight = quantizer.finish();
    this.#made.push(weight.codes, weight.absmax);
    return weight;
  }

  async #plain(shape: LinearShape, parts: readonly FloatTensor[]): Promise<PlainWeight> {
    const { label, outputs, inputs } = shape;
    const first = parts[0];
    if (!first || parts.some(({ dtype }) => dtype !== first.dtype)) {
      throw new UserError(
        `${this.#files.path}: the parts of ${label} are of different types (${parts.map(({ dtype }) => dtype).join(", ")}).`,
        "Use quantization: nf4, which reads each in its own type.",
      );
    }
    const { dtype, perElement, encoding } = storageOf(first);
    const tensor = this.allocate(label, dtype, [outputs, inputs * perElement]);
    let offset = 0;
    for (const part of parts) {
      await this.#upload(part, tensor, offset);
      offset += sizeInBytes(part.dtype, (part.shape[0] ?? 0) * inputs);
    }
    return { tensor, shape: [outputs, inputs], kind: KIND_OF[encoding] };
  }

  async #upload(source: FloatTensor, tensor: StoredTensor, offsetBytes: number): Promise<void> {
    for await (const { offset, bytes } of readSlices(source)) {
      write(this.#gpu, tensor, bytes, offsetBytes + sizeInBytes(source.dtype, offset));
      this.#progress(bytes.byteLength);
      // Waits, so that what is queued for upload never grows past a slice or two.
      await this.#gpu.finish();
    }
  }

  #progress(bytes: number): void {
    throwIfAborted(this.#options.signal);
    this.#loadedBytes += bytes;
    this.#options.onProgress?.(this.#loadedBytes, this.#files.totalBytes);
  }
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
    read: (start, end) => source.read(first + start, first + end),
  };
}
