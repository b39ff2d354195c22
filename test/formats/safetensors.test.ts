import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeSafetensors,
  encodeSafetensorsIndex,
  parseSafetensorsHeader,
  parseSafetensorsIndex,
  safetensorsHeader,
  safetensorsHeaderBytes,
} from "../../src/formats/safetensors.ts";
import type { SafetensorsDtype } from "../../src/formats/safetensors.ts";

/** A file from the text of its header and a number of data bytes. */
function file(header: string, dataBytes = 0): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const parse = (bytes: Uint8Array) => parseSafetensorsHeader(bytes, bytes.length, "m.safetensors");
const entry = (dtype: string, shape: unknown, offsets: unknown) =>
  JSON.stringify({ dtype, shape, data_offsets: offsets });

test("a file with tensors of several dtypes, an empty one and a scalar is read in byte order", () => {
  const header = `{"b":${entry("F32", [3], [6, 18])},"__metadata__":{"format":"pt"},"a":${entry("BF16", [3, 1], [0, 6])},"none":${entry("F16", [0, 7], [18, 18])},"one":${entry("U8", [], [18, 19])}}  `;
  const { tensors, metadata, dataStart } = parse(file(header, 19));
  expect(dataStart).toBe(8 + header.length);
  expect(tensors.map(({ name, start, end }) => [name, start - dataStart, end - dataStart])).toEqual(
    [
      ["a", 0, 6],
      ["b", 6, 18],
      ["none", 18, 18],
      ["one", 18, 19],
    ],
  );
  expect(tensors[0]).toMatchObject({ dtype: "BF16", shape: [3, 1] });
  expect(metadata.get("format")).toBe("pt");
});

test("a tensor may be called __proto__ without harm", () => {
  const { tensors } = parse(file(`{"__proto__":${entry("U8", [1], [0, 1])}}`, 1));
  expect(tensors.map(({ name }) => name)).toEqual(["__proto__"]);
});

describe("a header is refused with the place and the fault where", () => {
  const one = entry("U8", [4], [0, 4]);
  test.each([
    ["a key is there twice", `{"a":${one},"a":${one}}`, 4, /"a" twice/],
    [
      "a field is there twice",
      `{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}`,
      4,
      /"dtype" twice/,
    ],
    ["keys are equal once unescaped", `{"a":${one},"\\u0061":${one}}`, 4, /"a" twice/],
    ["it does not start with a brace", ` {"a":${one}}`, 4, /byte 9 is 32/],
    ["it is not JSON", `{"a":`, 0, /not JSON/],
    [
      "the dtype is unknown",
      `{"a":${entry("F33", [1], [0, 4])}}`,
      4,
      /tensor "a" has the unknown dtype the text "F33"/,
    ],
    [
      "the dtype is a property of all objects",
      `{"a":${entry("constructor", [1], [0, 4])}}`,
      4,
      /unknown dtype/,
    ],
    [
      "shape and span disagree",
      `{"a":${entry("F32", [3], [0, 8])}}`,
      8,
      /"a" is F32 \[3\], which is 12 bytes, but spans 8/,
    ],
    ["a size is negative", `{"a":${entry("F32", [-1], [0, 4])}}`, 4, /shape/],
    ["a size is no whole number", `{"a":${entry("F32", [1.5], [0, 4])}}`, 4, /shape/],
    [
      "a shape overflows",
      `{"a":${entry("F32", [2 ** 40, 2 ** 40], [0, 4])}}`,
      4,
      /no whole number of bytes/,
    ],
    [
      "four-bit values fill no byte",
      `{"a":${entry("F4", [3], [0, 2])}}`,
      2,
      /no whole number of bytes/,
    ],
    ["a tensor ends before it starts", `{"a":${entry("U8", [0], [4, 0])}}`, 4, /before its start/],
    [
      "tensors overlap",
      `{"a":${one},"b":${entry("U8", [4], [2, 6])}}`,
      6,
      /"b" overlaps "a" by 2 bytes/,
    ],
    [
      "there is a hole",
      `{"a":${one},"b":${entry("U8", [4], [6, 10])}}`,
      10,
      /"b" leaves a hole after "a" by 2 bytes/,
    ],
    [
      "the first tensor is not at the start",
      `{"a":${entry("U8", [4], [1, 5])}}`,
      5,
      /hole after the header by 1 bytes/,
    ],
    [
      "the file goes on after the last tensor",
      `{"a":${one}}`,
      7,
      /3 bytes after "a" that belong to no tensor/,
    ],
    ["the file is truncated", `{"a":${one}}`, 3, /truncated: "a" ends at byte/],
    [
      "metadata is no object of texts",
      `{"__metadata__":{"n":1},"a":${one}}`,
      4,
      /"__metadata__" has the number 1/,
    ],
    ["a tensor is a list", `{"a":[]}`, 0, /tensor "a" is described by a list/],
  ])("%s", (_, header, dataBytes, fault) => {
    expect(() => parse(file(header, dataBytes))).toThrow(fault);
    expect(() => parse(file(header, dataBytes))).toThrow("m.safetensors");
  });

  test("its length is beyond the limit, before anything is read", () => {
    const bytes = file("{}");
    new DataView(bytes.buffer).setBigUint64(0, 25_000_001n, true);
    expect(() => safetensorsHeaderBytes(bytes.subarray(0, 8), 1e9, "m")).toThrow(
      /limit is 25000000/,
    );
  });

  test("its length is beyond the file", () => {
    expect(() => safetensorsHeaderBytes(file("{}   ").subarray(0, 8), 12, "m")).toThrow(
      /truncated/,
    );
  });

  test("the file is shorter than the length itself", () => {
    expect(() => parse(new Uint8Array(7))).toThrow(/8 bytes of length/);
  });

  test("it is not UTF-8", () => {
    const bytes = file(`{"a":${one}}`, 4);
    bytes[10] = 0xff;
    expect(() => parse(bytes)).toThrow(/not UTF-8/);
  });
});

test("what the writer writes, the parser reads, and the data begins at a multiple of 8", () => {
  const dtypes: SafetensorsDtype[] = ["F32", "F16", "BF16", "U8", "I64"];
  const shapes = fc.dictionary(
    fc.string({ maxLength: 12 }).filter((name) => name !== "__metadata__"),
    fc.record({
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.nat(5), { maxLength: 3 }),
    }),
  );
  fc.assert(
    fc.property(shapes, (wanted) => {
      const bits: Record<string, number> = { F32: 32, F16: 16, BF16: 16, U8: 8, I64: 64 };
      const tensors = new Map(
        Object.entries(wanted).map(([name, { dtype, shape }], i) => {
          const size = shape.reduce((n, s) => n * s, 1) * (bits[dtype]! / 8);
          return [name, { dtype, shape, bytes: new Uint8Array(size).fill(i + 1) }];
        }),
      );
      const bytes = encodeSafetensors(tensors, { format: "pt" });
      const parsed = parse(bytes);
      expect(parsed.dataStart % 8).toBe(0);
      expect(parsed.tensors.length).toBe(tensors.size);
      for (const { name, dtype, shape, start, end } of parsed.tensors) {
        expect({ dtype, shape, bytes: bytes.slice(start, end) }).toEqual(tensors.get(name));
      }
    }),
  );
});

test("a streamed header keeps the caller's order", () => {
  const header = safetensorsHeader([
    { name: "10", dtype: "U8", shape: [3] },
    { name: "2", dtype: "F32", shape: [2, 2] },
  ]);
  const { tensors } = parseSafetensorsHeader(header, header.length + 19, "m");
  expect(tensors.map(({ name }) => name)).toEqual(["10", "2"]);
});

test("an index names its files and refuses one outside the folder", () => {
  const text = encodeSafetensorsIndex(
    new Map([
      ["b", "2.safetensors"],
      ["a", "1.safetensors"],
    ]),
    40,
  );
  expect(text).toBe(
    `${JSON.stringify({ metadata: { total_size: 40 }, weight_map: { a: "1.safetensors", b: "2.safetensors" } }, null, 2)}\n`,
  );
  const index = parseSafetensorsIndex(text, "i");
  expect(index.files).toEqual(["1.safetensors", "2.safetensors"]);
  expect(index.totalBytes).toBe(40);
  for (const name of ["../x.safetensors", "a/x.safetensors", "C:\\x.safetensors", "x.bin", ""]) {
    const hostile = JSON.stringify({ weight_map: { a: name } });
    expect(() => parseSafetensorsIndex(hostile, "i")).toThrow(/no .safetensors file beside/);
  }
  expect(() => parseSafetensorsIndex("{}", "i")).toThrow(/weight_map/);
});
