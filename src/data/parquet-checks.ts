// What the bytes of a Parquet page say of themselves, held against how many there are: nothing is decoded.
import type { Encoding, ParquetType, SchemaTree } from "hyparquet";

/** A file that contradicts itself. The message is the end of a sentence about a column. */
export class DamagedParquet extends Error {}

/** `value`, if it is a whole number from 0 to `most`. */
export function within(value: number | undefined, most: number, what: string): number {
  if (value !== undefined && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new DamagedParquet(`says ${value ?? "nothing"} of ${what}, where ${most} is the most`);
}

/**
 * Steps over `count` values in runs, of `bits` bits each: a run of one value, or of values packed in bits by
 * eights. A run past the end of what is left is refused; returns where the runs end.
 */
export function skipRuns(bytes: Uint8Array, start: number, bits: number, count: number): number {
  let at = start;
  let seen = 0;
  while (seen < count) {
    const { value: header, end } = readVarint(bytes, at);
    const isPacked = header % 2 === 1;
    const half = Math.floor(header / 2);
    const values = isPacked ? half * 8 : half;
    // The last eight may be filled up.
    within(values, count - seen + (isPacked ? 7 : 0), "the values of a run");
    const size = isPacked ? half * bits : Math.ceil(bits / 8);
    at = end + within(size, bytes.length - end, "the bytes of a run");
    seen += values;
  }
  return at;
}

/** Checks the values of a page, which begin at `start`; nulls may make them fewer than `most`. */
export function checkValues(
  encoding: Encoding,
  bytes: Uint8Array,
  start: number,
  most: number,
  type: ParquetType,
  schemaPath: readonly SchemaTree[],
): void {
  switch (encoding) {
    case "PLAIN":
      return; // hyparquet takes each value's bytes, and fails where they end
    case "PLAIN_DICTIONARY":
    case "RLE_DICTIONARY":
      return checkIndices(bytes, start, most);
    case "RLE":
      if (type !== "BOOLEAN") throw new DamagedParquet("has runs of values that are not booleans");
      // After their length.
      return skipSomeRuns(bytes, start + 4, 1, most);
    case "BYTE_STREAM_SPLIT": {
      const width = schemaPath.at(-1)?.element.type_length ?? 8;
      within(most * width, 2 ** 30, "the bytes of its values");
      return;
    }
    case "DELTA_BINARY_PACKED":
    case "DELTA_LENGTH_BYTE_ARRAY":
      if (most > 0) readDeltaHeader(bytes, start, most);
      return;
    case "DELTA_BYTE_ARRAY":
      if (most > 0) checkPrefixes(bytes, start, most);
      return;
    default:
      throw new DamagedParquet(`has values in the encoding ${encoding}, which is not known here`);
  }
}

/** Indices into a dictionary, after a byte that says how many bits one has. */
function checkIndices(bytes: Uint8Array, start: number, most: number): void {
  if (most === 0 || start >= bytes.length) return;
  const bits = within(bytes[start], 32, "the bits of an index");
  skipSomeRuns(bytes, start + 1, bits, most);
}

/** As `skipRuns`, where nulls may make the values fewer than `most`: the bytes end then. */
function skipSomeRuns(bytes: Uint8Array, start: number, bits: number, most: number): void {
  let at = start;
  let seen = 0;
  while (seen < most && at < bytes.length) {
    const { value: header, end } = readVarint(bytes, at);
    const half = Math.floor(header / 2);
    const isPacked = header % 2 === 1;
    const values = isPacked ? half * 8 : half;
    within(values, most - seen + (isPacked ? 7 : 0), "the values of a run");
    at = end + (isPacked ? half * bits : Math.ceil(bits / 8));
    seen += values;
  }
}

/** Blocks of differences: their size in values, cut into so many parts. */
function readDeltaHeader(
  bytes: Uint8Array,
  start: number,
  most: number,
): { parts: number; perPart: number; count: number; first: number; at: number } {
  const size = readVarint(bytes, start);
  const parts = readVarint(bytes, size.end);
  const count = readVarint(bytes, parts.end);
  const first = readVarint(bytes, count.end);
  within(size.value, 1 << 20, "the values of a block");
  within(parts.value, Math.max(1, size.value), "the parts of a block");
  within(count.value, most, "the values of a page");
  const perPart = size.value / parts.value;
  if (!Number.isInteger(perPart) || perPart % 8 !== 0 || perPart === 0) {
    throw new DamagedParquet(`has blocks of ${size.value} values in ${parts.value} parts`);
  }
  return {
    parts: parts.value,
    perPart,
    count: count.value,
    first: unfold(first.value),
    at: first.end,
  };
}

/** Texts that begin as the one before: the lengths of what they share are to add up to a page's size. */
function checkPrefixes(bytes: Uint8Array, start: number, most: number): void {
  const prefixes = readDeltas(bytes, start, most);
  const suffixes = readDeltas(bytes, prefixes.end, most);
  let length = 0;
  let total = 0;
  for (let i = 0; i < prefixes.values.length; i++) {
    const shared = within(prefixes.values[i], length, "the length of a shared beginning");
    length = shared + within(suffixes.values[i], bytes.length, "the length of a text");
    total += length;
  }
  within(total, 2 ** 28, "the bytes of a page's texts");
}

/** Decodes whole numbers below 2⁵³ from their differences. */
function readDeltas(
  bytes: Uint8Array,
  start: number,
  most: number,
): { values: Float64Array; end: number } {
  const { parts, perPart, count, first, at: begin } = readDeltaHeader(bytes, start, most);
  const values = new Float64Array(count);
  if (count > 0) values[0] = first;
  let at = begin;
  let value = first;
  for (let done = 1; done < count;) {
    const least = readVarint(bytes, at);
    const widthsAt = least.end;
    at = widthsAt + within(parts, bytes.length - widthsAt, "the bytes of a block");
    for (let part = 0; part < parts && done < count; part++) {
      const bits = within(bytes[widthsAt + part], 32, "the bits of a difference");
      const end = at + within((perPart * bits) / 8, bytes.length - at, "the bytes of a block");
      for (let i = 0; i < perPart && done < count; i++) {
        value += unfold(least.value) + readBits(bytes, at, i * bits, bits);
        values[done++] = value;
      }
      at = end;
    }
  }
  return { values, end: at };
}

function readBits(bytes: Uint8Array, start: number, from: number, bits: number): number {
  let value = 0;
  for (let bit = 0; bit < bits; bit++) {
    const place = from + bit;
    const isSet = ((bytes[start + (place >> 3)] ?? 0) >> (place & 7)) & 1;
    value += isSet * 2 ** bit;
  }
  return value;
}

/** 0, −1, 1, −2, … of 0, 1, 2, 3, … */
function unfold(value: number): number {
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}

/** Exact below 2⁵³; what is larger is only stepped over. */
function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } {
  let value = 0;
  for (let at = start, scale = 1; at < bytes.length && at - start < 10; at++, scale *= 128) {
    const byte = bytes[at] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, end: at + 1 };
  }
  throw new DamagedParquet("has a number that does not end");
}
