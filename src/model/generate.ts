// Tokens out of a model, with a cache of keys and values.
//
// The token drawn is written on the GPU where the next run reads it, so that runs are submitted ahead and
// what they drew is read back some tokens at a time. What was drawn past the answer's end is dropped, and
// counts as never computed: every answer is to the bit what it is with one token at a time.
import { invariant } from "../base/error.ts";
import type { Program } from "../gpu/program.ts";
import { ReportRing } from "../gpu/report-ring.ts";
import { readF32, write } from "../gpu/tensor.ts";
import {
  allocateParts,
  buildChunkProgram,
  buildDecodeProgram,
  DRAWN_SLOTS,
  freeParts,
  type GeneratorOptions,
  type Parts,
} from "./generate-programs.ts";
import { type Flight, Pace } from "./pace.ts";
import { knownPieces, planPieces } from "./prefill-plan.ts";
import type { Model } from "./transformer.ts";

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
  /** How many tokens to have on the way; by their time, if not given. The tokens do not depend on it. */
  readonly flight?: Flight;
}

export interface Generated {
  readonly ids: number[];
  /** The one of `endIds` that was drawn, if one was. */
  readonly endId?: number;
  readonly endedBy: "stop" | "length" | "aborted";
}

interface Drawn {
  readonly id: number;
  readonly probability: number;
}

const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 };

/** Batches of tokens under way at the most. */
const MOST_BATCHES = 2;

export class Generator {
  /** Tokens that prompt and answer may have together. */
  readonly capacity: number;
  readonly #model: Model;
  readonly #parts: Parts;
  /** By the size of their runs. */
  readonly #chunks: ReadonlyMap<number, Program>;
  readonly #decode: Program;
  readonly #ring: ReportRing;
  readonly #pace = new Pace();
  /** Ids whose keys and values are in the cache. */
  #cached: number[] = [];
  /** Sizes of the whole runs, counted from the start, in which the first of them were taken in. */
  #pieces: number[] = [];

  /** Sizes of the runs that took the last prompt in, and when they were begun. */
  #taken: { readonly sizes: readonly number[]; readonly begunMs: number } | undefined;

  private constructor(
    model: Model,
    parts: Parts,
    chunks: ReadonlyMap<number, Program>,
    decode: Program,
  ) {
    this.#model = model;
    this.capacity = parts.capacity;
    this.#parts = parts;
    this.#chunks = chunks;
    this.#decode = decode;
    this.#ring = new ReportRing(model.gpu, parts.drawn, MOST_BATCHES);
  }

  /** Allocates a cache for `capacity` tokens and records its programs. */
  static async create(
    model: Model,
    capacity: number,
    options: GeneratorOptions = {},
  ): Promise<Generator> {
    const parts = allocateParts(model, capacity, options);
    const chunks = new Map<number, Program>();
    try {
      for (const size of parts.sizes) chunks.set(size, await buildChunkProgram(model, parts, size));
      const decode = await buildDecodeProgram(model, parts);
      return new Generator(model, parts, chunks, decode);
    } catch (error) {
      for (const program of chunks.values()) program.free();
      freeParts(model, parts);
      throw error;
    }
  }

  /** Dispatches of a token's program, for tests and the benchmark. */
  get decodeDispatches(): readonly string[] {
    return this.#decode.dispatchNames;
  }

  /**
   * Continues `prompt`. What the prompt shares with the last call's tokens is not computed again.
   * The prompt must be shorter than `capacity`.
   */
  async generate(prompt: readonly number[], options: GenerateOptions): Promise<Generated> {
    this.#checkLength(prompt);
    this.#markSeen(prompt, options.repetitionPenalty);
    let last = this.#prefill(prompt, this.#sharedWith(prompt, this.#cached.length));
    const ids: number[] = [];
    const most = Math.min(options.maxNewTokens, this.capacity - prompt.length);
    const draws = this.#draws(last, most, options);
    try {
      while (ids.length < most) {
        if (options.signal?.aborted) return { ids, endedBy: "aborted" };
        const { value: drawn } = await draws.next();
        invariant(drawn !== undefined, () => `generate: ${ids.length} of ${most} tokens came`);
        const { id, probability } = drawn;
        // Only now: a token whose successor nobody looked at counts as never taken in.
        this.#cached.push(last);
        if (options.endIds.includes(id)) return { ids, endId: id, endedBy: "stop" };
        ids.push(id);
        last = id;
        if (options.onToken?.(id, probability)) return { ids, endedBy: "stop" };
      }
      return { ids, endedBy: "length" };
    } finally {
      await draws.return(undefined);
    }
  }

  /**
   * Logits of the token after `prompt`, f32 [vocab], the same to the bit whatever came before: of the cache,
   * only whole runs are used again that would be the same.
   */
  async logits(prompt: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    this.#checkLength(prompt);
    const pieces = planPieces(prompt.length - 1, this.#parts.sizes);
    const shared = this.#sharedWith(prompt, this.#cached.length);
    const known = this.#pieces.slice(0, knownPieces(pieces, this.#pieces, shared));
    const last = this.#prefill(prompt, sumOf(known));
    this.#pieces = pieces.flatMap(({ size, rows }) => (size === rows ? [size] : []));
    write(this.#model.gpu, this.#parts.token, Uint32Array.of(last));
    this.#decodeAt(this.#cached.length, GREEDY);
    this.#cached.push(last);
    return (await readF32(this.#model.gpu, this.#parts.logits)).slice();
  }

  /** Forgets the cache: the weights have changed. */
  reset(): void {
    this.#cached = [];
    this.#pieces = [];
  }

  free(): void {
    freeParts(this.#model, this.#parts);
    this.#ring.free();
    for (const program of this.#chunks.values()) program.free();
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
    while (sumOf(this.#pieces) > kept) this.#pieces.pop();
    const pieces = planPieces(prompt.length - 1 - kept, this.#parts.sizes);
    this.#taken = { sizes: pieces.map(({ size }) => size), begunMs: performance.now() };
    for (const { size, rows } of pieces) {
      const ids = prompt.slice(position, position + rows);
      const padded = new Uint32Array(size);
      padded.set(ids);
      write(gpu, this.#parts.chunkIds, padded);
      step.set({ position, rows });
      this.#chunks.get(size)?.run();
      this.#cached.push(...ids);
      position += rows;
    }
    return prompt.at(-1) ?? 0;
  }

  /** Draws `most` tokens after `last`, ahead of whoever takes them; returning waits for those under way. */
  async *#draws(
    last: number,
    most: number,
    options: GenerateOptions,
  ): AsyncGenerator<Drawn, undefined, undefined> {
    const start = this.#cached.length;
    const underWay: { readonly first: number; readonly count: number; readonly drawn: Arrival }[] =
      [];
    let submitted = 0;
    let arrivedMs: number | undefined;
    write(this.#model.gpu, this.#parts.token, Uint32Array.of(last));
    try {
      for (let taken = 0; taken < most;) {
        const flight = options.flight ?? this.#pace.flight;
        while (submitted < most && underWay.length < Math.min(flight.batches, MOST_BATCHES)) {
          const count = Math.min(flight.tokens, most - submitted, DRAWN_SLOTS / MOST_BATCHES);
          const first = start + submitted;
          for (let i = 0; i < count; i++) this.#decodeAt(first + i, options);
          underWay.push({ first, count, drawn: this.#ring.capture() });
          submitted += count;
        }
        const [batch] = underWay;
        if (!batch) return undefined;
        const words = new DataView((await batch.drawn).buffer);
        underWay.shift();
        const now = performance.now();
        // The first comes behind the prompt, and tells of that rather than of a token's time.
        if (arrivedMs === undefined) this.#learnOfPrompt(now);
        else this.#learn(batch.count, now - arrivedMs);
        arrivedMs = now;
        for (let i = 0; i < batch.count; i++) {
          const slot = (batch.first + i) % DRAWN_SLOTS;
          taken++;
          yield {
            id: words.getUint32(slot * 8, true),
            probability: words.getFloat32(slot * 8 + 4, true),
          };
        }
      }
      return undefined;
    } finally {
      // Nothing may be under way when the caller goes on to other work, or frees this.
      await Promise.allSettled(underWay.map(({ drawn }) => drawn));
    }
  }

  #learn(tokens: number, ms: number): void {
    this.#pace.learn(tokens, ms);
    this.#decode.learnSpeed(this.#pace.secondsPerToken ?? 0);
  }

  #learnOfPrompt(now: number): void {
    const { sizes = [], begunMs = now } = this.#taken ?? {};
    for (const size of new Set(sizes)) {
      const seconds = ((now - begunMs) / 1000) * (size / sumOf(sizes));
      this.#chunks.get(size)?.learnSpeed(seconds);
    }
  }

  /** Submits one run, which takes the token drawn last in at `position` and draws the next. */
  #decodeAt(
    position: number,
    { temperature, topK, topP, repetitionPenalty, seed }: Sampling,
  ): void {
    this.#model.step.set({ position, rows: 1, temperature, topK, topP, repetitionPenalty, seed });
    this.#decode.run();
  }

  #markSeen(prompt: readonly number[], repetitionPenalty: number): void {
    if (repetitionPenalty === 1) return;
    const seen = new Uint32Array(this.#model.architecture.vocab);
    for (const id of prompt) seen[id] = 1;
    write(this.#model.gpu, this.#parts.seen, seen);
  }
}

function sumOf(sizes: readonly number[]): number {
  return sizes.reduce((sum, size) => sum + size, 0);
}

type Arrival = Promise<Float32Array<ArrayBuffer>>;
