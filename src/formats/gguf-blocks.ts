// ggml's types of tensors, as GGUF files hold them, and the values of those that Hone reads.
// Values are equal to the bit to ggml's reference (ggml-quants.c) and to Python's gguf.quants, which
// compute in f32: f16 units, scales and codes have at most 23 bits together, so every product is exact in
// f32 and a double alike, and both round once, at the end.
import { invariant } from "../base/error.ts";
import { decodeFloats, f16ToF32 } from "./float.ts";

/** ggml's types of tensors: its number for each, and the values and bytes of one block. */
const TYPES = {
  F32: { id: 0, values: 1, bytes: 4 },
  F16: { id: 1, values: 1, bytes: 2 },
  Q4_0: { id: 2, values: 32, bytes: 18 },
  Q4_1: { id: 3, values: 32, bytes: 20 },
  Q5_0: { id: 6, values: 32, bytes: 22 },
  Q5_1: { id: 7, values: 32, bytes: 24 },
  Q8_0: { id: 8, values: 32, bytes: 34 },
  Q8_1: { id: 9, values: 32, bytes: 36 },
  Q2_K: { id: 10, values: 256, bytes: 84 },
  Q3_K: { id: 11, values: 256, bytes: 110 },
  Q4_K: { id: 12, values: 256, bytes: 144 },
  Q5_K: { id: 13, values: 256, bytes: 176 },
  Q6_K: { id: 14, values: 256, bytes: 210 },
  Q8_K: { id: 15, values: 256, bytes: 292 },
  IQ2_XXS: { id: 16, values: 256, bytes: 66 },
  IQ2_XS: { id: 17, values: 256, bytes: 74 },
  IQ3_XXS: { id: 18, values: 256, bytes: 98 },
  IQ1_S: { id: 19, values: 256, bytes: 50 },
  IQ4_NL: { id: 20, values: 32, bytes: 18 },
  IQ3_S: { id: 21, values: 256, bytes: 110 },
  IQ2_S: { id: 22, values: 256, bytes: 82 },
  IQ4_XS: { id: 23, values: 256, bytes: 136 },
  I8: { id: 24, values: 1, bytes: 1 },
  I16: { id: 25, values: 1, bytes: 2 },
  I32: { id: 26, values: 1, bytes: 4 },
  I64: { id: 27, values: 1, bytes: 8 },
  F64: { id: 28, values: 1, bytes: 8 },
  IQ1_M: { id: 29, values: 256, bytes: 56 },
  BF16: { id: 30, values: 1, bytes: 2 },
  TQ1_0: { id: 34, values: 256, bytes: 54 },
  TQ2_0: { id: 35, values: 256, bytes: 66 },
  MXFP4: { id: 39, values: 32, bytes: 17 },
  NVFP4: { id: 40, values: 64, bytes: 36 },
  Q1_0: { id: 41, values: 128, bytes: 18 },
} as const;

export type GgmlType = keyof typeof TYPES;

const TYPE_OF_ID = new Map<number, GgmlType>(
  Object.entries(TYPES).map(([name, { id }]) => [id, name as GgmlType]),
);

/** The type of ggml's number for it. */
export function ggmlTypeOf(id: number): GgmlType | undefined {
  return TYPE_OF_ID.get(id);
}

/** How many values stand in one block of a type, and in how many bytes. */
export function ggmlBlock(type: GgmlType): { readonly values: number; readonly bytes: number } {
  return TYPES[type];
}

/** Writes the values of the block at byte `from` to `values`, from index `to` on. */
type Decoder = (bytes: Uint8Array, from: number, values: Float32Array, to: number) => void;

const DECODERS = {
  Q4_0: decodeQ4_0,
  Q4_1: decodeQ4_1,
  Q5_0: decodeQ5_0,
  Q5_1: decodeQ5_1,
  Q8_0: decodeQ8_0,
  Q4_K: decodeQ4_K,
  Q5_K: decodeQ5_K,
  Q6_K: decodeQ6_K,
} as const satisfies Partial<Record<GgmlType, Decoder>>;

export type QuantizedType = keyof typeof DECODERS;
export type ReadableType = QuantizedType | "F32" | "F16" | "BF16";

export function isQuantized(type: GgmlType): type is QuantizedType {
  return type in DECODERS;
}

export function isReadable(type: GgmlType): type is ReadableType {
  return isQuantized(type) || type === "F32" || type === "F16" || type === "BF16";
}

/** For messages. */
export const READABLE_TYPES = ["F32", "F16", "BF16", ...Object.keys(DECODERS)].join(", ");

/** Whole blocks to f32. The bytes may lie at any offset. */
export function dequantize(bytes: Uint8Array, type: ReadableType): Float32Array<ArrayBuffer> {
  if (!isQuantized(type)) return decodeFloats(bytes, type);
  const block = TYPES[type];
  const blocks = bytes.length / block.bytes;
  invariant(Number.isInteger(blocks), () => `${bytes.length} bytes are no whole ${type} blocks`);
  const decode: Decoder = DECODERS[type];
  const values = new Float32Array(blocks * block.values);
  for (let i = 0; i < blocks; i++) decode(bytes, i * block.bytes, values, i * block.values);
  return values;
}

// A block of 32 has its scale first, and where it has a minimum, that; both f16. The low nibbles of 16
// bytes are its first half, the high ones its second.

function decodeQ4_0(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  const scale = halfAt(bytes, from);
  for (let i = 0; i < 16; i++) {
    const pair = byteAt(bytes, from + 2 + i);
    values[to + i] = scale * ((pair & 15) - 8);
    values[to + 16 + i] = scale * ((pair >> 4) - 8);
  }
}

function decodeQ4_1(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  const scale = halfAt(bytes, from);
  const least = halfAt(bytes, from + 2);
  for (let i = 0; i < 16; i++) {
    const pair = byteAt(bytes, from + 4 + i);
    values[to + i] = scale * (pair & 15) + least;
    values[to + 16 + i] = scale * (pair >> 4) + least;
  }
}

// The fifth bit of value i is bit i of a u32.

function decodeQ5_0(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  const scale = halfAt(bytes, from);
  const high = wordAt(bytes, from + 2);
  for (let i = 0; i < 16; i++) {
    const pair = byteAt(bytes, from + 6 + i);
    values[to + i] = scale * (((pair & 15) | (((high >>> i) & 1) << 4)) - 16);
    values[to + 16 + i] = scale * (((pair >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
  }
}

function decodeQ5_1(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  const scale = halfAt(bytes, from);
  const least = halfAt(bytes, from + 2);
  const high = wordAt(bytes, from + 4);
  for (let i = 0; i < 16; i++) {
    const pair = byteAt(bytes, from + 8 + i);
    values[to + i] = scale * ((pair & 15) | (((high >>> i) & 1) << 4)) + least;
    values[to + 16 + i] = scale * ((pair >> 4) | (((high >>> (i + 16)) & 1) << 4)) + least;
  }
}

function decodeQ8_0(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  const scale = halfAt(bytes, from);
  for (let i = 0; i < 32; i++) values[to + i] = scale * signedAt(bytes, from + 2 + i);
}

// A block of 256 has 8 parts of 32, each with a scale and a minimum of 6 bits, in units of two f16: the
// scale's and the minimum's. 32 bytes hold two parts: one in their low nibbles, the next in the high.

function decodeQ4_K(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  for (let part = 0; part < 8; part++) {
    const scale = halfAt(bytes, from) * sixBitScale(bytes, from + 4, part);
    const least = halfAt(bytes, from + 2) * sixBitMinimum(bytes, from + 4, part);
    const codes = from + 16 + (part >> 1) * 32;
    const shift = (part & 1) * 4;
    for (let i = 0; i < 32; i++) {
      const code = (byteAt(bytes, codes + i) >> shift) & 15;
      values[to + part * 32 + i] = scale * code - least;
    }
  }
}

/** As Q4_K; bit `part` of byte i of 32 more is the fifth bit of value i of the part. */
function decodeQ5_K(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  for (let part = 0; part < 8; part++) {
    const scale = halfAt(bytes, from) * sixBitScale(bytes, from + 4, part);
    const least = halfAt(bytes, from + 2) * sixBitMinimum(bytes, from + 4, part);
    const codes = from + 48 + (part >> 1) * 32;
    const shift = (part & 1) * 4;
    for (let i = 0; i < 32; i++) {
      const high = (byteAt(bytes, from + 16 + i) >> part) & 1;
      const code = ((byteAt(bytes, codes + i) >> shift) & 15) | (high << 4);
      values[to + part * 32 + i] = scale * code - least;
    }
  }
}

/** Four low bits of 256 codes, two high bits of each, 16 signed scales of 8 bits, and their unit, an f16. */
function decodeQ6_K(bytes: Uint8Array, from: number, values: Float32Array, to: number): void {
  const unit = halfAt(bytes, from + 208);
  for (let part = 0; part < 16; part++) {
    const scale = unit * signedAt(bytes, from + 192 + part);
    const half = part >> 3; // 128 values: 64 bytes of low bits, 32 of high
    const first = (part & 7) * 16; // of the part, in its half
    const low = from + half * 64 + (first & 63);
    const lowShift = (first >> 6) * 4;
    const high = from + 128 + half * 32 + (first & 31);
    const highShift = (first >> 5) * 2;
    for (let i = 0; i < 16; i++) {
      const code =
        ((byteAt(bytes, low + i) >> lowShift) & 15) |
        (((byteAt(bytes, high + i) >> highShift) & 3) << 4);
      values[to + part * 16 + i] = scale * (code - 32);
    }
  }
}

// Twelve bytes at `at`: four scales and four minimums in the low 6 bits of eight bytes; the low bits of
// the other four each are nibbles of the last four bytes, their high bits the top 2 bits of the eight.

function sixBitScale(bytes: Uint8Array, at: number, part: number): number {
  if (part < 4) return byteAt(bytes, at + part) & 63;
  return (byteAt(bytes, at + part + 4) & 15) | ((byteAt(bytes, at + part - 4) >> 6) << 4);
}

function sixBitMinimum(bytes: Uint8Array, at: number, part: number): number {
  if (part < 4) return byteAt(bytes, at + part + 4) & 63;
  return (byteAt(bytes, at + part + 4) >> 4) | ((byteAt(bytes, at + part) >> 6) << 4);
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] as number;
}

function signedAt(bytes: Uint8Array, at: number): number {
  return (byteAt(bytes, at) << 24) >> 24;
}

function halfAt(bytes: Uint8Array, at: number): number {
  return f16ToF32(byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8));
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (
    byteAt(bytes, at) |
    (byteAt(bytes, at + 1) << 8) |
    (byteAt(bytes, at + 2) << 16) |
    (byteAt(bytes, at + 3) << 24)
  );
}
