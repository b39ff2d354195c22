// Makes GGUF files for tests, right ones and wrong ones, from the format's description
// (ggml's docs/gguf.md); and a folder that lies in memory.
import { UserError } from "../../src/base/error.ts";
import type { Folder } from "../../src/base/folder.ts";

export const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
export const u64 = (value: number | bigint) =>
  new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
export const f32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
export const text = (value: string) => {
  const bytes = new TextEncoder().encode(value);
  return join(u64(bytes.length), bytes);
};

export function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The format's numbers for the types of values. */
export const VALUE = { u8: 0, u32: 4, i32: 5, f32: 6, bool: 7, text: 8, list: 9 } as const;
/** ggml's numbers for some types of tensors. */
export const KIND = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 8, Q2_K: 10, BF16: 30 } as const;

/** An entry of metadata: whole numbers become u32, others f32. */
export function entry(key: string, value: MetadataValue): Uint8Array {
  return join(text(key), u32(typeOf(value)), encode(value));
}

export type MetadataValue = number | boolean | string | readonly MetadataValue[] | Int32Array;

function typeOf(value: MetadataValue): number {
  if (typeof value === "string") return VALUE.text;
  if (typeof value === "boolean") return VALUE.bool;
  if (typeof value === "number") return Number.isInteger(value) ? VALUE.u32 : VALUE.f32;
  return VALUE.list;
}

function encode(value: MetadataValue): Uint8Array {
  if (typeof value === "string") return text(value);
  if (typeof value === "boolean") return Uint8Array.of(value ? 1 : 0);
  if (typeof value === "number") return Number.isInteger(value) ? u32(value) : f32(value);
  if (value instanceof Int32Array) {
    return join(u32(VALUE.i32), u64(value.length), new Uint8Array(value.slice().buffer));
  }
  return join(u32(typeOf(value[0] ?? "")), u64(value.length), ...value.map(encode));
}

/** A tensor's description. `sizes` in the file's order: the innermost first. */
export function described(
  name: string,
  sizes: readonly (number | bigint)[],
  kind: number,
  offset: number | bigint,
): Uint8Array {
  return join(text(name), u32(sizes.length), ...sizes.map(u64), u32(kind), u64(offset));
}

export interface Parts {
  readonly magic?: string;
  readonly version?: number;
  /** Claimed counts, where they are not those of the lists. */
  readonly tensorCount?: number | bigint;
  readonly entryCount?: number | bigint;
  readonly entries?: readonly Uint8Array[];
  readonly tensors?: readonly Uint8Array[];
  /** What follows the header and its padding to `alignment`. */
  readonly data?: Uint8Array;
  readonly alignment?: number;
}

export function assemble(parts: Parts): Uint8Array<ArrayBuffer> {
  const { magic = "GGUF", version = 3, entries = [], tensors = [], alignment = 32 } = parts;
  const header = join(
    new TextEncoder().encode(magic),
    u32(version),
    u64(parts.tensorCount ?? tensors.length),
    u64(parts.entryCount ?? entries.length),
    ...entries,
    ...tensors,
  );
  const padding = (alignment - (header.length % alignment)) % alignment;
  return join(header, new Uint8Array(padding), parts.data ?? new Uint8Array(0));
}

export interface TensorSpec {
  /** Row-major. */
  readonly shape: readonly number[];
  readonly kind?: number;
  readonly bytes: Uint8Array;
}

/** A whole, right file. */
export function ggufFile(
  metadata: Readonly<Record<string, MetadataValue>>,
  tensors: Readonly<Record<string, TensorSpec>>,
): Uint8Array<ArrayBuffer> {
  const data: Uint8Array[] = [];
  const descriptions: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, kind = KIND.F32, bytes }] of Object.entries(tensors)) {
    descriptions.push(described(name, shape.toReversed(), kind, offset));
    const padded = join(bytes, new Uint8Array((32 - (bytes.length % 32)) % 32));
    data.push(padded);
    offset += padded.length;
  }
  const entries = Object.entries(metadata).map(([key, value]) => entry(key, value));
  return assemble({ entries, tensors: descriptions, data: join(...data) });
}

function absent(): never {
  throw new Error("this folder can only be read");
}

/** A folder of one file; `reads` tells which ranges were asked for. */
export function memoryFolder(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Folder & { readonly reads: [start: number, end: number][] } {
  const reads: [number, number][] = [];
  return {
    reads,
    path: "models",
    list: () => Promise.resolve([name]),
    size: (asked) => Promise.resolve(asked === name ? bytes.length : undefined),
    read(_, start = 0, end = bytes.length) {
      reads.push([start, end]);
      if (end > bytes.length) throw new UserError("read past the end", "");
      return Promise.resolve(bytes.slice(start, end));
    },
    readText: absent,
    stream: absent,
    write: absent,
    append: absent,
    flush: absent,
    remove: absent,
    rename: absent,
    folder: absent,
  };
}
