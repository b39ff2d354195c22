// Weights from safetensors files to the GPU, a slice at a time, quantized as they come.
//
// A whole file is never held. Matrices of the blocks become NF4, or stay 16 bits as the file has
// them; embeddings and head stay as they are, cut into shards of rows where one binding cannot show
// them; norms become f32.
import { UserError } from "../base/error.ts";
import { decodeFloats } from "../formats/float.ts";
import type { Gpu } from "../gpu/device.ts";
import { type StoredTensor, write } from "../gpu/tensor.ts";
import type { Nf4Weight } from "../kernels/dequantize.ts";
import type { TableEncoding } from "../kernels/embed.ts";
import type { PlainWeight, WeightKind } from "../kernels/matmul.ts";
import { createNf4Quantizer } from "../kernels/nf4-quantize.ts";
import { ropeTable } from "../kernels/rope.ts";
import type { Architecture } from "./architecture.ts";
import { type ModelFiles, readSlices, requireTensor, type TensorFile } from "./checkpoint-files.ts";
import { blockLinears, type LinearShape } from "./linears.ts";

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

export interface BlockWeights {
  readonly attentionNorm: StoredTensor;
  readonly mlpNorm: StoredTensor;
  readonly qkv: Nf4Weight | PlainWeight;
  readonly attentionOut: Nf4Weight | PlainWeight;
  readonly gateUp: Nf4Weight | PlainWeight;
  readonly down: Nf4Weight | PlainWeight;
}

export interface Weights {
  readonly embedding: readonly TableShard[];
  /** The embedding's shards where they are tied. */
  readonly head: readonly TableShard[];
  readonly finalNorm: StoredTensor;
  readonly blocks: readonly BlockWeights[];
  /** cos and sin of every position, f32 [positions, headSize]. */
  readonly ropeTable: StoredTensor;
}

export interface LoadWeightsOptions {
  readonly quantization: "nf4" | "none";
  /** Keep NF4's scales in 8 bits, as bitsandbytes does with compress_statistics. */
  readonly doubleQuant: boolean;
  /** Positions that rotary embedding must know. */
  readonly positions: number;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
}

// Rows of a shard come in multiples of this, so that shards of the head's adapter lie on 256 bytes.
const SHARD_ROWS = 64;

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
  { positions }: LoadWeightsOptions,
  loader: Loader,
): Promise<Weights> {
  const { family, hidden, vocab, layers, headSize } = architecture;
  checkAllTensors(architecture, files);
  const embedding = await loader.table(family.embedding, [vocab, hidden]);
  const blocks: BlockWeights[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = family.layerPrefix(layer);
    const linears = blockLinears(architecture, layer);
    blocks.push({
      attentionNorm: await loader.vector(`${prefix}.${family.attentionNorm}`, hidden),
      mlpNorm: await loader.vector(`${prefix}.${family.mlpNorm}`, hidden),
      qkv: await loader.linear(linears.qkv),
      attentionOut: await loader.linear(linears.attentionOut),
      gateUp: await loader.linear(linears.gateUp),
      down: await loader.linear(linears.down),
    });
  }
  const finalNorm = await loader.vector(family.finalNorm, hidden);
  const head = architecture.hasTiedEmbeddings
    ? embedding
    : await loader.table(family.head, [vocab, hidden]);

  const rope = loader.allocate("rope.table", "f32", [positions, headSize]);
  write(gpu, rope, ropeTable(architecture.inverseFrequencies, positions));
  await gpu.check();
  return { embedding, head, finalNorm, blocks, ropeTable: rope };
}

export function freeWeights(gpu: Gpu, weights: Weights): void {
  const { embedding, head, blocks, finalNorm } = weights;
  const shards = head === embedding ? embedding : [...embedding, ...head];
  const linears = blocks.flatMap(({ qkv, attentionOut, gateUp, down }) => [
    qkv,
    attentionOut,
    gateUp,
    down,
  ]);
  const tensors = [
    finalNorm,
    weights.ropeTable,
    ...shards.map(({ tensor }) => tensor),
    ...blocks.flatMap(({ attentionNorm, mlpNorm }) => [attentionNorm, mlpNorm]),
    ...linears.flatMap((weight) =>
      "codes" in weight ? [weight.codes, weight.absmax] : [weight.tensor],
    ),
  ];
  for (const { at } of tensors) if (at) gpu.freeBuffer(at.buffer);
}

/** Finds every tensor before the first is read, so that a wrong file is refused at once. */
function checkAllTensors(architecture: Architecture, files: ModelFiles): void {
  const { family, hidden, vocab, layers, hasTiedEmbeddings } = architecture;
  requireTensor(files, `${family.embedding}.weight`, [vocab, hidden]);
  requireTensor(files, `${family.finalNorm}.weight`, [hidden]);
  if (!hasTiedEmbeddings) requireTensor(files, `${family.head}.weight`, [vocab, hidden]);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = family.layerPrefix(layer);
    requireTensor(files, `${prefix}.${family.attentionNorm}.weight`, [hidden]);
    requireTensor(files, `${prefix}.${family.mlpNorm}.weight`, [hidden]);
    for (const { segments, inputs } of Object.values(blockLinears(architecture, layer))) {
      for (const { path, rows } of segments) requireTensor(files, `${path}.weight`, [rows, inputs]);
    }
  }
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

  freeAll(): void {
    for (const tensor of this.#made) this.#gpu.free(tensor);
  }

  /** A norm's weight, f32. */
  async vector(module: string, size: number): Promise<StoredTensor> {
    const file = requireTensor(this.#files, `${module}.weight`, [size]);
    const bytes = await this.#files.folder.read(file.file, file.entry.start, file.entry.end);
    const tensor = this.allocate(module, "f32", [size]);
    write(this.#gpu, tensor, decodeFloats(bytes, dtypeOf(file)));
    this.#progress(bytes.byteLength);
    return tensor;
  }

  /** The embedding table or the head, in the file's own type, in as many shards as it needs. */
  async table(module: string, shape: readonly [number, number]): Promise<TableShard[]> {
    const file = requireTensor(this.#files, `${module}.weight`, shape);
    const [rows, columns] = shape;
    const { encoding, dtype, perElement } = storageOf(file);
    const rowBytes = columns * elementBytes(file);
    const limit = Math.floor(this.#gpu.maxTensorBytes / rowBytes / SHARD_ROWS) * SHARD_ROWS;
    const shards: TableShard[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += limit) {
      const count = Math.min(limit, rows - firstRow);
      const label = `${module}.${shards.length}`;
      const tensor = this.allocate(label, dtype, [count, columns * perElement]);
      const part = rangeOf(file, firstRow * rowBytes, count * rowBytes);
      await this.#upload(part, tensor, 0);
      shards.push({ tensor, encoding, firstRow, rows: count });
    }
    return shards;
  }

  /** A fused map: its modules' rows one after the other. */
  async linear(shape: LinearShape): Promise<Nf4Weight | PlainWeight> {
    const parts = shape.segments.map(({ path, rows }) =>
      requireTensor(this.#files, `${path}.weight`, [rows, shape.inputs]),
    );
    return this.#options.quantization === "nf4"
      ? this.#quantized(shape, parts)
      : this.#plain(shape, parts);
  }

  async #quantized(shape: LinearShape, parts: readonly TensorFile[]): Promise<Nf4Weight> {
    const { label, outputs, inputs } = shape;
    const { doubleQuant } = this.#options;
    const quantizer = createNf4Quantizer(this.#gpu, label, [outputs, inputs], { doubleQuant });
    try {
      let row = 0;
      for (const [index, part] of parts.entries()) {
        const rows = shape.segments[index]?.rows ?? 0;
        const tensor = quantizer.begin(row * inputs, rows * inputs, dtypeOf(part));
        for await (const { bytes } of readSlices(this.#files.folder, part)) {
          await tensor.push(bytes);
          this.#progress(bytes.byteLength);
        }
        await tensor.end();
        row += rows;
      }
    } catch (error) {
      quantizer.abandon();
      throw error;
    }
    const weight = quantizer.finish();
    this.#made.push(weight.codes, weight.absmax);
    return weight;
  }

  async #plain(shape: LinearShape, parts: readonly TensorFile[]): Promise<PlainWeight> {
    const { label, outputs, inputs } = shape;
    const first = parts[0];
    if (!first || parts.some((part) => dtypeOf(part) !== dtypeOf(first))) {
      throw new UserError(
        `${this.#files.folder.path}: the parts of ${label} are of different types (${parts.map(dtypeOf).join(", ")}).`,
        "Use quantization: nf4, which reads each in its own type.",
      );
    }
    const { dtype, perElement, encoding } = storageOf(first);
    const tensor = this.allocate(label, dtype, [outputs, inputs * perElement]);
    let offset = 0;
    for (const part of parts) {
      await this.#upload(part, tensor, offset);
      offset += part.entry.end - part.entry.start;
    }
    return { tensor, shape: [outputs, inputs], kind: KIND_OF[encoding] };
  }

  async #upload(file: TensorFile, tensor: StoredTensor, offset: number): Promise<void> {
    for await (const slice of readSlices(this.#files.folder, file)) {
      write(this.#gpu, tensor, slice.bytes, offset + slice.offset);
      this.#progress(slice.bytes.byteLength);
      // Waits, so that what is queued for upload never grows past a slice or two.
      await this.#gpu.finish();
    }
  }

  #progress(bytes: number): void {
    this.#loadedBytes += bytes;
    this.#options.onProgress?.(this.#loadedBytes, this.#files.totalBytes);
  }
}

function dtypeOf({ entry }: TensorFile): "F32" | "F16" | "BF16" {
  return entry.dtype as "F32" | "F16" | "BF16"; // requireTensor let no other pass
}

function elementBytes(file: TensorFile): number {
  return dtypeOf(file) === "F32" ? 4 : 2;
}

/** How a file's numbers lie on the GPU: as they are, two 16-bit numbers to a u32. */
function storageOf(file: TensorFile): {
  encoding: TableEncoding;
  dtype: "f32" | "u32";
  perElement: number;
} {
  const type = dtypeOf(file);
  if (type === "F32") return { encoding: "f32", dtype: "f32", perElement: 1 };
  return { encoding: type === "F16" ? "f16" : "bf16", dtype: "u32", perElement: 0.5 };
}

function rangeOf({ file, entry }: TensorFile, start: number, bytes: number): TensorFile {
  return {
    file,
    entry: { ...entry, start: entry.start + start, end: entry.start + start + bytes },
  };
}
