// Half-precision floats as bytes: f16 and bf16 to f32 and back.
// Encoding rounds to nearest, ties to even; subnormals, infinities and NaN are exact.

/** The dtypes that hold weights as numbers. */
export type FloatDtype = "F16" | "BF16" | "F32";

/** One f16, given as its 16 bits. */
export function f16ToF32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** `bits` is an f32; the result is an f16. */
function narrowToF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN, quiet
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and up round to infinity
  if (magnitude < 0x38800000) {
    // Below 2⁻¹⁴ the result is a subnormal: a multiple of 2⁻²⁴.
    const shift = 126 - (magnitude >>> 23);
    if (shift > 24) return sign; // under half of the smallest subnormal
    return sign | roundShift((magnitude & 0x7fffff) | 0x800000, shift);
  }
  // The exponent moves from bias 127 to 15; a carry out of the fraction correctly raises it.
  return sign | roundShift(magnitude - 0x38000000, 13);
}

function narrowToBf16(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40; // NaN, quiet
  // Adding just under half, or half where the kept part is odd, carries exactly when rounding up.
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** `value / 2^shift`, rounded to nearest, ties to even. `value` is a u32. */
function roundShift(value: number, shift: number): number {
  const kept = value >>> shift;
  const rest = value - kept * 2 ** shift;
  const half = 2 ** (shift - 1);
  return rest > half || (rest === half && kept % 2 === 1) ? kept + 1 : kept;
}

let f16Table: Float32Array | undefined;

/** Every f16 as f32, 256 KiB, made on first use: a look-up is several times faster than the sum. */
function allF16(): Float32Array {
  f16Table ??= Float32Array.from({ length: 65536 }, (_, bits) => f16ToF32(bits));
  return f16Table;
}

/** Each f16, given as its 16 bits, as f32. */
export function decodeF16(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const table = allF16();
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) values[i] = table[halves[i] as number] as number;
  return values;
}

/** Each bf16, given as its 16 bits, as f32. */
export function decodeBf16(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16;
  return new Float32Array(bits.buffer);
}

/** The 16 bits of the f16 nearest to each value, as a new array. */
export function encodeF16(values: Float32Array): Uint16Array<ArrayBuffer> {
  return narrow(values, narrowToF16);
}

/** The 16 bits of the bf16 nearest to each value, as a new array. */
export function encodeBf16(values: Float32Array): Uint16Array<ArrayBuffer> {
  return narrow(values, narrowToBf16);
}

function narrow(values: Float32Array, convert: (bits: number) => number): Uint16Array<ArrayBuffer> {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) halves[i] = convert(bits[i] as number);
  return halves;
}

/** Little-endian bytes of a tensor as f32. The bytes may lie at any offset. */
export function decodeFloats(bytes: Uint8Array, dtype: FloatDtype): Float32Array<ArrayBuffer> {
  const aligned = bytes.slice(); // a typed array must start at a multiple of its element size
  if (dtype === "F32") return new Float32Array(aligned.buffer);
  const halves = new Uint16Array(aligned.buffer);
  return dtype === "F16" ? decodeF16(halves) : decodeBf16(halves);
}

/** f32 values as the little-endian bytes of a tensor. */
export function encodeFloats(values: Float32Array, dtype: FloatDtype): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(values.slice().buffer);
  const halves = dtype === "F16" ? encodeF16(values) : encodeBf16(values);
  return new Uint8Array(halves.buffer);
}
