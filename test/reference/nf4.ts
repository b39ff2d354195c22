// NF4 with double quantization, as bitsandbytes stores it, in plain f32 steps.
//
//   packed     u8   [n / 2]     two codes a byte, the even element in the high nibble
//   absmax     f32  [n / 64]    largest magnitude of each block of 64 weights
//   quantized  u8   [blocks]    absmax − offset, as codes of the signed dynamic 8-bit map
//   nestedAbsmax f32 [blocks / 256], offset f32: what turns those codes back into absmax
//
// Unlike its neighbors this reference is f32, not f64: the format is defined by f32 operations, each
// rounded on its own, and bytes are compared for equality. The last block may be short.
import dynamic from "../fixtures/bnb/dynamic-map.json" with { type: "json" };
import numerics from "../fixtures/numerics.json" with { type: "json" };

const CODE = f32FromBits(numerics.nf4_code_u32);
const THRESHOLDS = Float32Array.from(numerics.nf4_thresholds);
const DYNAMIC = f32FromBits(dynamic.bnb_dynamic_map_signed_u32);
const DYNAMIC_THRESHOLDS = DYNAMIC.subarray(1).map((upper, i) =>
  Math.fround(Math.fround(DYNAMIC[i]! + upper) * 0.5),
);
const NESTED_BLOCK = 256;

/** Weights to packed NF4 codes. Blocks run over the flat array. */
export function quantize(
  weights: Float32Array,
  blockSize = 64,
): { packed: Uint8Array; absmax: Float32Array } {
  const { codes, absmax } = quantizeBlocks(weights, blockSize, THRESHOLDS);
  const packed = new Uint8Array(Math.ceil(weights.length / 2));
  codes.forEach((code, i) => (packed[i >> 1]! |= i % 2 === 0 ? code << 4 : code));
  return { packed, absmax };
}

/** Block scales to 8 bits each, by their distance from their mean. */
export function doubleQuantize(
  absmax: Float32Array,
  offset = torchMean(absmax),
): { quantized: Uint8Array; nestedAbsmax: Float32Array; offset: number } {
  const centered = absmax.map((value) => value - offset);
  const full = centered.length - (centered.length % NESTED_BLOCK);
  const { codes, absmax: largest } = quantizeBlocks(
    centered.subarray(0, full),
    NESTED_BLOCK,
    DYNAMIC_THRESHOLDS,
  );
  // A last block that is not full is divided by its largest, which is never 0, and not multiplied.
  const rest = centered.subarray(full);
  const scale = Math.fround(Math.max(1e-38, ...rest.map(Math.abs)));
  const restCodes = rest.map((value) => codeOf(Math.fround(value / scale), DYNAMIC_THRESHOLDS));
  return {
    quantized: Uint8Array.from([...codes, ...restCodes]),
    nestedAbsmax: Float32Array.from(rest.length > 0 ? [...largest, scale] : largest),
    offset,
  };
}

/**
 * The mean of f32 values as torch takes it on one thread of an x86 processor: eight lanes by four, each of
 * the 32 columns summed by levels, and all of it in f32.
 */
export function torchMean(values: Float32Array): number {
  const all = Array.from(values);
  const lanes = all.length < 8 ? 1 : 8;
  const rows = chunks(all, 4 * lanes).filter((row) => row.length === 4 * lanes);
  const levelSize = 2 ** Math.max(4, Math.floor(Math.ceil(Math.log2(rows.length)) / 4));
  const columns = Array.from({ length: 4 * lanes }, (_, column) =>
    sumByLevels(
      rows.map((row) => row[column]!),
      levelSize,
    ),
  );
  const rest = chunks(all.slice(rows.length * 4 * lanes), lanes);
  const laneSums = Array.from({ length: lanes }, (_, lane) => {
    const [first = 0, ...others] = columns.filter((_sum, column) => column % lanes === lane);
    const left = rest.filter((vector) => vector.length === lanes).map((vector) => vector[lane]!);
    return sum([first, ...left, ...others]);
  });
  const tail = rest.filter((vector) => vector.length < lanes).flat();
  return Math.fround(sum([...tail, ...laneSums]) / all.length);
}

/** Sums of whole chunks, then of whole chunks of those, three times; and what is left over at each. */
function sumByLevels(values: readonly number[], size: number): number {
  const leftOver: number[] = [];
  let current = values;
  for (let level = 0; level < 3; level++) {
    const parts = chunks(current, size);
    leftOver.push(sum(parts.filter((part) => part.length < size).flat()));
    current = parts.filter((part) => part.length === size).map(sum);
  }
  return sum([...leftOver, sum(current)]);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => Math.fround(total + value), 0);
}

function chunks(values: readonly number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) =>
    values.slice(i * size, (i + 1) * size),
  );
}

/** The block scales that double quantization left. */
export function dequantizeAbsmax(
  quantized: Uint8Array,
  nestedAbsmax: Float32Array,
  offset: number,
): Float32Array {
  return Float32Array.from(quantized, (code, i) => {
    const scaled = Math.fround(DYNAMIC[code]! * nestedAbsmax[Math.floor(i / NESTED_BLOCK)]!);
    return scaled + offset;
  });
}

/** The weights that training sees. `count` is needed because an odd count leaves half a byte. */
export function dequantize(
  packed: Uint8Array,
  absmax: Float32Array,
  count = packed.length * 2,
  blockSize = 64,
): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const byte = packed[i >> 1]!;
    const code = i % 2 === 0 ? byte >> 4 : byte & 15;
    return CODE[code]! * absmax[Math.floor(i / blockSize)]!;
  });
}

function quantizeBlocks(values: Float32Array, blockSize: number, thresholds: Float32Array) {
  const codes = new Uint8Array(values.length);
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  for (let block = 0; block < absmax.length; block++) {
    const [start, end] = [block * blockSize, Math.min((block + 1) * blockSize, values.length)];
    const largest = values.subarray(start, end).reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const reciprocal = Math.fround(1 / largest);
    absmax[block] = largest;
    for (let i = start; i < end; i++) {
      // A block of zeros gets the code of zero, as on bitsandbytes' CPU path. CUDA's gives 0.
      const x = largest === 0 ? 0 : Math.fround(values[i]! * reciprocal);
      codes[i] = codeOf(x, thresholds);
    }
  }
  return { codes, absmax };
}

/** How many thresholds lie below x: on a tie, the lower code. */
function codeOf(x: number, thresholds: Float32Array): number {
  const first = thresholds.findIndex((threshold) => x <= threshold);
  return first === -1 ? thresholds.length : first;
}

function f32FromBits(bits: number[]): Float32Array {
  return new Float32Array(Uint32Array.from(bits).buffer);
}
