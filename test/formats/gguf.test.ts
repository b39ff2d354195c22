// The header of a GGUF file, as Python's gguf writes it.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseGguf } from "../../src/formats/gguf.ts";
import { assemble, described, entry, KIND, type Parts } from "./gguf-file.ts";

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/gguf/${name}`, import.meta.url)));
const parse = (bytes: Uint8Array<ArrayBuffer>, fileBytes = bytes.length) =>
  parseGguf(bytes, fileBytes, "models/m.gguf");

/** Two f32 tensors, [2, 3] and [5], and an entry of metadata. */
const RIGHT: Parts = {
  entries: [entry("general.architecture", "llama")],
  tensors: [described("a", [3, 2], KIND.F32, 0), described("b", [5], KIND.F32, 32)],
  data: new Uint8Array(52),
};

test("every type of value that Python's gguf writes is read", () => {
  const header = parse(fixture("metadata.gguf"));
  expect(header?.version).toBe(3);
  expect(Object.fromEntries(header?.metadata ?? [])).toEqual({
    "general.architecture": "none",
    "general.alignment": 64,
    u8: 255,
    i8: -128,
    u16: 65535,
    i16: -32768,
    u32: 4294967295,
    i32: -2147483648,
    f32: Math.fround(0.1),
    u64: 2n ** 64n - 1n,
    "u64.small": 2 ** 53 - 1,
    i64: -(2n ** 63n),
    f64: 0.1,
    yes: true,
    no: false,
    text: "你好 \0 é🐝",
    "text.bom": "\ufeff.",
    u8s: Uint8Array.of(0, 255),
    i8s: Int8Array.of(-128, 127),
    u16s: Uint16Array.of(65535),
    i16s: Int16Array.of(-1, 2, -3),
    u32s: Uint32Array.of(4294967295, 7),
    i32s: Int32Array.of(-7, 7),
    f32s: Float32Array.of(0.1, -0),
    f64s: Float64Array.of(0.1),
    u64s: [2n ** 64n - 1n, 3],
    bools: [true, false, true],
    texts: ["", "a", "字"],
    lists: [Int32Array.of(1, 2), Int32Array.of(3)],
  });
});

test("tensors have row-major shapes and lie where the alignment of the file puts them", () => {
  const bytes = fixture("metadata.gguf");
  const tensors = parse(bytes)?.tensors ?? [];
  expect(tensors.map(({ name, type, shape }) => [name, type, shape])).toEqual([
    ["odd", "F32", [3, 5]],
    ["next", "F32", [2, 3, 4]],
  ]);
  for (const { start, end } of tensors) {
    expect(start % 64).toBe(0);
    const values = new Float32Array(bytes.slice(start, end).buffer);
    expect([...values]).toEqual(Array.from(values, (_, i) => i));
  }
});

test("version 2 is read like 3", () => {
  expect(parse(assemble({ ...RIGHT, version: 2 }))).toEqual({
    ...parse(assemble(RIGHT)),
    version: 2,
  });
});

test("a header is the same however little of the file was read at first, and asks for no more", () => {
  const bytes = fixture("metadata.gguf");
  const whole = parse(bytes);
  const dataStart = whole?.tensors[0]?.start ?? 0;
  const lengths = Array.from({ length: bytes.length }, (_, length) => length);
  const headers = lengths.map((length) => parse(bytes.slice(0, length), bytes.length));
  const enough = headers.findIndex((header) => header !== undefined);
  expect(enough).toBeLessThanOrEqual(dataStart);
  expect(headers.slice(enough)).toEqual(lengths.slice(enough).map(() => whole));
});
