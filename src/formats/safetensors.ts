// The safetensors format: header parser and writer, and the index of a model in several files.
// The rules are those of the Rust library, so what is refused there is refused here: the data must be
// covered exactly once, from the first byte after the header to the last byte of the file.
import { formatBytes } from "../base/format.ts";
import { invariant, UserError } from "../base/error.ts";
import {
  describeJson,
  findDuplicateKey,
  isJsonObject,
  type JsonObject,
  parseJsonObject,
} from "./json.ts";

/** Bits of one element. */
const DTYPE_BITS = {
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
  F32: 32,
  I32: 32,
  U32: 32,
  F16: 16,
  BF16: 16,
  I16: 16,
  U16: 16,
  I8: 8,
  U8: 8,
  BOOL: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F4: 4,
} as const;

export type SafetensorsDtype = keyof typeof DTYPE_BITS;

/** What a tensor is, before it has a place in a file. */
export interface TensorShape {
  name: string;
  dtype: SafetensorsDtype;
  shape: readonly number[];
}

export interface TensorEntry extends TensorShape {
  /** First byte of the tensor, from the start of the file. */
  start: number;
  /** One past its last byte. */
  end: number;
}

export interface SafetensorsHeader {
  /** In the order of their bytes. */
  tensors: TensorEntry[];
  metadata: Map<string, string>;
  /** Where the data begins: 8 + the header's length. */
  dataStart: number;
}

const LENGTH_BYTES = 8;
const HEADER_LIMIT_BYTES = 25_000_000;
const AGAIN = "Download or copy the file again.";
const NOT_WHOLE = "Write the file again with a safetensors library; its header is wrong.";

/**
 * How many bytes `parseSafetensorsHeader` needs, from the first 8 of a file. Checks the header's
 * length, so that nobody allocates what a broken file asks for.
 */
export function safetensorsHeaderBytes(
  first: Uint8Array,
  fileBytes: number,
  place: string,
): number {
  if (first.length < LENGTH_BYTES || fileBytes < LENGTH_BYTES) {
    throw new UserError(
      `${place} has ${formatBytes(fileBytes)}; a safetensors file starts with 8 bytes of length.`,
      AGAIN,
    );
  }
  const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
  const headerBytes = view.getBigUint64(0, true);
  if (headerBytes > HEADER_LIMIT_BYTES) {
    throw new UserError(
      `${place} claims a header of ${headerBytes} bytes; the limit is ${HEADER_LIMIT_BYTES}.`,
      "Check that this is a safetensors file and not, say, a web page or a Git LFS pointer.",
    );
  }
  const needed = LENGTH_BYTES + Number(headerBytes);
  if (needed > fileBytes) {
    throw new UserError(
      `${place} is truncated: its header alone needs ${needed} bytes and the file has ${fileBytes}.`,
      AGAIN,
    );
  }
  return needed;
}

/**
 * Checks and reads a header.
 *
 * `bytes` is the first part of the file, at least as much as `safetensorsHeaderBytes` says;
 * `fileBytes` is the size of the whole file; `place` names it in errors.
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileBytes: number,
  place: string,
): SafetensorsHeader {
  const dataStart = safetensorsHeaderBytes(bytes, fileBytes, place);
  if (bytes.length < dataStart) {
    throw new UserError(
      `${place} is truncated: its header needs ${dataStart} bytes and only ${bytes.length} could be read.`,
      AGAIN,
    );
  }
  const header = parseHeaderText(bytes.subarray(LENGTH_BYTES, dataStart), place);
  const metadata = parseMetadata(header["__metadata__"], place);
  const tensors: TensorEntry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name !== "__metadata__") tensors.push(parseEntry(name, value, dataStart, place));
  }
  tensors.sort((a, b) => a.start - b.start || a.end - b.end);
  checkCoverage(tensors, dataStart, fileBytes, place);
  return { tensors, metadata, dataStart };
}

function parseHeaderText(bytes: Uint8Array, place: string): JsonObject {
  if (bytes[0] !== "{".charCodeAt(0)) {
    throw new UserError(
      `${place} has no safetensors header: byte 9 is ${bytes[0] ?? "missing"}, where "{" must be.`,
      "Check that this is a safetensors file.",
    );
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new UserError(`The header of ${place} is not UTF-8 text.`, AGAIN, { cause: error });
  }
  const header = parseJsonObject(text, `The header of ${place}`);
  const twice = findDuplicateKey(text);
  if (twice !== undefined) {
    throw new UserError(`The header of ${place} has the key "${twice}" twice.`, NOT_WHOLE);
  }
  return header;
}

function parseMetadata(value: unknown, place: string): Map<string, string> {
  if (value === undefined) return new Map();
  if (!isJsonObject(value)) {
    throw new UserError(
      `${place}: "__metadata__" is ${describeJson(value)}, where an object of texts is needed.`,
      NOT_WHOLE,
    );
  }
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      throw new UserError(
        `${place}: "__metadata__" has ${describeJson(text)} under "${key}", where a text is needed.`,
        NOT_WHOLE,
      );
    }
    metadata.set(key, text);
  }
  return metadata;
}

function parseEntry(name: string, value: unknown, dataStart: number, place: string): TensorEntry {
  const refuse = (fact: string) => new UserError(`${place}: tensor "${name}" ${fact}.`, NOT_WHOLE);
  if (!isJsonObject(value)) throw refuse(`is described by ${describeJson(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw refuse(`has the unknown dtype ${describeJson(dtype)}`);
  if (!isSizes(shape)) throw refuse("has a shape that is not a list of whole numbers");
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw refuse("has data_offsets that are not two whole numbers");
  }
  const [from, to] = offsets as [number, number];
  if (to < from) throw refuse(`ends at byte ${to}, before its start at ${from}`);
  const bytes = tensorBytes(dtype, shape);
  if (bytes !== to - from) {
    const need = bytes === undefined ? "no whole number of bytes" : `${bytes} bytes`;
    throw refuse(`is ${dtype} [${shape.join(", ")}], which is ${need}, but spans ${to - from}`);
  }
  return { name, dtype, shape, start: dataStart + from, end: dataStart + to };
}

/** Every byte of data belongs to exactly one tensor. `tensors` are sorted by start. */
function checkCoverage(
  tensors: readonly TensorEntry[],
  dataStart: number,
  fileBytes: number,
  place: string,
): void {
  let end = dataStart;
  let previous = "the header";
  for (const tensor of tensors) {
    if (tensor.start !== end) {
      const [verb, bytes] =
        tensor.start < end
          ? ["overlaps", end - tensor.start]
          : ["leaves a hole after", tensor.start - end];
      throw new UserError(
        `${place}: tensor "${tensor.name}" ${verb} ${previous} by ${bytes} bytes.`,
        NOT_WHOLE,
      );
    }
    end = tensor.end;
    previous = `"${tensor.name}"`;
  }
  if (end > fileBytes) {
    throw new UserError(
      `${place} is truncated: ${previous} ends at byte ${end} and the file has ${fileBytes}.`,
      AGAIN,
    );
  }
  if (end < fileBytes) {
    throw new UserError(
      `${place} has ${fileBytes - end} bytes after ${previous} that belong to no tensor.`,
      AGAIN,
    );
  }
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === "string" && Object.hasOwn(DTYPE_BITS, value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/**
 * The bytes of a tensor's data. Undefined where they are no whole number (4- and 6-bit dtypes) or
 * past what a double counts exactly.
 */
export function tensorBytes(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  let bits: number = DTYPE_BITS[dtype];
  // Sizes of zero first: [2⁵³, 2⁵³, 0] has no elements, and no overflow.
  if (shape.includes(0)) return 0;
  for (const size of shape) bits *= size;
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

/**
 * The first bytes of a file, up to its data: the caller writes the tensors after them, in the order
 * given, with nothing between. Padded with spaces to a multiple of 8.
 */
export function safetensorsHeader(
  tensors: readonly TensorShape[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  // A list of pairs, not an object: an object puts names that look like numbers first.
  const entries: string[] = [];
  if (Object.keys(metadata).length > 0) {
    entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  }
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const bytes = tensorBytes(dtype, shape);
    invariant(bytes !== undefined, () => `${name} ${dtype} [${shape.join(", ")}] has no size`);
    const entry = { dtype, shape, data_offsets: [offset, offset + bytes] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    offset += bytes;
  }
  const text = new TextEncoder().encode(`{${entries.join(",")}}`);
  const headerBytes = Math.ceil(text.length / 8) * 8;
  if (headerBytes > HEADER_LIMIT_BYTES) {
    throw new UserError(
      `The header of ${tensors.length} tensors takes ${headerBytes} bytes; the limit is ${HEADER_LIMIT_BYTES}.`,
      "Write the tensors to several files.",
    );
  }
  const header = new Uint8Array(LENGTH_BYTES + headerBytes).fill(" ".charCodeAt(0));
  new DataView(header.buffer).setBigUint64(0, BigInt(headerBytes), true);
  header.set(text, LENGTH_BYTES);
  return header;
}

/** The order in which the Rust library writes: wide dtypes first, so all stay aligned; then by name. */
export function compareTensors(a: TensorShape, b: TensorShape): number {
  return DTYPE_BITS[b.dtype] - DTYPE_BITS[a.dtype] || (a.name < b.name ? -1 : 1);
}

/** A whole small file in memory: an adapter, an optimizer's state. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Omit<TensorShape, "name"> & { bytes: Uint8Array }>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const ordered = [...tensors]
    .map(([name, tensor]) => ({ name, ...tensor }))
    .toSorted(compareTensors);
  const header = safetensorsHeader(ordered, metadata);
  const dataBytes = ordered.reduce((sum, tensor) => sum + tensor.bytes.length, 0);
  const file = new Uint8Array(header.length + dataBytes);
  file.set(header);
  let offset = header.length;
  for (const { name, dtype, shape, bytes } of ordered) {
    invariant(
      bytes.length === tensorBytes(dtype, shape),
      () => `${name} is ${dtype} [${shape.join(", ")}] and has ${bytes.length} bytes`,
    );
    file.set(bytes, offset);
    offset += bytes.length;
  }
  return file;
}

/** `model.safetensors.index.json`, or a pickled model's of the same form: which file holds which tensor. */
export interface SafetensorsIndex {
  /** Tensor name to file name. */
  weightMap: Map<string, string>;
  /** The files, each once, sorted. */
  files: string[];
  /** Bytes of all tensors together, where the index says so. */
  totalBytes?: number;
}

/** Files are named with `ending`. */
export function parseSafetensorsIndex(
  text: string,
  place: string,
  ending: ".safetensors" | ".bin" = ".safetensors",
): SafetensorsIndex {
  const index = parseJsonObject(text, place);
  const map = index["weight_map"];
  if (!isJsonObject(map) || Object.keys(map).length === 0) {
    throw new UserError(
      `${place} has no "weight_map" from tensor names to files.`,
      "Download the model's index file again.",
    );
  }
  const weightMap = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    // The name is joined to a folder, so it may only ever name a file in it.
    if (typeof file !== "string" || !/^[^/\\:\0]+\.[a-z]+$/.test(file) || !file.endsWith(ending)) {
      throw new UserError(
        `${place}: tensor "${name}" is said to be in ${describeJson(file)}, which is no ${ending} file beside the index.`,
        "Use a model folder with all its files side by side.",
      );
    }
    weightMap.set(name, file);
  }
  const metadata = index["metadata"];
  const total = isJsonObject(metadata) ? metadata["total_size"] : undefined;
  return {
    weightMap,
    files: [...new Set(weightMap.values())].toSorted(),
    ...(Number.isSafeInteger(total) ? { totalBytes: total as number } : {}),
  };
}

/** The text of an index file, as Hugging Face writes it: sorted keys, two spaces. */
export function encodeSafetensorsIndex(
  weightMap: ReadonlyMap<string, string>,
  totalBytes: number,
): string {
  const names = [...weightMap.keys()].toSorted();
  const lines = names.map(
    (name) => `    ${JSON.stringify(name)}: ${JSON.stringify(weightMap.get(name))}`,
  );
  return `{\n  "metadata": {\n    "total_size": ${totalBytes}\n  },\n  "weight_map": {\n${lines.join(",\n")}\n  }\n}\n`;
}
