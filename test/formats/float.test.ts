import { describe, expect, test } from "vitest";
import {
  decodeBf16,
  decodeF16,
  decodeFloats,
  encodeBf16,
  encodeF16,
  encodeFloats,
} from "../../src/formats/float.ts";

/**
 * The value of a small IEEE float by its definition, in f64. Shares nothing with the code under test,
 * which moves bits.
 */
function valueOf(bits: number, exponentBits: number, fractionBits: number): number {
  const text = bits.toString(2).padStart(1 + exponentBits + fractionBits, "0");
  const sign = text.startsWith("1") ? -1 : 1;
  const exponent = parseInt(text.slice(1, 1 + exponentBits), 2);
  const fraction = parseInt(text.slice(1 + exponentBits), 2) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

const kinds = [
  { name: "f16", exponentBits: 5, fractionBits: 10, decode: decodeF16, encode: encodeF16 },
  { name: "bf16", exponentBits: 8, fractionBits: 7, decode: decodeBf16, encode: encodeBf16 },
] as const;

describe.each(kinds)("$name", ({ exponentBits, fractionBits, decode, encode }) => {
  const toF32 = (bits: number) => decode(Uint16Array.of(bits))[0];
  const fromF32 = (value: number) => encode(Float32Array.of(value))[0]!;
  const value = (bits: number) => valueOf(bits, exponentBits, fractionBits);
  const infinity = (2 ** exponentBits - 1) << fractionBits;

  // One expectation for all values: 65,536 single ones are slow.
  const all = Array.from({ length: 65536 }, (_, bits) => bits);

  test("all 65,536 values decode as IEEE 754 defines them", () => {
    expect(all.filter((bits) => !Object.is(toF32(bits), value(bits)))).toEqual([]);
  });

  test("every value encodes to itself, and NaN to NaN", () => {
    const numbers = all.filter((bits) => !Number.isNaN(value(bits)));
    expect(numbers.filter((bits) => fromF32(value(bits)) !== bits)).toEqual([]);
    expect(value(fromF32(NaN))).toBeNaN();
    expect(numbers.length).toBe(65536 - 2 * (2 ** fractionBits - 1));
  });

  test("halfway between neighbors goes to the even one, and a hair more or less to the nearer", () => {
    const wrong: number[] = [];
    let ties = 0;
    for (let bits = 0; bits < infinity - 1; bits++) {
      const [low, high] = [value(bits), value(bits + 1)];
      const middle = (low + high) / 2;
      const hair = (high - low) / 8;
      // The smallest bf16 are near the end of f32 itself, where there is no such number.
      if (Math.fround(middle + hair) !== middle + hair) continue;
      ties++;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const actual = [fromF32(middle - hair), fromF32(middle), fromF32(middle + hair)];
      if (actual.join() !== [bits, even, bits + 1].join()) wrong.push(bits);
    }
    expect(wrong).toEqual([]);
    expect(ties).toBeGreaterThan(0.99 * infinity);
  });

  test("past the largest value, half a step more is infinity and less is not", () => {
    const largest = value(infinity - 1);
    const step = largest - value(infinity - 2);
    expect(fromF32(largest + step / 2)).toBe(infinity);
    expect(fromF32(largest + step / 4)).toBe(infinity - 1);
    expect(fromF32(-largest - step / 2)).toBe(infinity | 0x8000);
    expect(fromF32(-Infinity)).toBe(infinity | 0x8000);
  });

  test("negative zero keeps its sign", () => {
    expect(fromF32(-0)).toBe(0x8000);
  });
});

test("bytes at an odd offset decode, and come back", () => {
  for (const dtype of ["F16", "BF16", "F32"] as const) {
    const bytes = encodeFloats(Float32Array.of(1.5, -0.25, 3), dtype);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect([...decodeFloats(shifted.subarray(1), dtype)]).toEqual([1.5, -0.25, 3]);
  }
});

test("a view into a larger array encodes only its own part", () => {
  const part = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  expect(encodeFloats(part, "F32").length).toBe(8);
  expect([...decodeFloats(encodeFloats(part, "F16"), "F16")]).toEqual([1, 2]);
});
