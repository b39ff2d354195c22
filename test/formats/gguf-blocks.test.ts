// Every block type against the values that Python's gguf gives for the same bytes, bit by bit.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  dequantize,
  ggmlBlock,
  type GgmlType,
  isReadable,
  type ReadableType,
} from "../../src/formats/gguf-blocks.ts";
import { type GgufTensor, parseGguf } from "../../src/formats/gguf.ts";

const file = new Uint8Array(readFileSync(new URL("../fixtures/gguf/blocks.gguf", import.meta.url)));
const tensors = new Map(
  (parseGguf(file, file.length, "blocks.gguf")?.tensors ?? []).map((found) => [found.name, found]),
);

function tensor(name: string): GgufTensor {
  const found = tensors.get(name);
  if (!found) throw new Error(`there is no ${name}`);
  return found;
}

/** As bits, so that −0 is not 0. All NaNs are one: which of them an operation gives is not defined. */
function bitsOf(values: Float32Array<ArrayBuffer>): number[] {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Array.from(bits, (word, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : word));
}

const TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"];

test.each(TYPES as ReadableType[])("%s gives the values that gguf.quants gives", (type) => {
  const { start, end, shape } = tensor(type);
  const expected = tensor(`${type}.expected`);
  expect(expected.shape).toEqual(shape);
  const wanted = new Float32Array(file.slice(expected.start, expected.end).buffer);
  const values = dequantize(file.subarray(start, end), type);
  expect(bitsOf(values)).toEqual(bitsOf(wanted));

  // The fixture has what could go wrong: both zeros, infinities, NaN, very small and usual numbers.
  const has = (is: (value: number) => boolean) => wanted.some(is);
  expect(has((value) => Object.is(value, -0))).toBe(true);
  expect(has((value) => Object.is(value, 0))).toBe(true);
  expect(has((value) => value === Infinity)).toBe(true);
  expect(has((value) => Number.isNaN(value))).toBe(true);
  expect(has((value) => value !== 0 && Math.abs(value) < 2 ** -20)).toBe(true);
});

test("F32 passes as it is", () => {
  const values = Float32Array.of(0, -0, 1e-45, -3e38, Infinity);
  expect(bitsOf(dequantize(new Uint8Array(values.buffer), "F32"))).toEqual(bitsOf(values));
});

test("bytes may begin anywhere in their buffer", () => {
  const { start, end } = tensor("Q5_1");
  const shifted = new Uint8Array(end - start + 3);
  shifted.set(file.subarray(start, end), 3);
  expect(dequantize(shifted.subarray(3), "Q5_1")).toEqual(
    dequantize(file.slice(start, end), "Q5_1"),
  );
});

test("a part of a block is a bug of the caller", () => {
  expect(() => dequantize(new Uint8Array(19), "Q4_0")).toThrow("19 bytes are no whole Q4_0 blocks");
});

test.each([
  ["Q2_K", 256, 84],
  ["IQ4_NL", 32, 18],
  ["MXFP4", 32, 17],
] as [GgmlType, number, number][])("%s has a size, and is not read", (type, values, bytes) => {
  expect(ggmlBlock(type)).toMatchObject({ values, bytes });
  expect(isReadable(type)).toBe(false);
});
