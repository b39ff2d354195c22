import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { attentionCachedAppend } from "../../src/kernels/attention-cached-append.ts";
import { PREFILL_SLOTS } from "../../src/kernels/attention-cached-prefill.ts";
import { attentionCached } from "../../src/kernels/attention-cached.ts";
import {
  type ActivationType,
  activationTypes,
  guarded,
  largestDifference,
  poisoned,
  runOnce,
  testGpu,
  uploadActivation,
  uploadF32,
} from "../gpu.ts";
import * as reference from "../reference/attention.ts";
import { type Case, prepare } from "./attention-cached-cases.ts";

const choices = { [PREFILL_SLOTS.short]: "rows", [PREFILL_SLOTS.long]: "rows" };

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const cases: Case[] = [
  { position: 0, rows: 1, real: 1, heads: 1, kvHeads: 1, headSize: 16 }, // the first token
  { position: 1, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 16 },
  { position: 5, rows: 1, real: 1, heads: 3, kvHeads: 3, headSize: 20 }, // teams of five threads
  { position: 62, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 32 },
  { position: 63, rows: 1, real: 1, heads: 4, kvHeads: 2, headSize: 16 }, // one whole tile
  { position: 64, rows: 1, real: 1, heads: 4, kvHeads: 2, headSize: 16 }, // and one key more
  { position: 127, rows: 1, real: 1, heads: 6, kvHeads: 2, headSize: 20, interleaved: true },
  { position: 130, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 256 }, // one team
  { position: 200, rows: 1, real: 1, heads: 4, kvHeads: 1, headSize: 64 },
  { position: 255, rows: 1, real: 1, heads: 2, kvHeads: 2, headSize: 80 }, // three teams, four idle
  { position: 0, rows: 2, real: 2, heads: 2, kvHeads: 2, headSize: 4 }, // sixty-four teams of one
  { position: 0, rows: 3, real: 2, heads: 4, kvHeads: 2, headSize: 16 },
  { position: 0, rows: 7, real: 7, heads: 5, kvHeads: 1, headSize: 36 },
  { position: 0, rows: 16, real: 1, heads: 2, kvHeads: 1, headSize: 32 }, // mostly padding
  { position: 0, rows: 32, real: 31, heads: 4, kvHeads: 2, headSize: 16, interleaved: true },
  { position: 0, rows: 66, real: 65, heads: 2, kvHeads: 1, headSize: 64 },
  { position: 3, rows: 5, real: 4, heads: 2, kvHeads: 1, headSize: 128 },
  { position: 60, rows: 9, real: 9, heads: 3, kvHeads: 1, headSize: 32 },
  { position: 100, rows: 32, real: 29, heads: 4, kvHeads: 4, headSize: 16 },
  { position: 17, rows: 130, real: 130, heads: 2, kvHeads: 2, headSize: 20 },
];

const windowed: Case[] = [
  // Windows of one token, of less and more than a tile of 64 keys, and longer than what there is.
  { position: 0, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 16, window: 1 },
  { position: 9, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 16, window: 1, scale: 0.5 },
  { position: 200, rows: 1, real: 1, heads: 4, kvHeads: 1, headSize: 64, window: 7, scale: 1 },
  { position: 200, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 256, window: 64 },
  { position: 131, rows: 1, real: 1, heads: 3, kvHeads: 3, headSize: 20, window: 65 },
  {
    position: 130,
    rows: 32,
    real: 29,
    heads: 6,
    kvHeads: 2,
    headSize: 20,
    window: 90,
    interleaved: true,
  },
  { position: 3, rows: 40, real: 38, heads: 4, kvHeads: 2, headSize: 16, window: 20, scale: 0.3 },
  { position: 60, rows: 9, real: 9, heads: 3, kvHeads: 1, headSize: 32, window: 500 },
];

for (const [name, gpu] of Object.entries(devices)) {
  gpu.choices = choices;
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "new tokens attend as in one long row: $real/$rows after $position, $heads/$kvHeads × $headSize",
      (shape) => expectAgreement(gpu, shape, dtype),
    );

    test.each(windowed)(
      "so they do through a window of $window: $real/$rows after $position, $heads/$kvHeads × $headSize",
      (shape) => expectAgreement(gpu, shape, dtype),
    );
  });
}

test("what lies before the window is not read", async () => {
  const shape: Case = {
    position: 150,
    rows: 3,
    real: 3,
    heads: 2,
    kvHeads: 1,
    headSize: 16,
    window: 40,
  };
  const data = prepare(shape, "f32");
  const clean = await run(devices.baseline, shape, data, "f32");
  // The first new token sees keys 111 … 150.
  const [keys, values] = [data.keys, data.values].map((cache) =>
    cache.slice().fill(Number.NaN, 0, 111 * 16),
  ) as [Float32Array<ArrayBuffer>, Float32Array<ArrayBuffer>];
  const spoilt = { ...data, keys, values };
  const { o } = await run(devices.baseline, shape, spoilt, "f32");
  expect(o).toEqual(clean.o);
});

test("a second run gives the same bits", async () => {
  const shape = cases[8]!;
  const data = prepare(shape, "f32");
  const first = await run(devices["all features"], shape, data, "f32");
  expect(await run(devices["all features"], shape, data, "f32")).toEqual(first);
});

/** Runs a case and compares all of it. */
async function expectAgreement(gpu: Gpu, shape: Case, dtype: ActivationType): Promise<void> {
  const { position, rows, real, heads, headSize } = shape;
  const data = prepare(shape, dtype);
  const { o, keys, values } = await run(gpu, shape, data, dtype);
  const whole = reference.attention(data.qkv, new Uint32Array(data.tokens), data.referenceLayout);
  const width = heads * headSize;
  // A score is a sum of headSize products of numbers below 1, an output one of `tokens`; exp adds
  // 3 + 2 |x| units in the last place (WGSL), and scores are below 4.
  const inF32 = 2 ** -22 * Math.sqrt(headSize + data.tokens) * 8;
  expect(largestDifference(o.slice(0, real * width), whole.o.slice(position * width))).toBeLessThan(
    dtype === "f32" ? inF32 : 2 ** -10,
  );
  expect(o.slice(real * width).every((value) => value === 0)).toBe(true);
  expect(o.length).toBe(rows * width);
  expect(Array.from(keys)).toEqual(Array.from(data.keys));
  expect(Array.from(values)).toEqual(Array.from(data.values));
}

/** Appends and attends; the caches hold the old tokens, then NaN that must be overwritten or unread. */
async function run(
  gpu: Gpu,
  shape: Case,
  { tokens, layout, ...data }: ReturnType<typeof prepare>,
  dtype: ActivationType,
) {
  const { position, rows, real, heads, kvHeads, headSize, window, scale } = shape;
  const width = kvHeads * headSize;
  const capacity = position + rows + 3;
  const cacheOf = (label: string, whole: Float32Array) => {
    const held = new Float32Array(capacity * width).fill(Number.NaN);
    held.set(whole.subarray(0, position * width));
    return guarded(gpu, label, [capacity, width], held, dtype);
  };
  const [keys, values] = [cacheOf("keys", data.keys), cacheOf("values", data.values)];
  // Rows that are not real hold NaN: nobody may look at them.
  const qkv = new Float32Array(rows * layout.stride).fill(Number.NaN);
  qkv.set(data.qkv.subarray(position * layout.stride));
  const o = poisoned(gpu, "o", [rows, heads * headSize], dtype);
  await runOnce(
    gpu,
    (recorder) => {
      const operands = {
        qkv: uploadActivation(gpu, "qkv", [rows, layout.stride], qkv, dtype),
        cache: { storage: "native", keys: keys.tensor, values: values.tensor },
        layout,
      } as const;
      // No turn: cosine 1, sine 0.
      const table = uploadF32(gpu, "table", [1, 2], [1, 0]);
      attentionCachedAppend(recorder, { ...operands, table });
      attentionCached(recorder, { ...operands, o: o.tensor, window, scale });
    },
    { position, rows: real },
  );
  const [allKeys, allValues] = [await keys.read(), await values.read()];
  expect(allKeys.subarray(tokens * width).every(Number.isNaN)).toBe(true);
  return {
    o: await o.read(),
    keys: allKeys.slice(0, tokens * width),
    values: allValues.slice(0, tokens * width),
  };
}
