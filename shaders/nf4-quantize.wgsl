// Weights to NF4, blocks of 64 of the flat array, bit for bit as bitsandbytes does it.
//
//   source  Quad  [⌈count / 4⌉]       a slice of the weight, as lib/widen-….wgsl reads it
//   codes   u32   [⌈weights / 8⌉]     written from word 8 · first_block on
//   absmax  f32   [⌈weights / 64⌉]    written from first_block on: max |w| of each block
//
// code = how many thresholds lie below w · (1 / absmax), with both the reciprocal and the product rounded
// to f32. A block of zeros gets the code of zero. Its absmax shows a block that holds no finite number.
//
// A thread makes a block. Only the last block of a slice may be short; count is a multiple of 4.

struct Params {
  first_block: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<Quad>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;
@group(0) @binding(3) var<storage, read_write> absmax: array<f32>;

@compute @workgroup_size(64)
fn quantize(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let block = flat_workgroup(workgroup, workgroups) * 64u + thread;
  if (block * 64u >= params.count) {
    return;
  }
  let first = block * 16u;                 // in fours
  let end = min(first + 16u, params.count / 4u);

  // Magnitudes compare as their bits do; unlike max() on floats, this lets a NaN win.
  var largest = vec4u();
  for (var i = first; i < end; i++) {
    largest = max(largest, bitcast<vec4u>(widen(source[i])) & vec4u(0x7fffffffu));
  }
  let bits = max(max(largest.x, largest.y), max(largest.z, largest.w));
  absmax[params.first_block + block] = bitcast<f32>(bits);

  let scale = reciprocal(bits);
  var word = (params.first_block + block) * 8u;
  for (var i = first; i < end; i += 2u) {
    let even = nf4_codes(widen(source[i]) * scale);
    var odd = vec4u();
    if (i + 1u < end) {
      odd = nf4_codes(widen(source[i + 1u]) * scale);
    }
    // Even elements in the high nibbles.
    codes[word] = dot(even, vec4u(0x10u, 0x1u, 0x1000u, 0x100u))
      | dot(odd, vec4u(0x100000u, 0x10000u, 0x10000000u, 0x1000000u));
    word++;
  }
}

/// 1 / value for the bits of a value ≥ 0, correctly rounded, which WGSL's own division need not be.
/// 0 for zero and for what is too small (subnormal) or too large (from 2¹²⁵ on) to have a normal one.
fn reciprocal(bits: u32) -> f32 {
  let exponent = bits >> 23u;
  if (exponent == 0u || exponent > 251u) {
    return 0.0;
  }
  // value = divisor · 2^(exponent − 150). Long division of 2⁴⁷ by divisor: 2²³ ≤ quotient ≤ 2²⁴.
  let divisor = (bits & 0x7fffffu) | 0x800000u;
  var quotient = u32(divisor == 0x800000u);
  var rest = select(0x800000u, 0u, divisor == 0x800000u);
  for (var i = 0u; i < 24u; i++) {
    rest *= 2u;
    quotient *= 2u;
    if (rest >= divisor) {
      rest -= divisor;
      quotient += 1u;
    }
  }
  // To nearest; a tie would make an odd number divide a power of 2.
  quotient += u32(rest * 2u > divisor);
  return bitcast<f32>(bitcast<u32>(f32(quotient)) + (103u << 23u) - (exponent << 23u));
}
