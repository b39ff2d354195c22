// Scales of scales: the block scales of an NF4 weight in 8 bits each, bit for bit as bitsandbytes does it.
//
// On the host, every step rounded to f32, because the format is defined by f32 operations. There is no one
// bitsandbytes: its CUDA kernel divides approximately, and its compiled CPU library looks codes up in a
// table of 65,536. What is matched is the backend that does as its own definition says ("default", in torch).

/** Scales that share one scale of scales. */
const NESTED_BLOCK = 256;

/** The least scale of a block that is not full, by which bitsandbytes avoids dividing by zero. */
const TINY = Math.fround(1e-38);

export interface DoubleQuantized {
  /** 8-bit codes, one a scale. */
  readonly quantized: Uint8Array<ArrayBuffer>;
  /** f32 [⌈scales / 256⌉]. */
  readonly nestedAbsmax: Float32Array<ArrayBuffer>;
  /** f32: the mean of the scales. */
  readonly offset: number;
  /** What is left of the scales. */
  readonly dequantized: Float32Array<ArrayBuffer>;
}

/**
 * Block scales to 8 bits each: their distance from the mean of the whole tensor, in blocks of 256, on the
 * signed dynamic map.
 */
export function doubleQuantize(absmax: Float32Array): DoubleQuantized {
  const offset = torchMean(absmax);
  const quantized = new Uint8Array(absmax.length);
  const dequantized = new Float32Array(absmax.length);
  const nestedAbsmax = new Float32Array(Math.ceil(absmax.length / NESTED_BLOCK));
  // In plain loops over one scratch block: a model has tens of millions of scales, while its files are read.
  const scratch = new Float32Array(NESTED_BLOCK);
  const bits = new Uint32Array(scratch.buffer);
  for (let block = 0; block < nestedAbsmax.length; block++) {
    const start = block * NESTED_BLOCK;
    const count = Math.min(NESTED_BLOCK, absmax.length - start);
    const isFull = count === NESTED_BLOCK;
    let largest = isFull ? 0 : TINY;
    for (let i = 0; i < count; i++) {
      scratch[i] = at(absmax, start + i) - offset;
      largest = Math.max(largest, Math.abs(at(scratch, i)));
    }
    // Of what f32 holds: the next steps are f32's.
    largest = Math.fround(largest);
    nestedAbsmax[block] = largest;
    const reciprocal = largest === 0 ? 0 : Math.fround(1 / largest);
    for (let i = 0; i < count; i++) {
      // In the last block, where it is short, bitsandbytes divides.
      scratch[i] = isFull ? at(scratch, i) * reciprocal : at(scratch, i) / largest;
      const code = dynamicCode(at(scratch, i), bitsAt(bits, i));
      quantized[start + i] = code;
      dequantized[start + i] = Math.fround(at(DYNAMIC_MAP, code) * largest) + offset;
    }
  }
  return { quantized, nestedAbsmax, offset, dequantized };
}

/** The lanes of a vector register, as torch's kernels for sums have it on x86. */
const LANES = 8;
/** Vectors that are summed side by side. */
const SIDE_BY_SIDE = 4;
const LEVELS = 4;

/**
 * The mean as torch computes it on a processor, on one thread (and on any number up to 32,768 values): f32
 * sums in a fixed order, and a division. Four rows of eight lanes are summed down the values. So that no
 * large sum meets a small value, after every 2^bits rows the sum goes up a level and starts anew.
 */
function torchMean(values: Float32Array): number {
  const lanes = values.length < LANES ? 1 : LANES;
  const width = lanes * SIDE_BY_SIDE;
  const rows = Math.floor(values.length / width);
  const bits = Math.max(4, Math.floor((32 - Math.clz32(rows - 1)) / LEVELS));
  const sums = Array.from({ length: LEVELS }, () => new Float32Array(width));
  const [lowest = new Float32Array(width)] = sums;
  for (let row = 0; row < rows; row++) {
    const first = row * width;
    for (let i = 0; i < width; i++) lowest[i] = at(lowest, i) + at(values, first + i);
    for (let level = 1; level < LEVELS && (row + 1) % 2 ** (bits * level) === 0; level++) {
      addTo(sums[level], sums[level - 1]);
      sums[level - 1]?.fill(0);
    }
  }
  const total = new Float32Array(width);
  for (const sum of sums) addTo(total, sum);
  // The vectors that fill no row go to the first, and the others then follow it.
  const first = total.subarray(0, lanes);
  const vectorEnd = values.length - (values.length % lanes);
  for (let start = rows * width; start < vectorEnd; start += lanes) {
    addTo(first, values.subarray(start, start + lanes));
  }
  for (let start = lanes; start < width; start += lanes) {
    addTo(first, total.subarray(start, start + lanes));
  }
  const last = [...values.subarray(vectorEnd), ...first];
  return Math.fround(last.reduce((sum, value) => Math.fround(sum + value), 0) / values.length);
}

function addTo(sums: Float32Array | undefined, values: Float32Array | undefined): void {
  values?.forEach((value, i) => {
    if (sums) sums[i] = at(sums, i) + value;
  });
}

/** The code whose value is nearest to x, in [−1, 1], whose f32 has these bits; of two as near, the lower. */
function dynamicCode(x: number, bits: number): number {
  let code = codeAt(firstCodes(), bits >>> 16);
  while (code < 255 && x > at(DYNAMIC_THRESHOLDS, code)) code++;
  return code;
}

let knownFirstCodes: Uint8Array | undefined;

/** The lowest code of all numbers whose f32 begins with the same 16 bits. There are one or two to try from it. */
function firstCodes(): Uint8Array {
  if (knownFirstCodes) return knownFirstCodes;
  const lowest = new Float32Array(2 ** 16);
  const bits = new Uint32Array(lowest.buffer);
  // Of negative numbers, the one of largest magnitude.
  for (let high = 0; high < 2 ** 16; high++) bits[high] = (high << 16) | (high >> 15 ? 0xffff : 0);
  return (knownFirstCodes = Uint8Array.from(lowest, (x) => {
    let [low, high] = [0, DYNAMIC_MAP.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (x > at(DYNAMIC_THRESHOLDS, middle)) low = middle + 1;
      else high = middle;
    }
    return low;
  }));
}

// One function for each kind of array: what sees only one kind is compiled to a load.
function at(values: Float32Array, index: number): number {
  return values[index] ?? Number.NaN;
}

function bitsAt(values: Uint32Array, index: number): number {
  return values[index] ?? 0;
}

function codeAt(codes: Uint8Array, index: number): number {
  return codes[index] ?? 0;
}

/**
 * The values of the 8-bit codes, ascending: f32 [256]. bitsandbytes' create_dynamic_map(signed=True): for
 * each power of ten from 1e-6 to 1 twice as many steps as for the one before, the middles of equal parts of
 * [0.1, 1]; then 0 and 1. The last bits are those of torch 2's linspace on x86, which multiplies and adds
 * in one operation.
 */
export const DYNAMIC_MAP = Float32Array.from([...dynamicValues(), 0, 1]).toSorted();

function* dynamicValues(): Generator<number> {
  const start = Math.fround(0.1);
  for (let power = 0; power < 7; power++) {
    const parts = 2 ** power;
    const step = Math.fround(Math.fround(1 - start) / parts);
    // From the nearer end. In f64 the product is exact, so that only the sum is rounded.
    const boundary = (i: number) =>
      Math.fround(i < (parts + 1) >> 1 ? start + step * i : 1 - step * (parts - i));
    const scale = Math.fround(10 ** (power - 6));
    for (let i = 0; i < parts; i++) {
      const middle = Math.fround(boundary(i) + boundary(i + 1)) / 2;
      yield Math.fround(scale * middle);
      yield -Math.fround(scale * middle);
    }
  }
}

const DYNAMIC_THRESHOLDS = DYNAMIC_MAP.subarray(1).map((upper, i) =>
  Math.fround(Math.fround(at(DYNAMIC_MAP, i) + upper) / 2),
);
