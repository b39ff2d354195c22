import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { doubleQuantize, DYNAMIC_MAP } from "../../src/kernels/double-quant.ts";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import dynamic from "../fixtures/bnb/dynamic-map.json" with { type: "json" };
import means from "../fixtures/bnb/means.json" with { type: "json" };
import { randomF32 } from "../gpu.ts";
import {
  dequantizeAbsmax,
  doubleQuantize as reference,
  quantize,
  torchMean,
} from "../reference/nf4.ts";

const map = new Float32Array(Uint32Array.from(dynamic.bnb_dynamic_map_signed_u32).buffer);

test("the worked example has bitsandbytes' bytes", () => {
  const example = numerics.nf4_example;
  const { quantized, nestedAbsmax, offset } = doubleQuantize(exampleScales());
  expect(createHash("sha256").update(quantized).digest("hex")).toBe(example.qabsmax_sha256);
  expect(Array.from(nestedAbsmax)).toEqual(example.nested_absmax);
  expect(offset).toBe(example.offset);
});

test("the dynamic map is the one that bitsandbytes makes with torch 2.13, to the bit", () => {
  expect(DYNAMIC_MAP).toEqual(map);
});

test("torch 1.13's map differs from it by two units in the last place, at most", () => {
  const bits = new Uint32Array(DYNAMIC_MAP.buffer);
  const steps = numerics.bnb_dynamic_map_signed_u32.map((old, i) => Math.abs(old - bits[i]!));
  expect(Math.max(...steps)).toBe(2);
  expect(steps.filter((step) => step > 0)).toHaveLength(42);
});

// Around the sizes of a lane, a row and a level of torch's sum, and of a block of 256.
test.each([1, 2, 3, 7, 8, 9, 31, 32, 33, 255, 256, 257, 511, 513, 1000, 5184, 33_000])(
  "the scales of %i blocks agree with the reference",
  (count) => {
    const absmax = randomF32(count, count).map(Math.abs);
    const { quantized, nestedAbsmax, offset, dequantized } = doubleQuantize(absmax);
    const want = reference(absmax);
    expect({ quantized, nestedAbsmax, offset }).toEqual(want);
    expect(dequantized).toEqual(dequantizeAbsmax(want.quantized, want.nestedAbsmax, want.offset));
  },
);

test.each(means)("the mean of $count scales is torch's, to the bit", ({ count, seed, mean }) => {
  const absmax = randomF32(count, seed).map(Math.abs);
  expect(torchMean(absmax)).toBe(mean);
  expect(doubleQuantize(absmax).offset).toBe(mean);
});

test("every value of the map has its code, and a number between two takes the lower on a tie", () => {
  const middles = map.subarray(1).map((upper, i) => Math.fround(map[i]! + upper) / 2);
  for (const values of [map, middles]) {
    // A row of 32 and its negatives: every column of the sum is 0 again after it, so the offset is 0.
    const scales = Array.from({ length: Math.ceil(values.length / 31) }, (_, row) => {
      const own = Array.from({ length: 31 }, (_value, i) => values[row * 31 + i] ?? 0);
      return [...own, 1, ...own.map((value) => -value), -1];
    }).flat();
    const { offset, nestedAbsmax, quantized } = doubleQuantize(Float32Array.from(scales));
    expect(offset).toBe(0);
    expect(new Set(nestedAbsmax)).toEqual(new Set([1]));
    expect(quantized).toEqual(reference(Float32Array.from(scales)).quantized);
    values.forEach((_, code) => {
      expect(quantized[Math.floor(code / 31) * 64 + (code % 31)]).toBe(code);
    });
  }
});

test.each([4, 256, 300])("%i scales that are all the same stay exactly that", (count) => {
  const { offset, dequantized, nestedAbsmax } = doubleQuantize(new Float32Array(count).fill(0.125));
  expect(offset).toBe(0.125);
  expect(new Set(dequantized)).toEqual(new Set([0.125]));
  // A short block's scale is never 0 in bitsandbytes, a full one's may be.
  expect(nestedAbsmax.at(-1)).toBe(count === 256 ? 0 : Math.fround(1e-38));
});

test("a last block that is short is divided by its scale, where a full one is multiplied", () => {
  const middles = map.subarray(1).map((upper, i) => Math.fround(map[i]! + upper) / 2);
  const codeOf = (x: number) => middles.findLastIndex((middle) => x > middle) + 1;
  let found = 0;
  for (let k = 1; k < 40; k++) {
    const largest = Math.fround(1 + k / 37);
    const reciprocal = Math.fround(1 / largest);
    for (const middle of middles) {
      const value = Math.fround(middle * largest);
      const divided = codeOf(Math.fround(value / largest));
      const multiplied = codeOf(Math.fround(value * reciprocal));
      if (divided === multiplied) continue;
      found++;
      // With its negatives below it in every column of the sum, so that the mean is 0.
      const half = Array.from({ length: 128 }, (_, i) => (i === 0 ? value : i === 1 ? largest : 0));
      const rows = (size: number) =>
        Array.from({ length: size / 32 }, (_, row) => half.slice(row * 32, row * 32 + 32)).flatMap(
          (row) => [...row, ...row.map((scale) => -scale)],
        );
      expect(doubleQuantize(Float32Array.from(rows(32))).quantized[0]).toBe(divided);
      expect(doubleQuantize(Float32Array.from(rows(128))).quantized[0]).toBe(multiplied);
    }
  }
  expect(found).toBeGreaterThan(10);
});

/** The block scales of the recipe that numerics.json gives. */
function exampleScales(): Float32Array {
  let x = 12345;
  const weights = Float32Array.from({ length: 48 * 1024 }, (_, i) => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return roundToHalf((x / 2 ** 32 - 0.5) * 0.2 * (0.25 + (Math.floor(i / 64) % 7) * 0.125));
  });
  return quantize(weights).absmax;
}

/** The nearest f16 in one step from f64, which two steps would miss now and then. */
function roundToHalf(value: number): number {
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(value))), -14);
  const anchor = 1.5 * 2 ** (exponent - 10 + 52); // its last place is that of the f16
  return value === 0 ? 0 : value + anchor - anchor;
}
