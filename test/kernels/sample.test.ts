import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { read } from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { sample, sampleDistribution } from "../../src/kernels/sample.ts";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { poisoned, randomF32, runOnce, testGpu, uploadF32, uploadU32 } from "../gpu.ts";
import { sampling } from "../reference/sampling.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

type SamplingSettings = Parameters<typeof sampling>[2];

const PLAIN: SamplingSettings = { repetitionPenalty: 1, temperature: 1, topK: 0, topP: 1 };

function flags(vocab: number, ids: readonly number[]): Uint32Array {
  const seen = new Uint32Array(vocab);
  for (const id of ids) seen[id] = 1;
  return seen;
}

async function distribution(
  device: Gpu,
  logits: ArrayLike<number>,
  previous: readonly number[],
  settings: SamplingSettings,
): Promise<Float32Array> {
  const vocab = logits.length;
  const given = uploadF32(device, "logits", [1, vocab], logits);
  const seen = uploadU32(device, "seen", [vocab], flags(vocab, previous));
  const output = poisoned(device, "distribution", [vocab]);
  await runOnce(
    device,
    (recorder) =>
      sampleDistribution(recorder, { logits: given, seen, row: 0, distribution: output.tensor }),
    { ...settings },
  );
  const probabilities = await output.read();
  for (const tensor of [given, seen, output.tensor]) device.free(tensor);
  return probabilities;
}

/** Draws that are kept at a time: fewer than the positions that a test draws at. */
const SLOTS = 4;

/** A recorded draw; `at` replays it at a position with a seed. */
async function prepareDraws(
  logits: ArrayLike<number>,
  settings: SamplingSettings,
  { rows = 1, row }: { rows?: number; row?: number } = {},
) {
  const vocab = logits.length / rows;
  const given = uploadF32(gpu, "logits", [rows, vocab], logits);
  const seen = gpu.allocate("seen", "u32", [vocab]);
  const token = gpu.allocate("token", "u32", [1]);
  const drawn = gpu.allocate("drawn", "u32", [SLOTS, 2]);
  const scalars = new StepScalars(gpu);
  scalars.set({ ...settings, rows });
  const recorder = new Recorder(gpu, "draw", new Workspace(gpu), scalars);
  sample(recorder, {
    logits: given,
    seen,
    token,
    drawn,
    ...(row === undefined ? {} : { row }),
  });
  const program = await recorder.build();
  const at = (seed: number, position: number, step = 0) => {
    scalars.set({ seed, position, step });
    program.run();
  };
  return {
    at,
    seen,
    scalars,
    /** What was drawn at a position, and its probability. */
    async drawnAt(position: number): Promise<{ id: number; probability: number }> {
      const view = new DataView(await read(gpu, drawn, (position % SLOTS) * 8, 8));
      return { id: view.getUint32(0, true), probability: view.getFloat32(4, true) };
    },
    async token(): Promise<number> {
      return new Uint32Array(await read(gpu, token))[0]!;
    },
    /** The tokens at `count` positions in a row, read back at once. */
    async tokens(seed: number, count: number): Promise<Uint32Array> {
      const copies = gpu.allocate("copies", "u32", [count]);
      for (let position = 0; position < count; position++) {
        at(seed, position);
        const encoder = gpu.device.createCommandEncoder();
        encoder.copyBufferToBuffer(token.at.buffer, 0, copies.at.buffer, 4 * position, 4);
        gpu.device.queue.submit([encoder.finish()]);
      }
      const ids = new Uint32Array(await read(gpu, copies), 0, count);
      gpu.free(copies);
      return ids;
    },
  };
}

/** The largest relative error of probabilities, those filtered out being exactly 0 in both. */
function largestRatio(actual: Float32Array, expected: Float64Array): number {
  let worst = 0;
  for (const [id, probability] of expected.entries()) {
    if (probability === 0 && actual[id] === 0) continue;
    const error = Math.abs(actual[id]! - probability) / (probability + 1e-30);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

/** Ids that one of the two filters out and the other does not. */
function keptDifferently(actual: Float32Array, expected: Float64Array): number[] {
  return [...expected.keys()].filter((id) => actual[id]! > 0 !== expected[id]! > 0);
}

// exp at arguments to −60 has an error of 3 + 2 · 60 ulp by the letter of WGSL, and the argument one
// of half an ulp of 60; both adapters are well inside.
const RELATIVE = 2e-5;

describe.each([
  ["the adapter's limits", gpu],
  ["default limits", baseline],
])("with %s", (_, device) => {
  test.each(vectors.sampling.cases)(
    "probabilities are Hugging Face's: penalty $repetitionPenalty, temperature $temperature, top-k $topK, top-p $topP",
    async ({ probabilities, ...settings }) => {
      const { logits, previous } = vectors.sampling;
      const actual = await distribution(device, logits, previous, settings);
      expect(largestRatio(actual, Float64Array.from(probabilities))).toBeLessThan(RELATIVE);
    },
  );
});

// Vocabularies around a row of 256 threads, and those of real models, ragged.
const VOCABULARIES = [5, 6, 31, 64, 255, 256, 257, 511, 1000, 4097, 20_011, 50_257];

const FILTERS: readonly SamplingSettings[] = [
  PLAIN,
  { repetitionPenalty: 1.3, temperature: 0.8, topK: 0, topP: 1 },
  { repetitionPenalty: 1, temperature: 1, topK: 1, topP: 1 },
  { repetitionPenalty: 1.1, temperature: 0.7, topK: 4, topP: 1 },
  { repetitionPenalty: 1, temperature: 2, topK: 40, topP: 1 },
  { repetitionPenalty: 1, temperature: 1, topK: 0, topP: 0.9 },
  { repetitionPenalty: 1.2, temperature: 0.1, topK: 40, topP: 0.75 },
  { repetitionPenalty: 0.9, temperature: 1.5, topK: 200, topP: 0.95 },
  { repetitionPenalty: 1, temperature: 1, topK: 1_000_000, topP: 0.5 },
  { repetitionPenalty: 1, temperature: 1, topK: 0, topP: 1e-9 },
];

test("the kept set and its probabilities are the reference's, for every vocabulary and filter", async () => {
  for (const vocab of VOCABULARIES) {
    // All different, from −12 to 12, in an order without pattern.
    const logits = randomF32(vocab, vocab).map((value) => value * 12);
    const previous = Array.from(randomF32(20, vocab + 1), (value) =>
      Math.floor((value + 1) * 0.5 * vocab),
    );
    for (const settings of FILTERS) {
      const actual = await distribution(gpu, logits, previous, settings);
      const expected = sampling(logits, previous, settings);
      const differing = keptDifferently(actual, expected);
      expect(differing, `${vocab} tokens, ${JSON.stringify(settings)}`).toEqual([]);
      const error = largestRatio(actual, expected);
      expect(error, `${vocab} tokens, ${JSON.stringify(settings)}`).toBeLessThan(RELATIVE);
    }
  }
});

test("tokens that tie at the k-th place are all kept", async () => {
  const actual = await distribution(gpu, [3, 1, 2, 2, 0, -0, 2], [], { ...PLAIN, topK: 2 });
  expect(actual.map(Math.sign)).toEqual(Float32Array.of(1, 0, 1, 1, 0, 0, 1));
  const zeros = await distribution(gpu, [-1, 0, -0, -2], [], { ...PLAIN, topK: 1 });
  expect(zeros.map(Math.sign)).toEqual(Float32Array.of(0, 1, 1, 0));
});

test("scores of one neighboring float are told apart", async () => {
  const step = 2 ** -22; // one ulp at 2
  const logits = Array.from({ length: 300 }, (_, i) => 2 + ((i * 7) % 300) * step);
  const actual = await distribution(gpu, logits, [], { ...PLAIN, topK: 13 });
  const expected = sampling(logits, [], { ...PLAIN, topK: 13 });
  expect(keptDifferently(actual, expected)).toEqual([]);
});

describe("greedy", () => {
  const GREEDY = { ...PLAIN, temperature: 0, topK: 40, topP: 0.75 };

  test("takes the largest logit, the lowest id among equals", async () => {
    for (const vocab of VOCABULARIES) {
      const logits = randomF32(vocab, 3 * vocab).map((value) => value * 20);
      const best = logits.indexOf(Math.max(...logits));
      logits[vocab - 1] = logits[best]!; // a rival in the last place
      const draws = await prepareDraws(logits, GREEDY, { row: 0 });
      draws.at(1, 0);
      expect(await draws.token()).toBe(best);
      const actual = await distribution(gpu, logits, [], GREEDY);
      expect(actual.indexOf(1)).toBe(best);
      expect(actual.reduce((sum, value) => sum + value)).toBe(1);
    }
  });

  test("weighs the repetition penalty, and marks what it takes as seen", async () => {
    const draws = await prepareDraws([2, 3, -1, 1.9], { ...GREEDY, repetitionPenalty: 2 });
    const ids = [];
    for (let position = 0; position < 6; position++) {
      draws.at(0, position);
      ids.push(await draws.token());
    }
    // 3 → 1.5, then 2 → 1, then 1.9 → 0.95; of all seen, 1.5 stays the best.
    expect(ids).toEqual([1, 0, 3, 1, 1, 1]);
    expect(Array.from(new Uint32Array(await read(gpu, draws.seen)))).toEqual([1, 1, 0, 1]);
  });

  test("works on negative logits only", async () => {
    const draws = await prepareDraws([-5, -3, -3, -1e30], GREEDY);
    draws.at(0, 0);
    expect(await draws.token()).toBe(1);
  });
});

test("the probability told is the model's own: no penalty, temperature 1, unfiltered", async () => {
  for (const vocab of [5, 257, 4097]) {
    const logits = randomF32(vocab, vocab + 7).map((value) => value * 6);
    const settings = { repetitionPenalty: 1.5, temperature: 0.3, topK: 3, topP: 0.9 };
    const draws = await prepareDraws(logits, settings);
    const model = sampling(logits, [], PLAIN);
    for (let position = 0; position < 5; position++) {
      draws.at(11, position);
      const { id, probability } = await draws.drawnAt(position);
      expect(id).toBe(await draws.token());
      expect(probability / model[id]!).toBeCloseTo(1, 5);
    }
  }
});

test("the row is the last real one, or the one asked for", async () => {
  const logits = Float32Array.from({ length: 15 }, (_, i) => (i % 5 === Math.floor(i / 5) ? 1 : 0));
  const greedy = { ...PLAIN, temperature: 0 };
  const last = await prepareDraws(logits, greedy, { rows: 3 });
  for (const rows of [1, 2, 3]) {
    last.scalars.set({ rows });
    last.at(0, 0);
    expect(await last.token()).toBe(rows - 1);
  }
  for (const row of [0, 1, 2]) {
    const chosen = await prepareDraws(logits, greedy, { rows: 3, row });
    chosen.at(0, 0);
    expect(await chosen.token()).toBe(row);
  }
});

describe("draws", () => {
  const logits = Float32Array.from([1.5, -0.3, 0.9, 2.2, 0.1, -2.5, 1.1]);

  test("are the same for the same seed, step and position, and differ otherwise", async () => {
    const draws = await prepareDraws(randomF32(997, 1), PLAIN);
    const first = await draws.tokens(5, 24);
    expect(await draws.tokens(5, 24)).toEqual(first);
    expect(await draws.tokens(6, 24)).not.toEqual(first);
    const steps = [];
    for (let step = 0; step < 24; step++) {
      draws.at(5, 0, step);
      steps.push(await draws.token());
    }
    expect(steps[0]).toBe(first[0]);
    expect(Uint32Array.from(steps)).not.toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(12); // nearly flat over 997 tokens
  });

  test.each([
    { seed: 1, ...PLAIN },
    { seed: 2, ...PLAIN, temperature: 1.7 },
    { seed: 3, ...PLAIN, temperature: 0.9, topK: 4 },
    { seed: 4, ...PLAIN, topP: 0.8 },
  ])("follow the distribution: $seed", async ({ seed, ...settings }) => {
    const count = 1500;
    const ids = await (await prepareDraws(logits, settings)).tokens(seed, count);
    expect(chiSquare(ids, sampling(logits, [], settings))).toBeLessThan(CHI_SQUARE_LIMIT);
  });

  test("follow the distribution over more tokens than threads", async () => {
    // Five groups of tokens, spread over lanes and rounds; what is counted is the group.
    const wide = Float32Array.from({ length: 1301 }, (_, id) => (id % 5) * 0.5);
    const count = 1500;
    const ids = await (await prepareDraws(wide, PLAIN)).tokens(77, count);
    const byGroup = new Float64Array(5);
    sampling(wide, [], PLAIN).forEach((probability, id) => (byGroup[id % 5]! += probability));
    const groups = ids.map((id) => id % 5);
    expect(chiSquare(groups, byGroup)).toBeLessThan(CHI_SQUARE_LIMIT);
    const bothHalves = [ids.filter((id) => id < 650).length, ids.filter((id) => id >= 650).length];
    expect(chiSquareOfCounts(bothHalves, [650 / 1301, 651 / 1301])).toBeLessThan(CHI_SQUARE_LIMIT);
  });

  test("never leave the kept set", async () => {
    const settings = { ...PLAIN, topK: 2 };
    const ids = await (await prepareDraws(logits, settings)).tokens(9, 500);
    expect(new Set(ids)).toEqual(new Set([0, 3]));
  });
});

// With 6 degrees of freedom (7 outcomes), 1 in 10,000 draws of a fair sampler lies above; seeds are fixed.
const CHI_SQUARE_LIMIT = 27.9;

function chiSquare(ids: Uint32Array, probabilities: Float64Array): number {
  const counts = Array.from(probabilities, () => 0);
  for (const id of ids) counts[id]! += 1;
  return chiSquareOfCounts(counts, probabilities);
}

function chiSquareOfCounts(counts: readonly number[], probabilities: ArrayLike<number>): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  return counts.reduce((sum, count, i) => {
    const expected = total * probabilities[i]!;
    if (expected === 0) return count === 0 ? sum : Number.POSITIVE_INFINITY;
    return sum + (count - expected) ** 2 / expected;
  }, 0);
}
