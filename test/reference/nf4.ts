// NF4 with double quantization, as bitsandbytes stores it, in plain f32 steps.
//
//   packed     u8   [n / 2]     two codes a byte, the even element in the high nibble
//   absmax     f32  [n / 64]    largest magnitude of each block of 64 weights
//   quantized  u8   [blocks]    absmax − offset, as codes of the signed dynamic 8-bit map
//   nestedAbsmax f32 [blocks / 256], offset f32: what turns those codes back into absmax
//
// Unlike its neighbors this reference is f32, not f64: the format is defined by f32 operations, each
// rounded on its own, and bytes are compared for equality. The last block may be short.
import numerics from "../fixtures/numerics.json" with { type: "json" };

const CODE = f32FromBits(numerics.nf4_code_u32);
const THRESHOLDS = Float32Array.from(numerics.nf4_thresholds);
const DYNAMIC = f32FromBits(numerics.bnb_dynamic_map_signed_u32);
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

/**
 * Block scales to 8 bits each. The offset is their mean; sums in another order may differ from it
 * in the last place, so a comparison of bytes passes the offset it is to be made with.
 */
export function doubleQuantize(
  absmax: Float32Array,
  offset = Math.fround(absmax.reduce((sum, value) => sum + value, 0) / absmax.length),
): { quantized: Uint8Array; nestedAbsmax: Float32Array; offset: number } {
  const centered = absmax.map((value) => value - offset);
  const { codes, absmax: nestedAbsmax } = quantizeBlocks(
    centered,
    NESTED_BLOCK,
    DYNAMIC_THRESHOLDS,
  );
  return { quantized: codes, nestedAbsmax, offset };
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
