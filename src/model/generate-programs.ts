// What generation keeps on the GPU, and its programs: some take a chunk of the prompt into the cache, the
// other takes one token, makes its logits and draws the next.
import { invariant } from "../base/error.ts";
import { type Program, Recorder } from "../gpu/program.ts";
import { slice, type StoredTensor, type Tensor } from "../gpu/tensor.ts";
import {
  allocateCache,
  type CacheStorage,
  cacheTensors,
  type KvCache,
} from "../kernels/kv-cache.ts";
import { rmsNormForward } from "../kernels/rms-norm.ts";
import { sample } from "../kernels/sample.ts";
import { recordCachedBlock, recordFewDown } from "./cached-block.ts";
import type { Recording } from "./linear.ts";
import { headLinear } from "./linears.ts";
import { MOST_PER_BATCH } from "./pace.ts";
import { chunkSizes } from "./prefill-plan.ts";
import { recordLogits } from "./head.ts";
import { blocksOf, type Model, recordEmbedding } from "./transformer.ts";

/** Draws that are kept for reading back; at least as many as are ever under way. */
export const DRAWN_SLOTS = 2 * MOST_PER_BATCH;

export interface GeneratorOptions {
  /** How keys and values are kept: `auto` as activations are, `int8` as bytes with a scale for each head. */
  readonly kvCache?: KvCacheChoice | undefined;
  /** Sizes of the runs that take a prompt in, the largest first; as suits the adapter, if not given. */
  readonly chunkTokens?: readonly number[] | undefined;
}

type KvCacheChoice = "auto" | "f16" | "int8";

export interface Parts {
  readonly capacity: number;
  /** Tokens of the runs that take a prompt in, the largest first. */
  readonly sizes: readonly number[];
  readonly caches: readonly KvCache<StoredTensor>[];
  readonly chunkIds: StoredTensor;
  readonly token: StoredTensor;
  /** u32 [DRAWN_SLOTS, 2]: ids and the bits of their probabilities, by position. */
  readonly drawn: StoredTensor;
  /** f32 [1, vocab], of the token drawn last. */
  readonly logits: StoredTensor;
  readonly seen: StoredTensor;
}

export function allocateParts(
  { gpu, architecture, act }: Model,
  capacity: number,
  { kvCache = "auto", chunkTokens }: GeneratorOptions,
): Parts {
  const sizes = chunkTokens ?? chunkSizes(gpu.info.isFallbackAdapter, capacity);
  const { kvHeads, headSize, layers, vocab } = architecture;
  const shape = { capacity, width: kvHeads * headSize, kvHeads, act };
  return {
    capacity,
    sizes,
    caches: Array.from({ length: layers }, (_, layer) =>
      allocateCache(gpu, `cache.${layer}`, storageOf(kvCache, act), shape),
    ),
    chunkIds: gpu.allocate("generate.ids", "u32", [Math.max(...sizes)]),
    token: gpu.allocate("generate.token", "u32", [1]),
    drawn: gpu.allocate("generate.drawn", "u32", [DRAWN_SLOTS, 2]),
    logits: gpu.allocate("generate.logits", "f32", [1, vocab]),
    seen: gpu.allocate("generate.seen", "u32", [vocab]),
  };
}

function storageOf(choice: KvCacheChoice, act: "f32" | "f16"): CacheStorage {
  if (choice === "int8") return "int8";
  // Where activations are f16, what is kept as they are is f16.
  return choice === "f16" && act === "f32" ? "f16" : "native";
}

export function freeParts({ gpu }: Model, parts: Parts): void {
  const { caches, capacity: _, sizes: _sizes, ...own } = parts;
  const cached = caches.flatMap(cacheTensors);
  for (const tensor of [...cached, ...Object.values(own)]) gpu.free(tensor);
}

/** Takes `size` tokens of a prompt in. */
export function buildChunkProgram(model: Model, parts: Parts, size: number): Promise<Program> {
  const ids = slice(parts.chunkIds, `generate.ids.${size}`, 0, [size]);
  const recorder = new Recorder(model.gpu, "prefill", model.workspace, model.step);
  recordCached({ recorder, act: model.act, dropout: 0 }, model, parts, ids);
  return recorder.build();
}

export function buildDecodeProgram(model: Model, parts: Parts): Promise<Program> {
  const { gpu, architecture, act, weights, adapter } = model;
  const recorder = new Recorder(gpu, "decode", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout: 0 };
  const x = recordCached(recording, model, parts, parts.token);
  const normed = recorder.transient("final_normed", act, x.shape);
  const { epsilon } = architecture;
  rmsNormForward(recorder, { x, weight: weights.finalNorm, y: normed, epsilon });
  const { seen, token, drawn, logits } = parts;
  const headLora = adapter?.slots.get(headLinear(architecture).label);
  const headH = headLora && recordFewDown(recorder, headLora, normed);
  recordLogits(recording, model, { normed, headH, logits, first: 0, count: 1, isToken: true });
  sample(recorder, { logits, seen, token, drawn, row: 0 });
  return recorder.build();
}

/** All blocks over the cache. Returns the residual stream after the last. */
function recordCached(recording: Recording, model: Model, parts: Parts, ids: Tensor): Tensor {
  const { recorder } = recording;
  let x = recordEmbedding(recording, model, ids);
  for (const block of blocksOf(model)) {
    const out = recorder.transient(`layers.${block.index}.out`, "f32", x.shape);
    const cache = parts.caches[block.index];
    invariant(cache !== undefined, () => `no cache for layer ${block.index}`);
    recordCachedBlock({ recording, model, block, cache }, x, out);
    x = out;
  }
  return x;
}
