import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import { dequantize, dequantizeAbsmax, doubleQuantize, quantize } from "./nf4.ts";
import digests from "../fixtures/torch/nf4.json" with { type: "json" };
import { readTensors } from "./safetensors.ts";

const example = numerics.nf4_example;

test("quantize and doubleQuantize give bitsandbytes' bytes for the worked example", () => {
  const weights = exampleWeights();
  expect(Array.from(weights.subarray(0, 8))).toEqual(example.first_w);

  const { packed, absmax } = quantize(weights);
  expect(sha256(packed)).toBe(example.packed_sha256);
  expect(Array.from(absmax.subarray(0, 4))).toEqual(example.absmax_first4);

  const { quantized, nestedAbsmax, offset } = doubleQuantize(absmax);
  expect(offset).toBe(example.offset);
  expect(Array.from(nestedAbsmax)).toEqual(example.nested_absmax);
  expect(sha256(quantized)).toBe(example.qabsmax_sha256);
});

test("dequantize gives bitsandbytes' weights for the worked example", () => {
  const weights = exampleWeights();
  const { packed, absmax } = quantize(weights);
  const { quantized, nestedAbsmax, offset } = doubleQuantize(absmax);
  const scales = dequantizeAbsmax(quantized, nestedAbsmax, offset);
  expect(Array.from(scales.subarray(0, 4))).toEqual(example.dequant_absmax_first4);

  const dequantized = dequantize(packed, scales);
  expect(Array.from(dequantized.subarray(0, 8), roundToHalf)).toEqual(example.deq_f16_first8);
  const error = weights.reduce((sum, w, i) => sum + Math.abs(w - dequantized[i]!), 0);
  // The fixture's error is of weights rounded to f16, which moves the mean by less than 1e-6.
  expect(error / weights.length).toBeCloseTo(example.mean_abs_err, 6);
});

test.each(
  Object.entries(digests).flatMap(([model, stored]) =>
    Object.entries(stored).map(([name, digest]) => ({ model, name, digest })),
  ),
)("NumPy's quantization is the same, byte for byte: $model $name", ({ model, name, digest }) => {
  const { packed, absmax } = quantize(readTensors(`${model}/model.safetensors`).get(name)!.values);
  const { quantized, nestedAbsmax, offset } = doubleQuantize(absmax);
  const scales = dequantizeAbsmax(quantized, nestedAbsmax, offset);
  expect({
    packedSha256: sha256(packed),
    quantizedAbsmaxSha256: sha256(quantized),
    nestedAbsmax: Array.from(nestedAbsmax),
    offset,
    dequantizedSha256: sha256(dequantize(packed, scales)),
  }).toEqual(digest);
});

test("a value on a threshold takes the lower code, and the next f32 above it the upper", () => {
  numerics.nf4_thresholds.forEach((threshold, code) => {
    // The block's largest magnitude is 1, so that the value is compared as it is.
    const above = nextAbove(threshold);
    const { packed } = quantize(Float32Array.of(threshold, above, 1, 0));
    expect([packed[0]! >> 4, packed[0]! & 15]).toEqual([code, code + 1]);
  });
});

test("a block of zeros stays zero, and does not disturb its neighbors", () => {
  const weights = new Float32Array(192).fill(0.5, 0, 64).fill(-2, 128);
  const { packed, absmax } = quantize(weights);
  expect(Array.from(absmax)).toEqual([0.5, 0, 2]);
  expect(new Set(packed.subarray(32, 64))).toEqual(new Set([0x77]));
  expect(dequantize(packed, absmax)).toEqual(weights);
});

test("an odd count fills only the high nibble of the last byte", () => {
  const weights = Float32Array.of(1, -1, 1);
  const { packed, absmax } = quantize(weights);
  expect(Array.from(packed)).toEqual([0xf0, 0xf0]);
  expect(dequantize(packed, absmax, 3)).toEqual(weights);
});

/** The recipe that numerics.json gives: [48, 1024] weights, rounded to f16. */
function exampleWeights(): Float32Array {
  let x = 12345;
  return Float32Array.from({ length: 48 * 1024 }, (_, i) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return roundToHalf((x / 2 ** 32 - 0.5) * 0.2 * (0.25 + (Math.floor(i / 64) % 7) * 0.125));
  });
}

/** The nearest f16, ties to even, by adding and taking away a number whose last place is f16's. */
function roundToHalf(value: number): number {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), -14);
  const anchor = 1.5 * 2 ** (exponent - 10 + 52);
  return value === 0 ? 0 : value + anchor - anchor;
}

/** The next f32: its bits plus one, or minus one where the sign bit turns the order round. */
function nextAbove(value: number): number {
  const float = Float32Array.of(value);
  new Int32Array(float.buffer)[0]! += value > 0 ? 1 : -1;
  return float[0]!;
}

function sha256(array: Uint8Array | Float32Array): string {
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return createHash("sha256").update(bytes).digest("hex");
}
