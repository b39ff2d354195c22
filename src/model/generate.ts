// Tokens out of a model, one at a time, with a cache of keys and values.
//
// Two programs are recorded: one takes a chunk of the prompt into the cache, the other takes one token,
// makes its logits and draws the next. The token drawn is written on the GPU where the next run reads it.
import { invariant } from "../base/error.ts";
import { type Program, Recorder } from "../gpu/program.ts";
import { read, readF32, type StoredTensor, type Tensor, write } from "../gpu/tensor.ts";
import { attentionCachedAppend, attentionCachedForward } from "../kernels/attention-cached.ts";
import { nf4Gemv } from "../kernels/nf4-gemv.ts";
import { rmsNormForward } from "../kernels/rms-norm.ts";
import { ropeForward } from "../kernels/rope.ts";
import { sample } from "../kernels/sample.ts";
import { type Block, type BlockParts, recordBlock, scoresOf, tableOf } from "./block.ts";
import { type Linear, loraOf, type Recording, recordLinear, recordLoraDown } from "./linear.ts";
import {
  blocksOf,
  type Model,
  recordEmbedding,
  recordHeadDown,
  recordLogits,
} from "./transformer.ts";

export interface Sampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
}

export interface GenerateOptions extends Sampling {
  readonly maxNewTokens: number;
  /** Generation ends when one of these is drawn; it is not among the tokens returned. */
  readonly endIds: readonly number[];
  readonly signal?: AbortSignal | undefined;
  /** Called with each token and its probability. Returning true ends the generation after it. */
  readonly onToken?: (id: number, probability: number) => boolean | void;
}

export interface Generated {
  readonly ids: number[];
  /** The one of `endIds` that was drawn, if one was. */
  readonly endId?: number;
  readonly endedBy: "stop" | "length" | "aborted";
}

interface Cache {
  readonly keys: StoredTensor;
  readonly values: StoredTensor;
}

const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 };

/** Prompt tokens taken per run. Enough to fill a GPU, little enough to waste few on a short prompt. */
const CHUNK_TOKENS = 32;

export class Generator {
  /** Rows behind the last token of a prompt that its last chunk may touch. */
  static readonly paddingTokens = CHUNK_TOKENS;
  /** Tokens that prompt and answer may have together. */
  readonly capacity: number;
  readonly #model: Model;
  readonly #parts: Parts;
  readonly #chunkIds: StoredTensor;
  readonly #token: StoredTensor;
  readonly #probability: StoredTensor;
  readonly #logits: StoredTensor;
  readonly #seen: StoredTensor;
  readonly #chunk: Program;
  readonly #decode: Program;
  /** Ids whose keys and values are in the cache. */
  #cached: number[] = [];
  /** How many of them, from the first, were taken in whole chunks counted from the start. */
  #chunked = 0;

  private constructor(model: Model, parts: Parts, chunk: Program, decode: Program) {
    this.#model = model;
    this.capacity = parts.capacity;
    this.#parts = parts;
    this.#chunkIds = parts.chunkIds;
    this.#token = parts.token;
    this.#probability = parts.probability;
    this.#logits = parts.logits;
    this.#seen = parts.seen;
    this.#chunk = chunk;
    this.#decode = decode;
  }

  /** Allocates a cache for `capacity` tokens and records both programs. */
  static async create(model: Model, capacity: number): Promise<Generator> {
    const parts = allocateParts(model, capacity);
    let chunk: Program | undefined;
    try {
      chunk = await buildChunkProgram(model, parts);
      const decode = await buildDecodeProgram(model, parts);
      return new Generator(model, parts, chunk, decode);
    } catch (error) {
      chunk?.free();
      freeParts(model, parts);
      throw error;
    }
  }

  /**
   * Continues `prompt`. What the prompt shares with the last call's tokens is not computed again.
   * The prompt must be shorter than `capacity`.
   */
  async generate(prompt: readonly number[], options: GenerateOptions): Promise<Generated> {
    this.#checkLength(prompt);
    this.#markSeen(prompt, options.repetitionPenalty);
    let next = this.#prefill(prompt, this.#sharedWith(prompt, this.#cached.length));
    const ids: number[] = [];
    while (ids.length < options.maxNewTokens && prompt.length + ids.length < this.capacity) {
      if (options.signal?.aborted) return { ids, endedBy: "aborted" };
      const { id, probability } = await this.#draw(next, options);
      if (options.endIds.includes(id)) return { ids, endId: id, endedBy: "stop" };
      ids.push(id);
      next = id;
      if (options.onToken?.(id, probability)) return { ids, endedBy: "stop" };
    }
    return { ids, endedBy: "length" };
  }

  /**
   * Logits of the token after `prompt`, f32 [vocab], the same to the bit whatever came before: of the cache,
   * only whole chunks are used again, which would be computed in the same pieces.
   */
  async logits(prompt: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    this.#checkLength(prompt);
    const shared = this.#sharedWith(prompt, this.#chunked);
    const last = this.#prefill(prompt, shared - (shared % CHUNK_TOKENS));
    this.#chunked = this.#cached.length - (this.#cached.length % CHUNK_TOKENS);
    await this.#draw(last, GREEDY);
    return (await readF32(this.#model.gpu, this.#logits)).slice();
  }

  /** Forgets the cache: the weights have changed. */
  reset(): void {
    this.#cached = [];
    this.#chunked = 0;
  }

  free(): void {
    freeParts(this.#model, this.#parts);
    this.#chunk.free();
    this.#decode.free();
  }

  #checkLength({ length }: readonly number[]): void {
    invariant(length > 0, () => "generate: the prompt is empty");
    invariant(
      length < this.capacity,
      () => `generate: ${length} prompt tokens, capacity ${this.capacity}`,
    );
  }

  /** How many tokens, of the first `limit` in the cache, `prompt` begins with, its last one aside. */
  #sharedWith(prompt: readonly number[], limit: number): number {
    const most = Math.min(limit, prompt.length - 1);
    let shared = 0;
    while (shared < most && this.#cached[shared] === prompt[shared]) shared++;
    return shared;
  }

  /** Takes all but the last token into the cache, behind the first `kept` in it, and returns the last. */
  #prefill(prompt: readonly number[], kept: number): number {
    const { gpu, step } = this.#model;
    let position = kept;
    this.#cached.length = kept;
    this.#chunked = Math.min(this.#chunked, kept);
    while (position < prompt.length - 1) {
      const ids = prompt.slice(position, Math.min(position + CHUNK_TOKENS, prompt.length - 1));
      const padded = new Uint32Array(CHUNK_TOKENS);
      padded.set(ids);
      write(gpu, this.#chunkIds, padded);
      step.set({ position, rows: ids.length });
      this.#chunk.run();
      this.#cached.push(...ids);
      position += ids.length;
    }
    return prompt.at(-1) ?? 0;
  }

  async #draw(
    last: number,
    { temperature, topK, topP, repetitionPenalty, seed }: Sampling,
  ): Promise<{ id: number; probability: number }> {
    const { gpu, step } = this.#model;
    const position = this.#cached.length;
    write(gpu, this.#token, Uint32Array.of(last));
    step.set({ position, rows: 1, temperature, topK, topP, repetitionPenalty, seed });
    this.#decode.run();
    this.#cached.push(last);
    const [ids, probabilities] = await Promise.all([
      read(gpu, this.#token, 0, 4),
      readF32(gpu, this.#probability),
    ]);
    return { id: new Uint32Array(ids)[0] ?? 0, probability: probabilities[0] ?? 0 };
  }

  #markSeen(prompt: readonly number[], repetitionPenalty: number): void {
    if (repetitionPenalty === 1) return;
    const seen = new Uint32Array(this.#model.architecture.vocab);
    for (const id of prompt) seen[id] = 1;
    write(this.#model.gpu, this.#seen, seen);
  }
}

interface Parts {
  readonly capacity: number;
  readonly caches: readonly Cache[];
  readonly chunkIds: StoredTensor;
  readonly token: StoredTensor;
  /** 0, 1, 2 …: a row's offset from the first row of its run; the shader adds the run's position. */
  readonly positions: StoredTensor;
  readonly probability: StoredTensor;
  /** f32 [1, vocab], of the token drawn last. */
  readonly logits: StoredTensor;
  readonly seen: StoredTensor;
}

function allocateParts({ gpu, architecture, act }: Model, capacity: number): Parts {
  const { kvHeads, headSize, layers, vocab } = architecture;
  // A chunk's padding rows are written behind its last token, so the cache has room for them.
  const shape = [capacity + CHUNK_TOKENS, kvHeads * headSize];
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
    probability: gpu.allocate("generate.probability", "f32", [1]),
    logits: gpu.allocate("generate.logits", "f32", [1, vocab]),
    seen: gpu.allocate("generate.seen", "u32", [vocab]),
  };
}

function freeParts({ gpu }: Model, parts: Parts): void {
  const { caches, capacity: _, ...own } = parts;
  const cached = caches.flatMap(({ keys, values }) => [keys, values]);
  for (const tensor of [...cached, ...Object.values(own)]) gpu.free(tensor);
}

function buildChunkProgram(model: Model, parts: Parts): Promise<Program> {
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

function buildDecodeProgram(model: Model, parts: Parts): Promise<Program> {
  const { gpu, architecture, act, weights } = model;
  const recorder = new Recorder(gpu, "decode", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout: 0 };
  const x = recordCached(recording, model, parts, parts.token, recordFewRows);
  const normed = recorder.transient("final_normed", act, x.shape);
  const { epsilon } = architecture;
  rmsNormForward(recorder, { x, weight: weights.finalNorm, y: normed, epsilon });
  const { seen, token, probability, logits } = parts;
  const headH = recordHeadDown(recording, model, normed);
  recordLogits(recording, model, { normed, headH, logits, first: 0, count: 1 });
  sample(recorder, { logits, seen, token, probability, row: 0 });
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
