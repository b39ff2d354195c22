import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { decodeBf16, decodeF16, encodeBf16, encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { read, readF32, write } from "../../src/gpu/tensor.ts";
import {
  createNf4Quantizer,
  nf4Quantize,
  type Nf4QuantizerOptions,
  type Nf4SourceDtype,
} from "../../src/kernels/nf4-quantize.ts";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import { poisoned, randomF32, runOnce, testGpu, uploadF32 } from "../gpu.ts";
import {
  dequantize,
  dequantizeAbsmax,
  doubleQuantize as doubleQuantizeReference,
  quantize,
} from "../reference/nf4.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });
const devices = [
  { name: "this adapter", on: gpu },
  { name: "a device with nothing but the defaults", on: baseline },
];

const example = numerics.nf4_example;

test.each(devices)("the worked example has bitsandbytes' bytes on $name", async ({ on }) => {
  const halves = exampleHalves();
  expect(sha256(halves)).toBe(example.w_f16_sha256);
  const raw = await quantizeOn(on, halves, "F16", [48, 1024], { doubleQuant: false });
  expect(sha256(raw.codes)).toBe(example.packed_sha256);
  expect(Array.from(raw.absmax.subarray(0, 4))).toEqual(example.absmax_first4);

  const { codes, absmax } = await quantizeOn(on, halves, "F16", [48, 1024]);
  expect(sha256(codes)).toBe(example.packed_sha256);
  expect(Array.from(absmax.subarray(0, 4))).toEqual(example.dequant_absmax_first4);
  expect(sha256(encodeF16(dequantize(codes, absmax)))).toBe(example.deq_f16_sha256);
});

// Outputs and inputs: whole blocks and ragged ends, fewer weights than a block, odd counts of words.
const SHAPES = [
  [1, 4],
  [1, 8],
  [1, 60],
  [1, 64],
  [1, 68],
  [3, 4],
  [5, 12],
  [2, 36],
  [7, 64],
  [2, 100],
  [9, 20],
  [16, 32],
  [33, 16],
  [1, 516],
  [4, 128],
  [3, 172],
  [31, 44],
  [65, 60],
  [1, 4096],
  [64, 68],
  [127, 132],
] as const;
const DTYPES = ["F32", "F16", "BF16"] as const;

test.each(devices)(
  "codes and scales are the reference's, bit for bit, on $name",
  async ({ on }) => {
    for (const [outputs, inputs] of SHAPES) {
      for (const dtype of DTYPES) {
        const [stored, weights] = storedAs(dtype, randomF32(outputs * inputs, inputs));
        const { codes, absmax } = await quantizeOn(on, stored, dtype, [outputs, inputs]);
        expect({ outputs, inputs, dtype, codes, absmax }).toEqual({
          outputs,
          inputs,
          dtype,
          ...wanted(weights),
        });
      }
    }
  },
);

test.each(DTYPES)("a million random %s weights have the reference's bytes", async (dtype) => {
  // Blocks of very different size, as layers and outliers make them.
  const random = randomF32(2 ** 20, 1).map((value, i) => value ** 3 * 10 ** (((i >> 6) % 9) - 6));
  const [stored, weights] = storedAs(dtype, random);
  const { codes, absmax } = await quantizeOn(gpu, stored, dtype, [1024, 1024]);
  const want = wanted(weights);
  expect(sha256(codes)).toBe(sha256(want.codes));
  expect(sha256(absmax)).toBe(sha256(want.absmax));
});

test("weights beside the thresholds of 4,096 blocks take the codes of exact f32 steps", async () => {
  // One place in the reciprocal's last bit moves some of these across a threshold.
  const scales = randomF32(4096, 2).map((value) => (1 + Math.abs(value)) * 2 ** -5);
  const weights = Float32Array.from({ length: 4096 * 64 }, (_, i) => {
    const scale = scales[i >> 6]!;
    const threshold = numerics.nf4_thresholds[i % 15]!;
    const ulps = (i % 5) - 2;
    return i % 64 === 63 ? scale : Math.fround(threshold * scale) * (1 + ulps * 2 ** -24);
  });
  const { codes } = await quantizeOn(gpu, weights, "F32", [4096, 64]);
  expect(sha256(codes)).toBe(sha256(quantize(weights).packed));
});

test("powers of two from the smallest normal number up are scales like any other", async () => {
  const weights = Float32Array.from({ length: 240 * 64 }, (_, i) => {
    const scale = 2 ** ((i >> 6) - 126);
    return scale * numerics.nf4_code[i % 16]!;
  });
  const { codes, absmax } = await quantizeOn(gpu, weights, "F32", [240, 64], {
    doubleQuant: false,
  });
  const want = quantize(weights);
  expect(absmax).toEqual(want.absmax);
  // A code that is flushed is one whose weight is subnormal: those of the first four scales.
  expect(sha256(codes.subarray(4 * 32))).toBe(sha256(want.packed.subarray(4 * 32)));
});

test("a block of zeros takes the code of zero and disturbs nothing", async () => {
  const weights = new Float32Array(192).fill(0.5, 0, 64).fill(-2, 128);
  const { codes, absmax } = await quantizeOn(gpu, weights, "F32", [3, 64], { doubleQuant: false });
  expect(Array.from(absmax)).toEqual([0.5, 0, 2]);
  expect(new Set(codes.subarray(32, 64))).toEqual(new Set([0x77]));
  expect(dequantize(codes, absmax)).toEqual(weights);
});

test("a fused weight comes in parts and slices, each part with scales of its own", async () => {
  const parts = [
    { rows: 4, dtype: "F16", slices: [64, 192, 256] },
    { rows: 1, dtype: "BF16", slices: [128] },
    { rows: 3, dtype: "F32", slices: [320, 60] },
  ] as const;
  const quantizer = createNf4Quantizer(gpu, "qkv", [1, 1020]);
  const wantCodes: number[] = [];
  const wantAbsmax: number[] = [];
  let start = 0;
  for (const [index, { dtype, slices }] of parts.entries()) {
    const count = slices.reduce((sum, slice) => sum + slice, 0);
    const [stored, weights] = storedAs(
      dtype,
      randomF32(count, index).map((v) => v * 10 ** index),
    );
    const part = quantizer.begin(start, count, dtype);
    let at = 0;
    for (const slice of slices) {
      await part.push(bytesOf(stored.subarray(at, at + slice)));
      at += slice;
    }
    await part.end();
    const want = wanted(weights);
    wantCodes.push(...want.codes);
    wantAbsmax.push(...want.absmax);
    start += count;
  }
  const { codes, absmax } = quantizer.finish();
  expect(Array.from(new Uint8Array(await read(gpu, codes), 0, 510))).toEqual(wantCodes);
  expect(Array.from(await readF32(gpu, absmax))).toEqual(wantAbsmax);
});

test("a slice writes its own blocks and nothing else", async () => {
  const source = uploadF32(gpu, "source", [100], randomF32(100, 3));
  const codes = gpu.allocate("codes", "u32", [64]);
  write(gpu, codes, new Uint32Array(64).fill(0xdeadbeef));
  const absmax = poisoned(gpu, "absmax", [8]);
  await runOnce(gpu, (recorder) => {
    const at = { codes, absmax: absmax.tensor, firstBlock: 3 };
    nf4Quantize(recorder, { source, kind: "native", count: 100, ...at });
  });
  const words = new Uint32Array(await read(gpu, codes));
  const touched = Array.from(words.keys()).filter((i) => words[i] !== 0xdeadbeef);
  expect(touched).toEqual(Array.from({ length: 13 }, (_, i) => 24 + i)); // ⌈100 / 8⌉ words
  const scales = await absmax.read();
  expect(Array.from(scales, Number.isNaN)).toEqual([1, 1, 1, 0, 0, 1, 1, 1].map(Boolean));
});

test.each([
  { dtype: "F16", bits: 0x7c00, what: "infinity" },
  { dtype: "F16", bits: 0xfe00, what: "NaN" },
  { dtype: "BF16", bits: 0xff80, what: "infinity" },
  { dtype: "BF16", bits: 0x7fc1, what: "NaN" },
] as const)("$what among $dtype weights is refused with its place", async ({ dtype, bits }) => {
  const halves = new Uint16Array(256);
  halves[130] = bits;
  const part = createNf4Quantizer(gpu, "layers.0.down", [4, 64]).begin(0, 256, dtype);
  await part.push(bytesOf(halves));
  const error = await part.end().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  expect(String(error)).toContain("layers.0.down");
  expect(String(error)).toContain("number 128");
});

test("a weight that is not filled, or not by whole blocks, is a bug that is told", async () => {
  const quantizer = createNf4Quantizer(gpu, "gate", [4, 64]);
  expect(() => quantizer.finish()).toThrow("gate: 0 of 256 weights are quantized");
  expect(() => quantizer.begin(32, 64, "F32")).toThrow("gate: 64 weights from 32 of 256");
  const part = quantizer.begin(0, 256, "F32");
  await part.push(bytesOf(new Float32Array(60)));
  await expect(part.push(bytesOf(new Float32Array(64)))).rejects.toThrow(
    "64 weights after 60 of 256",
  );
  await expect(part.end()).rejects.toThrow("gate: 60 of 256 weights came");
});

async function quantizeOn(
  on: Gpu,
  stored: Float32Array | Uint16Array,
  dtype: Nf4SourceDtype,
  shape: readonly [number, number],
  options: Nf4QuantizerOptions = {},
): Promise<{ codes: Uint8Array; absmax: Float32Array }> {
  const before = on.allocatedBytes;
  const quantizer = createNf4Quantizer(on, "weight", shape, options);
  const part = quantizer.begin(0, stored.length, dtype);
  await part.push(bytesOf(stored));
  await part.end();
  const weight = quantizer.finish();
  expect(on.allocatedBytes - before).toBe(weight.codes.bytes + weight.absmax.bytes);
  const codes = new Uint8Array(await read(on, weight.codes), 0, Math.ceil(stored.length / 2));
  const absmax = await readF32(on, weight.absmax);
  on.free(weight.codes);
  on.free(weight.absmax);
  return { codes, absmax };
}

/** What the reference makes of weights, with double quantization. */
function wanted(weights: Float32Array): { codes: Uint8Array; absmax: Float32Array } {
  const { packed, absmax } = quantize(weights);
  const { quantized, nestedAbsmax, offset } = doubleQuantizeReference(absmax);
  return { codes: packed, absmax: dequantizeAbsmax(quantized, nestedAbsmax, offset) };
}

/** Weights as a file would hold them, and as the numbers those are. */
function storedAs(
  dtype: Nf4SourceDtype,
  values: Float32Array,
): [stored: Float32Array | Uint16Array, weights: Float32Array] {
  if (dtype === "F32") return [values, values];
  const halves = dtype === "F16" ? encodeF16(values) : encodeBf16(values);
  return [halves, dtype === "F16" ? decodeF16(halves) : decodeBf16(halves)];
}

/** The recipe that numerics.json gives: [48, 1024] weights, rounded to f16. */
function exampleHalves(): Uint16Array {
  let x = 12345;
  const weights = Float32Array.from({ length: 48 * 1024 }, (_, i) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return roundToHalf((x / 2 ** 32 - 0.5) * 0.2 * (0.25 + (Math.floor(i / 64) % 7) * 0.125));
  });
  return encodeF16(weights);
}

/** The nearest f16 in one step from f64, which two steps would miss now and then. */
function roundToHalf(value: number): number {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), -14);
  const anchor = 1.5 * 2 ** (exponent - 10 + 52); // its last place is that of the f16
  return value === 0 ? 0 : value + anchor - anchor;
}

function bytesOf(array: Float32Array | Uint16Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}

function sha256(array: Uint8Array | Uint16Array | Float32Array): string {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return createHash("sha256").update(bytes).digest("hex");
}
