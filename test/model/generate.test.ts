// Tokens on the way: whatever is computed ahead, an answer is to the bit what it is token by token.
import { describe, expect, test } from "vitest";
import { type GenerateOptions, Generator } from "../../src/model/generate.ts";
import { type Flight, MOST_PER_BATCH, Pace } from "../../src/model/pace.ts";
import { chunkSizes, knownPieces, planPieces } from "../../src/model/prefill-plan.ts";
import { testGpu } from "../gpu.ts";
import { loadTiny, relativeError } from "./tiny.ts";

const gpu = await testGpu();
const act = gpu.hasF16 ? "f16" : "f32";
const model = await loadTiny(gpu, "tiny-llama", {
  quantization: "nf4",
  act,
  adapter: "tiny-llama-adapter",
});
const CAPACITY = 72;
const generator = await Generator.create(model, CAPACITY);

const SINGLE = { tokens: 1, batches: 1 };
const FLIGHTS = [
  { tokens: 3, batches: 2 },
  { tokens: MOST_PER_BATCH, batches: 2 },
];
const PROMPT = Array.from({ length: 35 }, (_, i) => (7 * i * i + 3) % model.architecture.vocab);
const GREEDY = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 1 };
const DRAWN = { temperature: 1.3, topK: 0, topP: 1, repetitionPenalty: 1, seed: 3 };
const PENALIZED = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1.4, seed: 5 };
const EVERYTHING = { temperature: 1.5, topK: 40, topP: 0.95, repetitionPenalty: 1.2, seed: 6 };

/** One answer with all that is told of it. */
async function answer(options: Partial<GenerateOptions>, prompt: readonly number[] = PROMPT) {
  const told: [number, number][] = [];
  const { onToken, ...rest } = options;
  const generated = await generator.generate(prompt, {
    ...GREEDY,
    maxNewTokens: 9,
    endIds: [],
    ...rest,
    onToken(id, probability) {
      told.push([id, probability]);
      return onToken?.(id, probability);
    },
  });
  return { ...generated, told };
}

/** Two turns of a conversation, the second over what the first has left in the cache. */
async function conversation(options: Partial<GenerateOptions>) {
  generator.reset();
  const first = await answer(options);
  const second = await answer(options, [...PROMPT, ...first.ids, 5, 6]);
  return { first, second, logits: await generator.logits([...PROMPT, ...first.ids, 9]) };
}

/** Each answer ends after five tokens. */
function stoppedAtFive(flight: Flight) {
  let tokens = 0;
  return conversation({ ...EVERYTHING, onToken: () => ++tokens % 5 === 0, flight });
}

/** What is on the way once a token is known to take `ms`. */
function flightAt(ms: number): Flight {
  const pace = new Pace();
  pace.learn(1, ms);
  return pace.flight;
}

test.each([GREEDY, DRAWN, PENALIZED, EVERYTHING])(
  "tokens, probabilities and what stays in the cache are the same: %o",
  async (sampling) => {
    const wanted = await conversation({ ...sampling, flight: SINGLE });
    expect(wanted.first.told).toHaveLength(9);
    // As it is without a word, too: by the time that tokens take.
    const flights = sampling === EVERYTHING ? [...FLIGHTS, undefined] : FLIGHTS;
    for (const flight of flights) {
      const told = await conversation({ ...sampling, ...(flight && { flight }) });
      expect(told, JSON.stringify(flight)).toEqual(wanted);
    }
  },
);

describe("an answer that ends early", () => {
  test.each(FLIGHTS)("at an end token, with %o", async (flight) => {
    generator.reset();
    const sampling = DRAWN;
    const { ids } = await answer({ ...sampling, flight: SINGLE });
    const end = ids[6]!;
    const endIds = [end];
    const wanted = await conversation({ ...sampling, endIds, flight: SINGLE });
    expect(wanted.first.endId).toBe(end);
    expect(wanted.first.ids).toEqual(ids.slice(0, ids.indexOf(end)));
    expect(await conversation({ ...sampling, endIds, flight })).toEqual(wanted);
  });

  test.each(FLIGHTS)("by the caller's word, with %o", async (flight) => {
    const wanted = await stoppedAtFive(SINGLE);
    expect(wanted.first).toMatchObject({ endedBy: "stop" });
    expect(wanted.first.ids).toHaveLength(5);
    expect(await stoppedAtFive(flight)).toEqual(wanted);
  });

  test("aborted: no token is told after the one that it came with", async () => {
    for (const flight of [SINGLE, ...FLIGHTS]) {
      generator.reset();
      const stopping = new AbortController();
      let tokens = 0;
      const { ids, endedBy } = await answer({
        flight,
        signal: stopping.signal,
        onToken() {
          if (++tokens === 4) stopping.abort();
        },
      });
      expect(endedBy).toBe("aborted");
      expect(ids).toHaveLength(4);
      const none = await answer({ flight, signal: stopping.signal });
      expect(none).toMatchObject({ ids: [], told: [], endedBy: "aborted" });
    }
  });

  test("where the context ends", async () => {
    generator.reset();
    const wanted = await answer({ maxNewTokens: 1000, flight: SINGLE });
    expect(wanted.ids).toHaveLength(CAPACITY - PROMPT.length);
    expect(wanted.endedBy).toBe("length");
    generator.reset();
    expect(await answer({ maxNewTokens: 1000, flight: FLIGHTS[1]! })).toEqual(wanted);
  });
});

test("a penalty knows the prompt and the answer, and nothing drawn in vain", async () => {
  const sampling = PENALIZED;
  generator.reset();
  const wanted = await answer({ ...sampling, flight: SINGLE });
  generator.reset();
  // Leaves marks of tokens behind its end.
  await answer({ ...DRAWN, flight: FLIGHTS[1]!, onToken: () => true });
  expect(await answer({ ...sampling, flight: FLIGHTS[1]! })).toEqual(wanted);
});

test.each([
  // As many bits as are kept less: a step of 2⁻¹¹, and half of one in 127, through every layer.
  { kvCache: "f16", bound: 2e-3 },
  { kvCache: "int8", bound: 4e-2 },
] as const)("a cache in $kvCache gives nearly the same logits", async ({ kvCache, bound }) => {
  generator.reset();
  const wanted = await generator.logits(PROMPT);
  const packed = await Generator.create(model, CAPACITY, { kvCache });
  try {
    const logits = await packed.logits(PROMPT);
    const error = relativeError(logits, wanted);
    expect(error).toBeLessThan(bound);
    expect(error > 0 || kvCache === "f16").toBe(true);
    // What comes before matters no more than elsewhere.
    const { ids } = await packed.generate(PROMPT, { ...GREEDY, maxNewTokens: 3, endIds: [] });
    expect(ids).toHaveLength(3);
    expect(await packed.logits(PROMPT)).toEqual(logits);
  } finally {
    packed.free();
  }
});

test("a prompt in large and small pieces gives the same logits as in small ones, whatever came before", async () => {
  const large = await Generator.create(model, CAPACITY, { chunkTokens: [24, 8] });
  try {
    const long = [...PROMPT, ...PROMPT.slice(0, 24)];
    const first = await large.logits(long);
    generator.reset();
    expect(relativeError(first, await generator.logits(long))).toBeLessThan(
      act === "f16" ? 2e-2 : 1e-4,
    );
    // Behind an answer, behind a prompt that shares its first pieces, and behind one that shares part of one.
    await large.generate(PROMPT, { ...GREEDY, maxNewTokens: 4, endIds: [] });
    expect(await large.logits(long)).toEqual(first);
    await large.logits([...long.slice(0, 50), 1, 2, 3]);
    expect(await large.logits(long)).toEqual(first);
    await large.logits([...long.slice(0, 20), 4, 5]);
    expect(await large.logits(long)).toEqual(first);
  } finally {
    large.free();
  }
});

describe("pieces of a prompt", () => {
  test("less is computed in vain than is needed, but for the last few", () => {
    for (let tokens = 0; tokens < 2000; tokens += 13) {
      const pieces = planPieces(tokens, [512, 32]);
      const computed = pieces.reduce((sum, { size }) => sum + size, 0);
      expect(pieces.reduce((sum, { rows }) => sum + rows, 0)).toBe(tokens);
      expect(computed).toBeLessThanOrEqual(Math.max(2 * tokens, tokens + 31));
    }
    expect(planPieces(700, [512, 32]).map(({ rows }) => rows)).toEqual([
      512, 32, 32, 32, 32, 32, 28,
    ]);
    expect(planPieces(800, [512, 32]).map(({ rows }) => rows)).toEqual([512, 288]);
  });

  test("those are known that were whole, of the same size, and are shared", () => {
    const pieces = planPieces(600, [512, 32]);
    expect(knownPieces(pieces, [512, 32, 32], 600)).toBe(3);
    expect(knownPieces(pieces, [512, 32, 32], 560)).toBe(2);
    expect(knownPieces(pieces, [32, 32], 600)).toBe(0);
    expect(knownPieces(planPieces(400, [512, 32]), [512], 600)).toBe(0);
  });

  test("software adapters take small ones, and so does a short context", () => {
    expect(chunkSizes(true, 4096)).toEqual([32]);
    expect(chunkSizes(false, 128)).toEqual([32]);
    expect(chunkSizes(false, 4096)).toEqual([512, 32]);
  });
});

test("a layer is nine dispatches at most, an adapter's own aside", () => {
  const own = generator.decodeDispatches.filter((name) => !name.includes("SCALED=true"));
  // Embedding, norm, head and sampler belong to no layer.
  expect(own.length - 4).toBeLessThanOrEqual(9 * model.architecture.layers);
});

describe("how many are on the way", () => {
  test("one, until a token's time is known, and while each takes long", () => {
    expect(new Pace().flight).toEqual(SINGLE);
    expect(flightAt(300)).toEqual(SINGLE);
    expect(flightAt(30)).toEqual(SINGLE);
  });

  test("some milliseconds' worth, twice, where tokens are quick", () => {
    expect(flightAt(20)).toEqual({ tokens: 1, batches: 2 });
    expect(flightAt(4)).toEqual({ tokens: 4, batches: 2 });
    expect(flightAt(0)).toEqual({ tokens: MOST_PER_BATCH, batches: 2 });
  });

  test("one token held up does not change it for long", () => {
    const pace = new Pace();
    for (let i = 0; i < 20; i++) pace.learn(4, 16);
    pace.learn(4, 400);
    expect(pace.flight).toEqual(SINGLE);
    for (let i = 0; i < 10; i++) pace.learn(4, 16);
    expect(pace.flight.batches).toBe(2);
  });
});
