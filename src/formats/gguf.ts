// The GGUF format, versions 2 and 3, little-endian: its header, which is metadata and a list of tensors.
// Nothing that a file claims is believed before it was held against the file's size: no count makes a
// loop or an allocation longer than the bytes that are there.
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import { ggmlBlock, type GgmlType, ggmlTypeOf } from "./gguf-blocks.ts";

type Numbers =
  | Uint8Array<ArrayBuffer>
  | Int8Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/**
 * A value of metadata. 64-bit integers are numbers where a double holds them exactly, and bigints
 * elsewhere. A list of numbers of up to 32 bits or of f64 is a typed array; any other list is an array.
 */
export type GgufValue = number | bigint | boolean | string | Numbers | readonly GgufValue[];

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major, as in PyTorch: the reverse of the file's order. */
  readonly shape: readonly number[];
  /** First byte, from the start of the file. */
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: GgufMetadata;
  /** In the file's order. */
  readonly tensors: readonly GgufTensor[];
}

const AGAIN = "Download or copy the file again.";
const NOT_WHOLE = "Get the file again from where it was made; its header is wrong.";

/**
 * Checks and reads a header from the first bytes of a file of `fileBytes` bytes; `place` names it in
 * errors. Undefined where the header goes on behind `bytes`.
 */
export function parseGguf(
  bytes: Uint8Array<ArrayBuffer>,
  fileBytes: number,
  place: string,
): GgufHeader | undefined {
  const reader = new HeaderReader(bytes, fileBytes, place);
  try {
    return parseHeader(reader);
  } catch (thrown) {
    if (thrown === MORE_BYTES) return undefined;
    throw thrown;
  }
}

function parseHeader(reader: HeaderReader): GgufHeader {
  const version = checkVersion(reader);
  const tensorCount = reader.count("the number of tensors", TENSOR_BYTES);
  const entryCount = reader.count("the number of metadata entries", ENTRY_BYTES);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < entryCount; i++) {
    const key = reader.text(`the key of entry ${i} of the metadata`);
    const what = `the metadata "${shorten(key)}"`;
    if (metadata.has(key)) throw reader.refuse(`${what} is there twice`);
    metadata.set(key, parseValue(reader, parseValueType(reader, what), what));
  }
  const descriptions: TensorDescription[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const tensor = parseTensor(reader, i);
    if (names.has(tensor.name)) throw reader.refuse(`tensor "${tensor.name}" is there twice`);
    names.add(tensor.name);
    descriptions.push(tensor);
  }
  return { version, metadata, tensors: placeTensors(reader, descriptions, metadata) };
}

/** "GGUF", then the version as a u32. */
function checkVersion(reader: HeaderReader): number {
  const magic = String.fromCharCode(...reader.take(4, "the first four bytes"));
  if (["lmgg", "fmgg", "tjgg", "algg"].includes(magic)) {
    throw new UserError(
      `${reader.place} is a ggml file from before GGUF.`,
      "Choose the same model as GGUF version 3.",
    );
  }
  if (magic !== "GGUF") {
    throw new UserError(
      `${reader.place} is no GGUF file: it starts with ${JSON.stringify(magic)}, where "GGUF" must be.`,
      "Check that this is a model and not, say, a web page or a Git LFS pointer.",
    );
  }
  const version = reader.u32("the version");
  if (version % 65536 === 0 && version > 0) {
    throw new UserError(
      `${reader.place} is a big-endian GGUF file, which Hone does not read.`,
      "Choose the little-endian file of the same model.",
    );
  }
  if (version !== 2 && version !== 3) {
    throw new UserError(
      `${reader.place} is GGUF version ${version}; Hone reads versions 2 and 3.`,
      "Choose the same model as GGUF version 3.",
    );
  }
  return version;
}

interface ValueType {
  /** The bytes of a value, or of the shortest one. */
  readonly leastBytes: number;
  /** Of numbers alone. */
  readonly read?: (view: DataView, at: number) => number | bigint;
  /** What a list of them becomes. */
  readonly Numbers?: new (buffer: ArrayBuffer) => Numbers;
}

const BOOL: ValueType = { leastBytes: 1 };
const TEXT: ValueType = { leastBytes: 8 };
const LIST: ValueType = { leastBytes: 12 };

/** By the file's number for a type. */
const VALUE_TYPES: readonly ValueType[] = [
  { leastBytes: 1, read: (view, at) => view.getUint8(at), Numbers: Uint8Array },
  { leastBytes: 1, read: (view, at) => view.getInt8(at), Numbers: Int8Array },
  { leastBytes: 2, read: (view, at) => view.getUint16(at, true), Numbers: Uint16Array },
  { leastBytes: 2, read: (view, at) => view.getInt16(at, true), Numbers: Int16Array },
  { leastBytes: 4, read: (view, at) => view.getUint32(at, true), Numbers: Uint32Array },
  { leastBytes: 4, read: (view, at) => view.getInt32(at, true), Numbers: Int32Array },
  { leastBytes: 4, read: (view, at) => view.getFloat32(at, true), Numbers: Float32Array },
  BOOL,
  TEXT,
  LIST,
  { leastBytes: 8, read: (view, at) => narrow(view.getBigUint64(at, true)) },
  { leastBytes: 8, read: (view, at) => narrow(view.getBigInt64(at, true)) },
  { leastBytes: 8, read: (view, at) => view.getFloat64(at, true), Numbers: Float64Array },
];

/** Fewest bytes of an entry of metadata: the length of its key, its type and a value. */
const ENTRY_BYTES = 8 + 4 + 1;
/** Fewest bytes of a tensor's description: length of its name, rank, one size, type, offset. */
const TENSOR_BYTES = 8 + 4 + 8 + 4 + 8;
const MOST_DIMENSIONS = 4;
const DEEPEST_LIST = 4;

function parseValue(reader: HeaderReader, type: ValueType, what: string, depth = 0): GgufValue {
  if (type === TEXT) return reader.text(what);
  if (type === LIST) return parseList(reader, what, depth);
  const at = reader.advance(type.leastBytes, what);
  if (type.read) return type.read(reader.view, at);
  const byte = reader.view.getUint8(at);
  if (byte > 1) throw reader.refuse(`${what} is the byte ${byte}, where a bool (0 or 1) must be`);
  return byte === 1;
}

function parseValueType(reader: HeaderReader, what: string): ValueType {
  const id = reader.u32(`the type of ${what}`);
  const type = VALUE_TYPES[id];
  if (type === undefined) throw reader.refuse(`${what} is of the unknown type ${id}`);
  return type;
}

function parseList(reader: HeaderReader, what: string, depth: number): GgufValue {
  if (depth === DEEPEST_LIST) {
    throw reader.refuse(`${what} has lists in lists more than ${DEEPEST_LIST} deep`);
  }
  const type = parseValueType(reader, `elements of ${what}`);
  const count = reader.count(`the number of elements of ${what}`, type.leastBytes);
  if (type.Numbers) {
    // A copy: it must start at a multiple of its element size, and outlive the read.
    return new type.Numbers(reader.take(count * type.leastBytes, what).slice().buffer);
  }
  const values: GgufValue[] = [];
  for (let i = 0; i < count; i++) values.push(parseValue(reader, type, what, depth + 1));
  return values;
}

/** A 64-bit integer as a number if that is exact. */
function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

interface TensorDescription {
  readonly name: string;
  readonly type: GgmlType;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** From the start of the data. */
  readonly offset: number;
}

function parseTensor(reader: HeaderReader, index: number): TensorDescription {
  const name = reader.text(`the name of tensor ${index}`);
  const what = `tensor "${shorten(name)}"`;
  const rank = reader.u32(`the rank of ${what}`);
  if (rank === 0 || rank > MOST_DIMENSIONS) {
    throw reader.refuse(`${what} has ${rank} dimensions; 1 to ${MOST_DIMENSIONS} are possible`);
  }
  const sizes: number[] = [];
  for (let i = 0; i < rank; i++) sizes.push(reader.u64(`a size of ${what}`));
  const typeId = reader.u32(`the type of ${what}`);
  const type = ggmlTypeOf(typeId);
  if (type === undefined) throw reader.refuse(`${what} is of the unknown type ${typeId}`);
  const offset = reader.u64(`the offset of ${what}`);

  const block = ggmlBlock(type);
  const row = sizes[0] ?? 0;
  if (row % block.values !== 0) {
    throw reader.refuse(`${what} is ${type} in rows of ${row}, no multiple of ${block.values}`);
  }
  let bytes = (row / block.values) * block.bytes;
  for (const size of sizes.slice(1)) bytes *= size;
  if (bytes === 0) throw reader.refuse(`${what} is empty: [${sizes.join(", ")}]`);
  if (!(bytes <= reader.fileBytes)) {
    throw reader.refuse(
      `${what} is ${type} [${sizes.toReversed().join(", ")}], ${formatBytes(bytes)} in a file of ${formatBytes(reader.fileBytes)}`,
    );
  }
  return { name, type, shape: sizes.toReversed(), bytes, offset };
}

/** Where the data begins, and with it the place of every tensor: inside the file, none over another. */
function placeTensors(
  reader: HeaderReader,
  descriptions: readonly TensorDescription[],
  metadata: GgufMetadata,
): GgufTensor[] {
  const alignment = metadata.get("general.alignment") ?? 32;
  const isPower = typeof alignment === "number" && Number.isInteger(Math.log2(alignment));
  if (!isPower || alignment < 1 || alignment > 2 ** 30) {
    throw reader.refuse(
      `general.alignment is ${typeof alignment === "bigint" ? alignment : JSON.stringify(alignment)}, where a power of two must be`,
    );
  }
  const dataStart = Math.ceil(reader.offset / alignment) * alignment;
  const tensors = descriptions.map(({ name, type, shape, bytes, offset }): GgufTensor => {
    if (offset % alignment !== 0) {
      throw reader.refuse(
        `tensor "${name}" is at offset ${offset}, no multiple of the alignment, ${alignment}`,
      );
    }
    const start = dataStart + offset;
    return { name, type, shape, start, end: start + bytes };
  });

  let previous: GgufTensor | undefined;
  for (const tensor of tensors.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
    if (previous && tensor.start < previous.end) {
      throw reader.refuse(
        `tensor "${tensor.name}" overlaps "${previous.name}" by ${previous.end - tensor.start} bytes`,
      );
    }
    if (tensor.end > reader.fileBytes) {
      throw new UserError(
        `${reader.place} is truncated: tensor "${tensor.name}" ends at byte ${tensor.end} and the file has ${reader.fileBytes}.`,
        AGAIN,
      );
    }
    previous = tensor;
  }
  return tensors;
}

/** A signal: the header goes on behind the bytes that were read. */
const MORE_BYTES = new Error("more bytes");

/** Walks over the first bytes of a file. `offset` never passes the end of the file. */
class HeaderReader {
  offset = 0;
  readonly view: DataView;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly fileBytes: number;
  readonly place: string;

  constructor(bytes: Uint8Array<ArrayBuffer>, fileBytes: number, place: string) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#bytes = bytes;
    this.fileBytes = fileBytes;
    this.place = place;
  }

  /** Steps over `count` bytes, which are all there; returns where they begin. */
  advance(count: number, what: string): number {
    const start = this.offset;
    if (count > this.fileBytes - start) {
      throw new UserError(
        `${this.place} is truncated: ${what} needs ${count} bytes from byte ${start} on, and the file has ${this.fileBytes}.`,
        AGAIN,
      );
    }
    if (start + count > this.#bytes.length) throw MORE_BYTES;
    this.offset = start + count;
    return start;
  }

  /** The next `count` bytes, which are not copied. */
  take(count: number, what: string): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(this.advance(count, what), this.offset);
  }

  u32(what: string): number {
    return this.view.getUint32(this.advance(4, what), true);
  }

  /** A u64 that a double counts exactly: no size or place of a real file is larger. */
  u64(what: string): number {
    const at = this.advance(8, what);
    const value = this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
    if (Number.isSafeInteger(value)) return value;
    const exact = this.view.getBigUint64(at, true);
    throw this.refuse(`${what} is ${exact}, more than any file can hold`);
  }

  /** How many things follow, each of `leastBytes` or more: no more than the file has room for. */
  count(what: string, leastBytes: number): number {
    const count = this.u64(what);
    const left = this.fileBytes - this.offset;
    if (count * leastBytes <= left) return count;
    throw this.refuse(`${what} is ${count}, and the file has ${left} bytes left`);
  }

  text(what: string): string {
    const bytes = this.take(this.u64(what), what);
    try {
      return decoder.decode(bytes);
    } catch (error) {
      throw new UserError(
        `${this.place}: ${what} is not UTF-8 text (before byte ${this.offset}).`,
        NOT_WHOLE,
        { cause: error },
      );
    }
  }

  refuse(fact: string): UserError {
    return new UserError(`${this.place}: ${fact} (before byte ${this.offset}).`, NOT_WHOLE);
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Names from a file in an error: a broken one may be very long. */
function shorten(name: string): string {
  return name.length > 60 ? `${name.slice(0, 60)}…` : name;
}
