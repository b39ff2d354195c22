// lib/gemv.wgsl over a weight stored as NF4, every element of which is unpacked where it is used.
//
//   codes   u32  [⌈outputs · inputs / 8⌉]       absmax  f32  [⌈outputs · inputs / 64⌉]
//
// `look_up`, which makes numbers of codes, is that of one of lib/nf4-select, -shared and -shuffle.wgsl.
// ALIGNED says that inputs are a multiple of 64, so that no block or word belongs to two rows.

@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> absmax: array<f32>;

fn prepare(thread: u32) {
  prepare_look_up(thread);
}

fn pair_sums(first: u32, second: u32, lane: u32, x_at: u32) -> vec2f {
  if (!ALIGNED) {
    return vec2f(ragged_sum(first, lane, x_at), ragged_sum(second, lane, x_at));
  }
  if (LANES == 1u) {
    return pair_of_blocks(first, second, x_at);
  }
  let words = params.inputs / 8u;
  let a_at = first * words;
  let b_at = second * words;
  var a = vec4f();
  var b = vec4f();
  for (var start = 0u; start < words; start += LANES) {
    // Past the end a lane repeats the last word, and counts it as nothing: all lanes look up together.
    let word = min(start + lane, words - 1u);
    let counts = f32(start + lane < words);
    let x0 = vec4f(x[x_at + 2u * word]) * counts;
    let x1 = vec4f(x[x_at + 2u * word + 1u]) * counts;
    let a_bits = codes[a_at + word];
    let b_bits = codes[b_at + word];
    let a_part = fma(x1, look_up(nf4_second(a_bits)), x0 * look_up(nf4_first(a_bits)));
    let b_part = fma(x1, look_up(nf4_second(b_bits)), x0 * look_up(nf4_first(b_bits)));
    a = fma(a_part, vec4f(absmax[(a_at + word) / 8u]), a);
    b = fma(b_part, vec4f(absmax[(b_at + word) / 8u]), b);
  }
  return vec2f(dot(a, vec4f(1.0)), dot(b, vec4f(1.0)));
}

/// As `pair_sums` for a thread alone: block after block, each scaled once.
fn pair_of_blocks(first: u32, second: u32, x_at: u32) -> vec2f {
  let blocks = params.inputs / 64u;
  var a = vec4f();
  var b = vec4f();
  for (var block = 0u; block < blocks; block++) {
    let a_block = first * blocks + block;
    let b_block = second * blocks + block;
    var a_part = vec4f();
    var b_part = vec4f();
    for (var i = 0u; i < 8u; i++) {
      let at = x_at + block * 16u + 2u * i;
      let x0 = vec4f(x[at]);
      let x1 = vec4f(x[at + 1u]);
      let a_bits = codes[a_block * 8u + i];
      let b_bits = codes[b_block * 8u + i];
      a_part = fma(x0, look_up(nf4_first(a_bits)), a_part);
      b_part = fma(x0, look_up(nf4_first(b_bits)), b_part);
      a_part = fma(x1, look_up(nf4_second(a_bits)), a_part);
      b_part = fma(x1, look_up(nf4_second(b_bits)), b_part);
    }
    a = fma(a_part, vec4f(absmax[a_block]), a);
    b = fma(b_part, vec4f(absmax[b_block]), b);
  }
  return vec2f(dot(a, vec4f(1.0)), dot(b, vec4f(1.0)));
}

/// A lane's share of one row that may begin and end inside a word. All in fours: a word is two, and lies in
/// one block; half of a row's first or last word may belong to its neighbor.
fn ragged_sum(output: u32, lane: u32, x_at: u32) -> f32 {
  let start = output * (params.inputs / 4u);
  let end = start + params.inputs / 4u;
  var sums = vec4f();
  for (var word = start / 2u + lane; word * 2u < end; word += LANES) {
    let at = word * 2u;
    let bits = codes[word];
    var part = vec4f();
    if (at >= start) {
      part = vec4f(x[x_at + at - start]) * nf4_values(nf4_first(bits));
    }
    if (at + 1u < end) {
      part = fma(vec4f(x[x_at + at + 1u - start]), nf4_values(nf4_second(bits)), part);
    }
    sums = fma(part, vec4f(absmax[at / 16u]), sums);
  }
  return dot(sums, vec4f(1.0));
}
