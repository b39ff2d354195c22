// What generation keeps on the GPU, and its two programs: one takes a chunk of the prompt into the cache,
// the other takes one token, makes its logits and draws the next.
import { invariant } from "../base/error.ts";
import { type Program, Recorder } from "../gpu/program.ts";
import { type StoredTensor, type Tensor, write } from "../gpu/tensor.ts";
import { attentionCachedAppend, attentionCachedForward } from "../kernels/attention-cached.ts";
import { nf4Gemv } from "../kernels/nf4-gemv.ts";
import { rmsNormForward } from "../kernels/rms-norm.ts";
import { ropeForward } from "../kernels/rope.ts";
import { sample } from "../kernels/sample.ts";
import { type Block, type BlockParts, recordBlock, scoresOf, tableOf } from "./block.ts";
import { MOST_PER_BATCH } from "./pace.ts";
import { type Linear, loraOf, type Recording, recordLinear, recordLoraDown } from "./linear.ts";
import {
  blocksOf,
  type Model,
  recordEmbedding,
  recordHeadDown,
  recordLogits,
} from "./transformer.ts";

/** Prompt tokens taken per run. Enough to fill a GPU, little enough to waste few on a short prompt. */
export const CHUNK_TOKENS = 32;

/** Draws that are kept for reading back; at least as many as are ever under way. */
export const DRAWN_SLOTS = 2 * MOST_PER_BATCH;

interface Cache {
  readonly keys: StoredTensor;
  readonly values: StoredTensor;
}

export interface Parts {
  readonly capacity: number;
  readonly caches: readonly Cache[];
  readonly chunkIds: StoredTensor;
  readonly token: StoredTensor;
  /** 0, 1, 2 …: a row's offset from the first row of its run; the shader adds the run's position. */
  readonly positions: StoredTensor;
  /** u32 [DRAWN_SLOTS, 2]: ids and the bits of their probabilities, by position. */
  readonly drawn: StoredTensor;
  /** f32 [1, vocab], of the token drawn last. */
  readonly logits: StoredTensor;
  readonly seen: StoredTensor;
}

export function allocateParts({ gpu, architecture, act }: Model, capacity: number): Parts {
  const { kvHeads, headSize, layers, vocab } = architecture;
  const shape = [capacity, kvHeads * headSize];
  const positions = gpu.allocate("generate.positions", "u32", [CHUNK_TOKENS]);
  write(
    gpu,
    positions,
    Uint32Array.from({ length: CHUNK_TOKENS }, (_, i) => i),
  );
  return {
    capacity,
    caches: Array.from({ length: layers }, (_, layer) => ({
      keys: gpu.allocate(`cache.${layer}.keys`, act, shape),
      values: gpu.allocate(`cache.${layer}.values`, act, shape),
    })),
    chunkIds: gpu.allocate("generate.ids", "u32", [CHUNK_TOKENS]),
    token: gpu.allocate("generate.token", "u32", [1]),
    positions,
    drawn: gpu.allocate("generate.drawn", "u32", [DRAWN_SLOTS, 2]),
    logits: gpu.allocate("generate.logits", "f32", [1, vocab]),
    seen: gpu.allocate("generate.seen", "u32", [vocab]),
  };
}

export function freeParts({ gpu }: Model, parts: Parts): void {
  const { caches, capacity: _, ...own } = parts;
  const cached = caches.flatMap(({ keys, values }) => [keys, values]);
  for (const tensor of [...cached, ...Object.values(own)]) gpu.free(tensor);
}

export function buildChunkProgram(model: Model, parts: Parts): Promise<Program> {
  const recorder = new Recorder(model.gpu, "prefill", model.workspace, model.step);
  recordCached(
    { recorder, act: model.act, dropout: 0 },
    model,
    parts,
    parts.chunkIds,
    recordLinear,
  );
  return recorder.build();
}

export function buildDecodeProgram(model: Model, parts: Parts): Promise<Program> {
  const { gpu, architecture, act, weights } = model;
  const recorder = new Recorder(gpu, "decode", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout: 0 };
  const x = recordCached(recording, model, parts, parts.token, recordFewRows);
  const normed = recorder.transient("final_normed", act, x.shape);
  const { epsilon } = architecture;
  rmsNormForward(recorder, { x, weight: weights.finalNorm, y: normed, epsilon });
  const { seen, token, drawn, logits } = parts;
  const headH = recordHeadDown(recording, model, normed);
  recordLogits(recording, model, { normed, headH, logits, first: 0, count: 1 });
  sample(recorder, { logits, seen, token, drawn, row: 0 });
  return recorder.build();
}

type RecordLinear = (
  recording: Recording,
  linear: Linear,
  operands: { x: Tensor; y: Tensor; residual?: Tensor },
) => Tensor | undefined;

/** All blocks over the cache. Returns the residual stream after the last. */
function recordCached(
  recording: Recording,
  model: Model,
  parts: Parts,
  ids: Tensor,
  linear: RecordLinear,
): Tensor {
  const { recorder } = recording;
  let x = recordEmbedding(recording, model, ids);
  for (const block of blocksOf(model)) {
    const out = recorder.transient(`layers.${block.index}.out`, "f32", x.shape);
    const cached: BlockParts = {
      linear: (map, operands) => linear(recording, map, operands),
      attend: cachedAttention(recording, model, parts, block),
    };
    recordBlock(recording, model.architecture, block, cached, x, out);
    x = out;
  }
  return x;
}

/** Turns new rows by where they stand, puts their keys and values into the cache, and attends to all. */
function cachedAttention(
  { recorder }: Recording,
  { architecture, weights }: Model,
  { caches, positions }: Parts,
  { index, kind }: Block,
): BlockParts["attend"] {
  const cache = caches[index];
  invariant(cache !== undefined, () => `no cache for layer ${index}`);
  return (qkv, attended, layout) => {
    const table = tableOf(weights, kind);
    const rows = qkv.shape[0] ?? 0;
    const rowPositions = rows === 1 ? { ...positions, shape: [1], bytes: 16 } : positions;
    ropeForward(recorder, { qkv, positions: rowPositions, table, layout, usesStepPosition: true });
    attentionCachedAppend(recorder, { qkv, ...cache, layout });
    const scores = scoresOf(architecture, kind);
    attentionCachedForward(recorder, { qkv, ...cache, o: attended, layout, ...scores });
    return undefined;
  };
}

/** A linear map for few rows: NF4 is unpacked where it is used instead of into a scratch matrix. */
function recordFewRows(
  recording: Recording,
  linear: Linear,
  operands: { x: Tensor; y: Tensor; residual?: Tensor },
): Tensor | undefined {
  const { weight, lora, bias } = linear;
  if (!("codes" in weight)) return recordLinear(recording, linear, operands);
  const h = recordLoraDown(recording, linear, operands.x);
  nf4Gemv(recording.recorder, {
    ...operands,
    weight,
    ...(bias && { bias }),
    ...(h && lora && { lora: loraOf(lora, h) }),
  });
  return h;
}
