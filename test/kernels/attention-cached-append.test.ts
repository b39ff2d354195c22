import { describe, expect, test } from "vitest";
import { decodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { read, type StoredTensor } from "../../src/gpu/tensor.ts";
import { attentionCachedAppend } from "../../src/kernels/attention-cached-append.ts";
import type { AttentionLayout } from "../../src/kernels/attention-layout.ts";
import { allocateCache, type CacheStorage, type KvCache } from "../../src/kernels/kv-cache.ts";
import { ropeTable } from "../../src/kernels/rope.ts";
import {
  type ActivationType,
  activationTypes,
  guarded,
  largestDifference,
  randomF32,
  roundTo,
  runOnce,
  testGpu,
  uploadF32,
} from "../gpu.ts";
import { rope } from "../reference/rope.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

interface Case {
  position: number;
  rows: number;
  real: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  rotary: number;
  interleaved?: boolean;
  normed?: boolean;
}

const cases: Case[] = [
  { position: 0, rows: 1, real: 1, heads: 2, kvHeads: 1, headSize: 4, rotary: 2 },
  { position: 7, rows: 1, real: 1, heads: 4, kvHeads: 2, headSize: 64, rotary: 64, normed: true },
  // Pairs that are no multiple of 4: see append_alone.
  { position: 3, rows: 5, real: 4, heads: 6, kvHeads: 2, headSize: 20, rotary: 10, normed: true },
  { position: 9, rows: 2, real: 2, heads: 2, kvHeads: 2, headSize: 256, rotary: 128, normed: true },
  {
    position: 2,
    rows: 3,
    real: 3,
    heads: 4,
    kvHeads: 2,
    headSize: 80,
    rotary: 80,
    interleaved: true,
  },
];

const EPSILON = 1e-5;

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "heads are normed, turned and cached: $real/$rows after $position, $heads/$kvHeads × $headSize, $rotary turn",
      async (shape) => {
        const { queries, keys, values, untouched } = await run(gpu, shape, dtype, "native");
        // One turn in f32; f16 rounds what is stored.
        const tolerance = (shape.normed ? 4 : 1) * (dtype === "f32" ? 2 ** -20 : 2 ** -9);
        expect(largestDifference(queries.got, queries.want)).toBeLessThan(tolerance);
        expect(largestDifference(keys.got, keys.want)).toBeLessThan(tolerance);
        expect(largestDifference(values.got, values.want)).toBe(0);
        expect(untouched).toBe(true);
      },
    );
  });

  test.each(["f16", "int8"] as const)(`on ${name}: what %s keeps is near`, async (storage) => {
    for (const shape of cases) {
      const { keys, values, untouched } = await run(gpu, shape, "f32", storage);
      for (const { got, want } of [keys, values]) {
        const worst = got.map((value, i) => {
          // Half a step: of f16's 11 bits, or of 127 to the largest of the head.
          const step =
            storage === "f16"
              ? 2 ** -11 * Math.abs(want[i]!) + 2 ** -20
              : largestOf(want, i, shape.headSize) / 254;
          return Math.abs(value - want[i]!) / (step * 1.001 + 2 ** -20);
        });
        expect(Math.max(...worst)).toBeLessThanOrEqual(1);
      }
      expect(untouched).toBe(true);
    }
  });
}

test("a head of zeros is kept as zeros", async () => {
  const { baseline: gpu } = devices;
  const shape = { position: 0, rows: 1, real: 1, heads: 1, kvHeads: 1, headSize: 8, rotary: 8 };
  const { keys, values } = await run(gpu, shape, "f32", "int8", 0);
  expect([...keys.got, ...values.got].every((value) => value === 0)).toBe(true);
});

test("nothing is appended past the cache's end", async () => {
  const { baseline: gpu } = devices;
  const layout = layoutOf({
    position: 6,
    rows: 4,
    real: 4,
    heads: 1,
    kvHeads: 1,
    headSize: 4,
    rotary: 4,
  });
  const cache = () => guarded(gpu, "cache", [8, 4], new Float32Array(32));
  const [keys, values] = [cache(), cache()];
  const qkv = uploadF32(gpu, "qkv", [4, layout.stride], randomF32(4 * layout.stride, 1));
  const table = uploadF32(gpu, "table", [1, 2], [1, 0]);
  await runOnce(
    gpu,
    (recorder) =>
      attentionCachedAppend(recorder, {
        qkv,
        table,
        layout,
        cache: { storage: "native", keys: keys.tensor, values: values.tensor },
      }),
    { position: 6, rows: 4 },
  );
  const written = (await keys.read()).map((value) => (value === 0 ? 0 : 1));
  expect(Array.from(written)).toEqual(Array.from({ length: 32 }, (_, i) => (i < 24 ? 0 : 1)));
  await values.read(); // for its guard band
});

function layoutOf({ heads, kvHeads, headSize, interleaved = false }: Case): AttentionLayout {
  const group = heads / kvHeads;
  const groupStride = (group + 2) * headSize;
  const shared = { heads, kvHeads, headSize, stride: kvHeads * groupStride };
  return interleaved
    ? {
        ...shared,
        qGroupStride: groupStride,
        kBase: group * headSize,
        vBase: (group + 1) * headSize,
        kStride: groupStride,
      }
    : {
        ...shared,
        qGroupStride: group * headSize,
        kBase: heads * headSize,
        vBase: (heads + kvHeads) * headSize,
        kStride: headSize,
      };
}

/** Appends random tokens. What is cached, and what should be, of all real rows one after the other. */
async function run(gpu: Gpu, shape: Case, dtype: ActivationType, storage: CacheStorage, size = 1) {
  const { position, rows, real, heads, kvHeads, headSize, rotary, normed = false } = shape;
  const layout = layoutOf(shape);
  const { stride } = layout;
  const data = roundTo(
    dtype,
    randomF32(rows * stride, headSize).map((value) => size * value),
  );
  const [queryWeight, keyWeight] = [2, 3].map((seed) => randomF32(headSize, seed)) as [
    Float32Array,
    Float32Array,
  ];
  const frequencies = Float64Array.from({ length: rotary / 2 }, (_, i) => 1 / 3 ** i);
  const group = heads / kvHeads;
  const columns = {
    q: Array.from(
      { length: heads },
      (_, h) => Math.floor(h / group) * layout.qGroupStride + (h % group) * headSize,
    ),
    k: Array.from({ length: kvHeads }, (_, g) => layout.kBase + g * layout.kStride),
    v: Array.from({ length: kvHeads }, (_, g) => layout.vBase + g * layout.kStride),
  };

  const before = Float64Array.from(data);
  if (normed) {
    for (let t = 0; t < rows; t++) {
      for (const [part, weight] of [
        ["q", queryWeight],
        ["k", keyWeight],
      ] as const) {
        for (const column of columns[part]) {
          const head = before.subarray(t * stride + column, t * stride + column + headSize);
          const root = Math.sqrt(head.reduce((sum, v) => sum + v * v, 0) / headSize + EPSILON);
          head.forEach((v, i) => (head[i] = (v / root) * weight[i]!));
        }
      }
    }
  }
  const positions = Array.from({ length: rows }, (_, t) => position + t);
  const turned = rope(before, positions, frequencies, {
    tokens: rows,
    rowSize: stride,
    headSize,
    headColumns: [...columns.q, ...columns.k],
    rotary,
  });
  const pick = (from: ArrayLike<number>, starts: number[]) =>
    Array.from({ length: real }, (_, t) =>
      starts.flatMap((column) =>
        Array.from({ length: headSize }, (_v, i) => from[t * stride + column + i]!),
      ),
    ).flat();

  const capacity = position + rows + 2;
  const cache = allocateCache(gpu, "cache", storage, {
    capacity,
    width: kvHeads * headSize,
    kvHeads,
    act: dtype,
  });
  const qkv = guarded(gpu, "qkv", [rows, stride], data, dtype);
  const table = uploadF32(
    gpu,
    "table",
    [position + rows, rotary],
    ropeTable(frequencies, position + rows),
  );
  await runOnce(
    gpu,
    (recorder) =>
      attentionCachedAppend(recorder, {
        qkv: qkv.tensor,
        layout,
        cache,
        table,
        ...(normed && {
          norms: {
            queryWeight: uploadF32(gpu, "query_weight", [headSize], queryWeight),
            keyWeight: uploadF32(gpu, "key_weight", [headSize], keyWeight),
            epsilon: EPSILON,
          },
        }),
      }),
    { position, rows: real },
  );
  const after = await qkv.read();
  const width = kvHeads * headSize;
  const cached = async (part: "keys" | "values") => {
    const all = await unpack(gpu, cache, part, headSize);
    const isClear = all.every(
      (v, i) => v === 0 || (i >= position * width && i < (position + real) * width),
    );
    return { got: all.slice(position * width, (position + real) * width), isClear };
  };
  const [keys, values] = [await cached("keys"), await cached("values")];
  // Padding, and what is no query, stays as it was.
  const rest = Array.from(data.subarray(real * stride));
  return {
    queries: { got: pick(after, columns.q), want: pick(turned, columns.q) },
    keys: { ...keys, want: pick(turned, columns.k) },
    values: { ...values, want: pick(data, columns.v) },
    untouched:
      keys.isClear &&
      values.isClear &&
      rest.every((value, i) => after[real * stride + i] === value) &&
      pick(after, [...columns.k, ...columns.v]).every(
        (v, i) => v === pick(data, [...columns.k, ...columns.v])[i],
      ),
  };
}

/** The largest magnitude in the head that element `i` is of. */
function largestOf(numbers: readonly number[], i: number, headSize: number): number {
  const start = i - (i % headSize);
  return Math.max(...numbers.slice(start, start + headSize).map(Math.abs));
}

/** The numbers that a cache stands for. */
async function unpack(
  gpu: Gpu,
  cache: KvCache<StoredTensor>,
  part: "keys" | "values",
  headSize: number,
) {
  const bytes = await read(gpu, cache[part]);
  if (cache.storage === "f16" || cache[part].dtype === "f16") {
    return Array.from(decodeF16(new Uint16Array(bytes)));
  }
  if (cache.storage === "native") return Array.from(new Float32Array(bytes));
  const scales = new Float32Array(await read(gpu, cache.scales![part]));
  return Array.from(
    new Int8Array(bytes),
    (value, i) => (value / 127) * scales[Math.floor(i / headSize)]!,
  );
}
