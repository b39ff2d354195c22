// What is wrong with a GGUF file is refused with its place, at once, and without believing its numbers.
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { type GgufHeader, parseGguf } from "../../src/formats/gguf.ts";
import {
  assemble,
  described,
  entry,
  join,
  KIND,
  type Parts,
  text,
  u32,
  u64,
  VALUE,
} from "./gguf-file.ts";

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/gguf/${name}`, import.meta.url)));
const parse = (bytes: Uint8Array<ArrayBuffer>) => parseGguf(bytes, bytes.length, "models/m.gguf");

/** Two f32 tensors, [2, 3] and [5], and an entry of metadata. */
const RIGHT: Parts = {
  entries: [entry("general.architecture", "llama")],
  tensors: [described("a", [3, 2], KIND.F32, 0), described("b", [5], KIND.F32, 32)],
  data: new Uint8Array(52),
};

/** A file of one tensor. */
const one = (tensor: Uint8Array, data = 64) =>
  assemble({ tensors: [tensor], data: new Uint8Array(data) });
/** A file of one entry of metadata. */
const value = (type: number, ...parts: Uint8Array[]) =>
  assemble({ entries: [join(text("key"), u32(type), ...parts)] });

describe("a file is refused with its place and the fault where", () => {
  const cases: [fault: string, bytes: Uint8Array<ArrayBuffer>, told: RegExp][] = [
    ["it is empty", new Uint8Array(0), /truncated: the first four bytes needs 4 bytes from byte 0/],
    ["it ends in the magic", new TextEncoder().encode("GG"), /truncated/],
    [
      "it is another kind of file",
      new TextEncoder().encode("<html>"),
      /no GGUF file: it starts with "<htm"/,
    ],
    [
      "it is a ggml file of 2023",
      join(new TextEncoder().encode("tjgg"), u32(3)),
      /from before GGUF/,
    ],
    [
      "it is of version 1",
      assemble({ ...RIGHT, version: 1 }),
      /version 1; Hone reads versions 2 and 3/,
    ],
    ["it is of version 4", assemble({ ...RIGHT, version: 4 }), /version 4/],
    ["it is of version 0", assemble({ ...RIGHT, version: 0 }), /version 0/],
    ["it is big-endian", assemble({ ...RIGHT, version: 0x03000000 }), /big-endian/],
    ["it ends in the counts", assemble(RIGHT).slice(0, 12), /truncated: the number of tensors/],
    [
      "it claims 2⁶⁴ − 1 tensors",
      assemble({ tensorCount: 2n ** 64n - 1n }),
      /the number of tensors is 18446744073709551615, more than any file/,
    ],
    [
      "it claims more tensors than it has room for",
      assemble({ tensorCount: 1e6 }),
      /the number of tensors is 1000000, and the file has 16 bytes left/,
    ],
    [
      "it claims more metadata than it has room for",
      assemble({ entryCount: 2 ** 40 }),
      /the number of metadata entries is 1099511627776/,
    ],
    [
      "it has fewer entries than it claims",
      assemble({ ...RIGHT, entryCount: 3 }),
      /unknown type|truncated/,
    ],
    [
      "a key is longer than the file",
      assemble({ entries: [join(u64(2 ** 33), new Uint8Array(32))] }),
      /the key of entry 0 of the metadata needs 8589934592 bytes/,
    ],
    [
      "a key is not UTF-8",
      assemble({ entries: [join(u64(2), Uint8Array.of(0xc3, 0x28), u32(0), u32(0))] }),
      /the key of entry 0 .* not UTF-8/,
    ],
    ["a text is not UTF-8", value(VALUE.text, u64(1), Uint8Array.of(0xff)), /"key" is not UTF-8/],
    ["a value is of an unknown type", value(13, u64(0)), /"key" is of the unknown type 13/],
    ["a bool is neither 0 nor 1", value(VALUE.bool, Uint8Array.of(2)), /"key" is the byte 2/],
    [
      "a key is there twice",
      assemble({ entries: [entry("k", 1), entry("k", 1)] }),
      /the metadata "k" is there twice/,
    ],
    [
      "a list is of an unknown type",
      value(VALUE.list, u32(77), u64(0)),
      /elements of the metadata "key" is of the unknown type 77/,
    ],
    [
      "a list of numbers is longer than the file",
      value(VALUE.list, u32(VALUE.f32), u64(2 ** 30)),
      /the number of elements of the metadata "key" is 1073741824/,
    ],
    [
      "a list of texts is longer than the file",
      value(VALUE.list, u32(VALUE.text), u64(2 ** 30)),
      /is 1073741824, and the file has/,
    ],
    [
      "lists of no element are without number",
      value(VALUE.list, u32(VALUE.list), u64(2 ** 30)),
      /is 1073741824, and the file has/,
    ],
    [
      "lists are nested without end",
      value(VALUE.list, ...Array.from({ length: 5000 }, () => join(u32(VALUE.list), u64(1)))),
      /lists in lists more than 4 deep/,
    ],
    [
      "a tensor's name is not UTF-8",
      one(join(u64(1), Uint8Array.of(0xff), u32(1), u64(8), u32(0), u64(0))),
      /the name of tensor 0 is not UTF-8/,
    ],
    [
      "a tensor's name is there twice",
      assemble({ ...RIGHT, tensors: [described("a", [3, 2], 0, 0), described("a", [5], 0, 32)] }),
      /tensor "a" is there twice/,
    ],
    ["a tensor has no dimension", one(described("a", [], KIND.F32, 0)), /"a" has 0 dimensions/],
    [
      "a tensor has four thousand million dimensions",
      one(join(text("a"), u32(2 ** 32 - 1), new Uint8Array(99))),
      /"a" has 4294967295 dimensions/,
    ],
    [
      "a tensor has five dimensions",
      one(described("a", [1, 1, 1, 1, 1], KIND.F32, 0)),
      /5 dimensions; 1 to 4/,
    ],
    [
      "a tensor is of an unknown type",
      one(described("a", [8], 4, 0)),
      /"a" is of the unknown type 4/,
    ],
    ["a tensor is empty", one(described("a", [8, 0], KIND.F32, 0)), /"a" is empty: \[8, 0\]/],
    [
      "a tensor has 2⁶³ values",
      one(described("a", [2n ** 63n], KIND.F32, 0)),
      /a size of tensor "a" is 9223372036854775808/,
    ],
    [
      "a tensor's size overflows",
      one(described("a", [2 ** 50, 2 ** 50, 2 ** 50, 2 ** 50], KIND.F32, 0)),
      /"a" is F32 .* in a file of/,
    ],
    [
      "a tensor is larger than the file",
      one(described("a", [1000], KIND.F32, 0)),
      /"a" is F32 \[1000\], 3.9 KiB in a file of/,
    ],
    [
      "rows are no whole blocks",
      one(described("a", [48], KIND.Q4_0, 0)),
      /"a" is Q4_0 in rows of 48, no multiple of 32/,
    ],
    [
      "an offset is not aligned",
      one(described("a", [8], KIND.F32, 4)),
      /"a" is at offset 4, no multiple of the alignment, 32/,
    ],
    [
      "an offset is behind the file",
      one(described("a", [8], KIND.F32, 2 ** 40)),
      /truncated: tensor "a" ends at byte 1099511627/,
    ],
    [
      "an offset is 2⁶⁴ − 32",
      one(described("a", [8], KIND.F32, 2n ** 64n - 32n)),
      /the offset of tensor "a" is 18446744073709551584/,
    ],
    [
      "tensors overlap",
      assemble({ ...RIGHT, tensors: [described("a", [13], 0, 0), described("b", [5], 0, 32)] }),
      /"b" overlaps "a" by 20 bytes/,
    ],
    [
      "tensors lie one in the other",
      assemble({ ...RIGHT, tensors: [described("a", [8], 0, 0), described("b", [1], 0, 0)] }),
      /overlaps "b" by 4 bytes/,
    ],
    [
      "the last byte is missing",
      assemble(RIGHT).slice(0, -1),
      /truncated: tensor "b" ends at byte \d+ and the file has \d+/,
    ],
    [
      "the alignment is no power of two",
      assemble({ ...RIGHT, entries: [entry("general.alignment", 24)] }),
      /general.alignment is 24/,
    ],
    [
      "the alignment is zero",
      assemble({ ...RIGHT, entries: [entry("general.alignment", 0)] }),
      /general.alignment is 0/,
    ],
    [
      "the alignment is a text",
      assemble({ ...RIGHT, entries: [entry("general.alignment", "32")] }),
      /general.alignment is "32"/,
    ],
  ];

  test.each(cases)("%s", (_, bytes, told) => {
    const refused = () => parse(bytes);
    expect(refused).toThrow(UserError);
    expect(refused).toThrow(told);
    expect(refused).toThrow(/^models\/m\.gguf/);
  });
});

/** The header, or the message of the refusal. Anything else that is thrown passes. */
function attempt(bytes: Uint8Array<ArrayBuffer>): GgufHeader | string {
  try {
    const header = parse(bytes);
    if (header === undefined) throw new Error("it waits for more than there is");
    return header;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    throw error;
  }
}

test("cut anywhere, a file is refused as truncated or as too short for what it claims", () => {
  const bytes = fixture("metadata.gguf");
  const end = Math.max(...(parse(bytes)?.tensors ?? []).map((tensor) => tensor.end));
  for (let length = 0; length < end; length++) {
    expect(attempt(bytes.slice(0, length))).toMatch(/truncated|bytes left|in a file of/);
  }
});

test("with any bytes changed, a file is refused or has all its tensors inside it", () => {
  const bytes = fixture("metadata.gguf");
  const change = fc.tuple(
    fc.nat(bytes.length - 1),
    // Counts and lengths are hit by large and by small changes.
    fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)),
  );
  let refusals = 0;
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
      const changed = bytes.slice();
      for (const [at, byte] of changes) changed[at] = byte;
      const header = attempt(changed);
      if (typeof header !== "string") {
        return header.tensors.every(({ start, end }) => start < end && end <= changed.length);
      }
      refusals++;
      return true;
    }),
    { numRuns: 3000 },
  );
  // Neither outcome is the only one.
  expect(refusals).toBeGreaterThan(30);
  expect(refusals).toBeLessThan(2970);
});

test("whatever follows the magic and the version, it is read or refused", () => {
  const start = join(new TextEncoder().encode("GGUF"), u32(3));
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (rest) => {
    attempt(join(start, rest));
  });
  expect(() => fc.assert(property, { numRuns: 3000 })).not.toThrow();
});
