// A model in a GGUF file, as if it were a Hugging Face folder: the same names, rows in the same order,
// the same numbers, and a config.json.
//
// Weights are read and unpacked range by range. What llama.cpp's converter did to a tensor is undone in
// reading it.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import { formatBytes } from "../../base/format.ts";
import { decodeFloats, type FloatDtype } from "../../formats/float.ts";
import {
  dequantize,
  ggmlBlock,
  isQuantized,
  isReadable,
  READABLE_TYPES,
  type ReadableType,
} from "../../formats/gguf-blocks.ts";
import {
  type GgufHeader,
  type GgufMetadata,
  type GgufTensor,
  parseGguf,
} from "../../formats/gguf.ts";
import type { JsonObject } from "../../formats/json.ts";
import { type ModelFiles, sizeInBytes, type SourceTensor } from "./checkpoint-files.ts";
import { ggufConfig, type GgufSizes, ggufSizes, type GgufTensorFacts } from "./gguf-config.ts";
import { GGUF_ARCHITECTURES, type GgufArchitecture, huggingFaceName } from "./gguf-names.ts";

export interface GgufModel {
  /** What config.json of the Hugging Face model would say. */
  readonly config: JsonObject;
  readonly files: ModelFiles;
  /** Of which the tokenizer is made. */
  readonly metadata: GgufMetadata;
}

/** Tensors that belong to the config. */
const ROPE_FACTORS = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/** Reads the header, not the weights. Refuses a model that Hone cannot compute as it is meant. */
export async function openGguf(folder: Folder, file: string): Promise<GgufModel> {
  const place = `${folder.path}/${file}`;
  refuseParts(/-\d{5}-of-(\d{5})\.gguf$/i.exec(file)?.[1], place);
  const { metadata, tensors } = await readGguf(folder, file);
  refuseParts(metadata.get("split.count"), place);
  const architecture = findArchitecture(metadata, place);
  const sizes = ggufSizes(metadata, architecture, place);

  const inFile = new Map(
    tensors.map((tensor) => [tensor.name, asStored(folder, place, file, tensor)]),
  );
  const named = new Map<string, SourceTensor>();
  let totalBytes = 0;
  for (const [name, stored] of inFile) {
    if (ROPE_FACTORS.includes(name)) continue;
    const tensor = asConverted(name, stored, architecture, sizes);
    named.set(tensor.name, tensor);
    totalBytes += sizeInBytes(tensor.dtype, elementsOf(tensor));
  }
  const facts = await tensorFacts(inFile, tensors, place);
  return {
    config: ggufConfig(metadata, architecture, sizes, facts, place),
    files: { path: place, tensors: named, totalBytes },
    metadata,
  };
}

const FIRST_READ_BYTES = 4 * 2 ** 20;
/** The largest headers known, of 262,144 tokens, take about 20 MB. */
const HEADER_LIMIT_BYTES = 2 ** 28;

/** The header, from as little of the file as holds it. */
export async function readGguf(folder: Folder, file: string): Promise<GgufHeader> {
  const place = `${folder.path}/${file}`;
  const fileBytes = await folder.size(file);
  if (fileBytes === undefined) throw new UserError(`${place} is missing.`, "Check the path.");
  for (let readBytes = FIRST_READ_BYTES; ; readBytes *= 4) {
    const end = Math.min(readBytes, fileBytes, HEADER_LIMIT_BYTES);
    const header = parseGguf(await folder.read(file, 0, end), fileBytes, place);
    if (header) return header;
    if (end === HEADER_LIMIT_BYTES) {
      throw new UserError(
        `${place} has a header of more than ${formatBytes(HEADER_LIMIT_BYTES)}, the limit.`,
        "Check that this is the GGUF file of a language model.",
      );
    }
  }
}

function refuseParts(count: unknown, place: string): void {
  if (count === undefined || Number(count) <= 1) return;
  throw new UserError(
    `${place} is one of the ${Number(count)} parts of a model.`,
    "Choose a model in one file, or join the parts with llama-gguf-split --merge.",
  );
}

function findArchitecture(metadata: GgufMetadata, place: string): GgufArchitecture {
  const name = metadata.get("general.architecture");
  const found = typeof name === "string" ? GGUF_ARCHITECTURES.get(name) : undefined;
  if (found) return found;
  throw new UserError(
    `${place}: general.architecture is ${typeof name === "string" ? `"${name}"` : "missing"}, which Hone does not know.`,
    `Choose a model of one of these: ${[...GGUF_ARCHITECTURES.keys()].join(", ")}.`,
  );
}

/** A tensor with the numbers and the order of the file; quantized ones as f32. */
type StoredTensor = SourceTensor & { readonly dtype: FloatDtype };

function asStored(folder: Folder, place: string, file: string, tensor: GgufTensor): StoredTensor {
  const { name, shape, type, start: begin } = tensor;
  if (!isReadable(type)) {
    throw new UserError(
      `${place}: ${name} is ${type}; Hone reads ${READABLE_TYPES}.`,
      "Choose another quantization of the model: Q4_K_M, say, or Q8_0.",
    );
  }
  const block = ggmlBlock(type);
  return {
    name,
    shape,
    dtype: isQuantized(type) ? "F32" : type,
    ...(isQuantized(type) && { isUnpacked: true }),
    place,
    async read(start, end) {
      const first = Math.floor(start / block.values);
      const last = Math.ceil(end / block.values);
      const bytes = await folder.read(
        file,
        begin + first * block.bytes,
        begin + last * block.bytes,
      );
      return isQuantized(type)
        ? unpack(bytes, type, start - first * block.values, end - start)
        : bytes;
    },
  };
}

/** The bytes of `count` f32 from index `skip` on. */
function unpack(
  bytes: Uint8Array,
  type: ReadableType,
  skip: number,
  count: number,
): Uint8Array<ArrayBuffer> {
  const values = dequantize(bytes, type);
  const wanted = values.length === count ? values : values.slice(skip, skip + count);
  return new Uint8Array(wanted.buffer);
}

/** Under its Hugging Face name, with what the converter did undone. */
function asConverted(
  storedName: string,
  stored: StoredTensor,
  architecture: GgufArchitecture,
  sizes: GgufSizes,
): SourceTensor {
  const name = huggingFaceName(storedName, architecture, sizes.layers);
  if (name === undefined) {
    throw new UserError(
      `${stored.place} has the tensor ${storedName}, which Hone does not know in a ${architecture.name} of ${sizes.layers} layers.`,
      "Choose another model.",
    );
  }
  const tensor = { ...stored, name };
  if (architecture.hasShiftedNorms && name.endsWith("norm.weight")) return withoutOne(tensor);
  if (architecture.isPermuted) {
    if (name.includes(".q_proj.")) return withHalvesApart(tensor, sizes.heads);
    if (name.includes(".k_proj.")) return withHalvesApart(tensor, sizes.kvHeads);
  }
  return tensor;
}

/** Gemma: the file holds 1 + w. As f32, in which the converter added. */
function withoutOne(tensor: StoredTensor): SourceTensor {
  return {
    ...tensor,
    dtype: "F32",
    async read(start, end) {
      const values = decodeFloats(await tensor.read(start, end), tensor.dtype);
      for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) - 1;
      return new Uint8Array(values.buffer);
    },
  };
}

/**
 * Llama: RoPE turns dimensions i and i + half of a head together; the file has such pairs in
 * neighboring rows, since ggml turns 2i and 2i + 1 there. Rows of a weight, elements of a bias.
 */
function withHalvesApart(tensor: StoredTensor, heads: number): SourceTensor {
  const [rows = 0, columns = 1] = tensor.shape;
  const half = rows / heads / 2;
  if (!Number.isInteger(half)) {
    throw new UserError(
      `${tensor.place}: ${tensor.name} has ${rows} rows, which are no ${heads} heads of an even size.`,
      "Get the file again from where it was made.",
    );
  }
  const rowBytes = sizeInBytes(tensor.dtype, columns);
  const headElements = 2 * half * columns;
  return {
    ...tensor,
    async read(start, end) {
      // Whole heads are read, of which the wanted rows are taken. A range may begin and end in a row.
      const firstHead = Math.floor(start / headElements);
      const lastHead = Math.ceil(end / headElements);
      const stored = await tensor.read(firstHead * headElements, lastHead * headElements);
      const firstRow = Math.floor(start / columns);
      const lastRow = Math.ceil(end / columns);
      const bytes = new Uint8Array((lastRow - firstRow) * rowBytes);
      for (let row = firstRow; row < lastRow; row++) {
        const inHead = row % (2 * half);
        const storedRow = row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
        const from = (storedRow - firstHead * 2 * half) * rowBytes;
        bytes.set(stored.subarray(from, from + rowBytes), (row - firstRow) * rowBytes);
      }
      const elementBytes = rowBytes / columns;
      const skip = (start - firstRow * columns) * elementBytes;
      const length = (end - start) * elementBytes;
      return length === bytes.length ? bytes : bytes.slice(skip, skip + length);
    },
  };
}

async function tensorFacts(
  inFile: ReadonlyMap<string, StoredTensor>,
  tensors: readonly GgufTensor[],
  place: string,
): Promise<GgufTensorFacts> {
  const embedding = inFile.get("token_embd.weight");
  if (!embedding) {
    throw new UserError(
      `${place} has no tensor token_embd.weight, the embedding.`,
      "Choose the file of a whole model; this may be an adapter or a vocabulary alone.",
    );
  }
  const matrices = new Set(tensors.filter(({ shape }) => shape.length > 1).map(({ type }) => type));
  const [type] = matrices;
  const names = { BF16: "bfloat16", F16: "float16", F32: "float32" };
  const isPlain = matrices.size === 1 && type !== undefined && type in names;
  const [frequencyFactors, longFactors, shortFactors] = await Promise.all(
    ROPE_FACTORS.map((name) => readFactors(inFile.get(name))),
  );
  return {
    vocab: embedding.shape[0] ?? 0,
    hasHead: inFile.has("output.weight"),
    hasAttentionBias: inFile.has("blk.0.attn_q.bias"),
    hasMlpBias: inFile.has("blk.0.ffn_up.bias"),
    frequencyFactors,
    longFactors,
    shortFactors,
    dtype: isPlain ? names[type as keyof typeof names] : undefined,
  };
}

/** More pairs than a head of any model has. */
const MOST_FACTORS = 4096;

async function readFactors(tensor: StoredTensor | undefined): Promise<Float32Array | undefined> {
  if (!tensor) return undefined;
  const count = elementsOf(tensor);
  if (count > MOST_FACTORS) {
    throw new UserError(
      `${tensor.place}: ${tensor.name} has ${count} numbers, more than a head has dimensions.`,
      "Get the file again from where it was made.",
    );
  }
  return decodeFloats(await tensor.read(0, count), tensor.dtype);
}

function elementsOf({ shape }: SourceTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}
