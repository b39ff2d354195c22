// A model's weights: what there are of them, and their way from its files to the GPU.
//
// All places on the GPU are made first, so that what computes with them can be recorded while files are
// read. A whole file is never held. Matrices of the blocks become NF4 (or are taken as they are where the file
// has NF4), or stay in the file's type; embeddings and head stay as they are, cut into shards of rows
// where one binding cannot show them; norms and biases become f32.
import type { Gpu } from "../gpu/device.ts";
import type { StoredTensor } from "../gpu/tensor.ts";
import type { Nf4Weight, PlainWeight } from "../kernels/weight.ts";
import type { TableEncoding } from "../kernels/embed.ts";
import { ropeTable } from "../kernels/rope.ts";
import type { Architecture } from "./architecture.ts";
import type { ModelFiles } from "./files/checkpoint-files.ts";
import type { LinearName, NormNames } from "./families.ts";
import { blockLinears } from "./linears.ts";
import { checkAllTensors } from "./files/required-tensors.ts";
import { WeightLoader } from "./weight-loader.ts";

/** Rows [firstRow, firstRow + rows) of the embedding table or the head. */
export interface TableShard {
  /** f32 [rows, hidden], or u32 [rows, hidden / 2] of packed pairs. */
  readonly tensor: StoredTensor;
  readonly encoding: TableEncoding;
  readonly firstRow: number;
  readonly rows: number;
}

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

/** Weights that are on their way. */
export interface Loading {
  /** With their places on the GPU, and nothing in them yet. What computes with them may be recorded. */
  readonly weights: Weights;
  /** Fills them. Throws what went wrong, once nothing is under way any more; frees nothing. */
  fill(): Promise<void>;
}

/** Weights, allocated and filled. Frees them again where that fails or is aborted. */
export async function loadWeights(
  gpu: Gpu,
  architecture: Architecture,
  files: ModelFiles,
  options: LoadWeightsOptions,
): Promise<Weights> {
  const loading = beginLoading(gpu, architecture, files, options);
  try {
    await loading.fill();
  } catch (error) {
    freeWeights(gpu, loading.weights);
    throw error;
  }
  return loading.weights;
}

/** Finds and allocates everything, and reads nothing. */
export function beginLoading(
  gpu: Gpu,
  architecture: Architecture,
  files: ModelFiles,
  options: LoadWeightsOptions,
): Loading {
  checkAllTensors(architecture, files);
  const loader = new WeightLoader(gpu, files, options);
  try {
    const weights = planAll(architecture, options, loader);
    return { weights, fill: () => loader.fill() };
  } catch (error) {
    for (const tensor of loader.tensors) gpu.free(tensor);
    throw error;
  }
}

function planAll(
  architecture: Architecture,
  { positions, contextTokens = positions }: LoadWeightsOptions,
  loader: WeightLoader,
): Weights {
  const { family, hidden, vocab, layers, hasTiedEmbeddings, ropes } = architecture;
  const embedding = loader.table(family.embedding, [vocab, hidden]);
  const blocks = Array.from({ length: layers }, (_, layer): BlockWeights => {
    const { qkv, attentionOut, gateUp, down } = blockLinears(architecture, layer);
    return {
      norms: planNorms(architecture, layer, loader),
      linears: {
        qkv: loader.linear(qkv),
        attentionOut: loader.linear(attentionOut),
        gateUp: loader.linear(gateUp),
        down: loader.linear(down),
      },
    };
  });
  const finalNorm = loader.norm(family.finalNorm, hidden, family.normOffset);
  const head = hasTiedEmbeddings ? embedding : loader.table(family.head, [vocab, hidden]);
  const ropeTables = ropes.map(({ rotaryDims, anglesFor }, index) => {
    const { inverseFrequencies, scale } = anglesFor(contextTokens);
    return loader.computed(`rope.${index}`, [positions, rotaryDims], () =>
      ropeTable(inverseFrequencies, positions, scale),
    );
  });
  return { embedding, head, finalNorm, blocks, ropeTables, tensors: loader.tensors };
}

function planNorms(
  { family, hidden, headSize }: Architecture,
  layer: number,
  loader: WeightLoader,
): BlockNorms {
  const { norms, normOffset } = family;
  const norm = (name: string, size = hidden) =>
    loader.norm(`${family.layerPrefix(layer)}.${name}`, size, normOffset);
  const optional = (name: string | undefined, size = hidden) =>
    name === undefined ? undefined : norm(name, size);
  return {
    attention: norm(norms.attention),
    mlp: norm(norms.mlp),
    postAttention: optional(norms.postAttention),
    postMlp: optional(norms.postMlp),
    query: optional(norms.query, headSize),
    key: optional(norms.key, headSize),
  };
}

/** Frees every tensor of the weights. What was recorded over them must not run any more. */
export function freeWeights(gpu: Gpu, { tensors }: Weights): void {
  for (const tensor of tensors) gpu.free(tensor);
}
