// Attention over chunks of a cache against attention over all of it, which attention-cached.test.ts holds
// against the reference.
import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { type StoredTensor, write } from "../../src/gpu/tensor.ts";
import { ATTENTION_DECODE_SLOT } from "../../src/kernels/attention-cached-split.ts";
import { ATTENTION_DECODE_TUNABLE } from "../../src/kernels/attention-cached-tunables.ts";
import { attentionCached } from "../../src/kernels/attention-cached.ts";
import { allocateCache, cacheTensors, type CacheStorage } from "../../src/kernels/kv-cache.ts";
import {
  type ActivationType,
  activationTypes,
  largestDifference,
  nullGpu,
  poisoned,
  randomF32,
  runOnce,
  testGpu,
  uploadActivation,
} from "../gpu.ts";
import { encodeF16 } from "../../src/formats/float.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

interface Case {
  /** Tokens already in the cache. */
  position: number;
  capacity: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  window?: number;
  scale?: number;
}

const cases: Case[] = [
  { position: 0, capacity: 300, heads: 2, kvHeads: 1, headSize: 4 }, // one key, in one chunk of five
  { position: 63, capacity: 200, heads: 3, kvHeads: 3, headSize: 20 }, // a whole chunk
  { position: 64, capacity: 200, heads: 5, kvHeads: 1, headSize: 20 }, // one more; four heads and one
  { position: 199, capacity: 200, heads: 16, kvHeads: 2, headSize: 16 }, // the last token
  { position: 230, capacity: 300, heads: 6, kvHeads: 2, headSize: 64, scale: 0.4 },
  { position: 130, capacity: 140, heads: 2, kvHeads: 1, headSize: 256 }, // one team
  { position: 250, capacity: 300, heads: 2, kvHeads: 2, headSize: 80, window: 7 },
  { position: 250, capacity: 300, heads: 4, kvHeads: 1, headSize: 32, window: 100 },
  { position: 100, capacity: 300, heads: 4, kvHeads: 4, headSize: 16, window: 1 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test("chunks joined are the whole", async () => {
      for (const shape of cases) {
        const [whole, split] = await both(gpu, shape, dtype, "native");
        expect(largestDifference(split, whole), JSON.stringify(shape)).toBeLessThan(
          // Scores below 4 and outputs below 1; sums of up to 300 terms in another order.
          dtype === "f32" ? 2 ** -18 : 2 ** -9,
        );
      }
    });
  });

  test.each(["f16", "int8"] as const)(
    `on ${name}: so they are of a cache in %s`,
    async (storage) => {
      for (const shape of [cases[4]!, cases[7]!]) {
        const [whole, split] = await both(gpu, shape, "f32", storage);
        expect(largestDifference(split, whole)).toBeLessThan(2 ** -18);
      }
    },
  );
}

test("room behind the last token changes no bit, nor does what lies there", async () => {
  const gpu = devices.baseline;
  const shape = cases[4]!;
  const [, few] = await both(gpu, shape, "f32", "native");
  const [, many] = await both(gpu, { ...shape, capacity: 700 }, "f32", "native");
  expect(many).toEqual(few);
});

test("every variant compiles in every storage and type", async () => {
  const gpu = await nullGpu();
  for (const act of ["f32", "f16"] as const) {
    const sizes = {
      hidden: 64,
      intermediate: 64,
      heads: 8,
      kvHeads: 2,
      headSize: 32,
      rank: 0,
      tokens: 1,
      act,
    };
    const trial = ATTENTION_DECODE_TUNABLE.trial(gpu, sizes);
    const names = ATTENTION_DECODE_TUNABLE.candidates(gpu, sizes);
    expect(names.length).toBeGreaterThan(2);
    for (const name of names) {
      gpu.choices = { [ATTENTION_DECODE_SLOT]: name };
      await runOnce(gpu, (recorder) => trial.record(recorder), trial.step);
    }
  }
});

/** What the whole kernel says, and what chunks of 64 say. */
async function both(gpu: Gpu, shape: Case, dtype: ActivationType, storage: CacheStorage) {
  const { position, capacity, heads, kvHeads, headSize, window, scale } = shape;
  const group = heads / kvHeads;
  const width = kvHeads * headSize;
  const stride = (group + 2) * width;
  const layout = {
    heads,
    kvHeads,
    headSize,
    stride,
    qGroupStride: group * headSize,
    kBase: heads * headSize,
    vBase: heads * headSize + width,
    kStride: headSize,
  };
  const cache = allocateCache(gpu, "cache", storage, { capacity, width, kvHeads, act: dtype });
  for (const [i, part] of (["keys", "values"] as const).entries()) {
    fill(gpu, cache[part], (position + 1) * width, capacity * width, i + 1);
    if (cache.scales) {
      const scales = randomF32((position + 1) * kvHeads, i + 3).map(Math.abs);
      write(gpu, cache.scales[part], scales);
    }
  }
  const qkv = uploadActivation(gpu, "qkv", [1, stride], randomF32(stride, 5), dtype);
  const results: Float32Array[] = [];
  for (const choice of ["whole", "split 64"]) {
    gpu.choices = { [ATTENTION_DECODE_SLOT]: choice };
    const o = poisoned(gpu, "o", [1, heads * headSize], dtype);
    await runOnce(
      gpu,
      (recorder) => attentionCached(recorder, { qkv, cache, layout, o: o.tensor, window, scale }),
      { position, rows: 1 },
    );
    results.push(await o.read());
    gpu.free(o.tensor);
  }
  for (const tensor of [...cacheTensors(cache), qkv]) gpu.free(tensor);
  return results as [Float32Array, Float32Array];
}

/** Random numbers for the tokens that are there, and NaN (or the largest bytes) behind them. */
function fill(gpu: Gpu, tensor: StoredTensor, there: number, whole: number, seed: number): void {
  const numbers = new Float32Array(whole).fill(Number.NaN);
  numbers.set(randomF32(there, seed));
  if (tensor.dtype === "f32") write(gpu, tensor, numbers);
  else if (tensor.dtype === "f16" || tensor.bytes >= whole * 2)
    write(gpu, tensor, encodeF16(numbers));
  else
    write(
      gpu,
      tensor,
      Int8Array.from(numbers, (value) => (Number.isNaN(value) ? 127 : value * 127)),
    );
}
