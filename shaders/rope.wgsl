// Turns dimensions i and i + pairs, i < pairs, of every query and key head by an angle, in place.
//
//   qkv        Act  [tokens, stride]        heads by the layout of src/kernels/attention.ts
//   positions  u32  [tokens]
//   table      f32  [angles, 2 · pairs]     a row is its cosines, then as many sines
//
//   (a, b) → (a cos − b sin, b cos + a sin); backward turns the other way.
//
// One thread turns one pair. Values are not touched, nor what a head has past dimension 2 · pairs.

const THREADS = 64u;

struct Params {
  tokens: u32,
  heads: u32,
  kv_heads: u32,
  stride: u32,
  q_group_stride: u32,
  k_base: u32,
  v_base: u32,
  kv_stride: u32,
  head_quads: u32,     // head size / 4
  angles: u32,         // rows of the table
  pairs: u32,          // of one head
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<Act>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<f32>;

/// Column of a head; key heads are counted after the query heads.
fn head_column(head: u32) -> u32 {
  if (head >= params.heads) {
    return params.k_base + (head - params.heads) * params.kv_stride;
  }
  let group = params.heads / params.kv_heads;
  return (head / group) * params.q_group_stride + (head % group) * params.head_quads * 4u;
}

fn turn(pair: u32, direction: f32) {
  let heads = params.heads + params.kv_heads;
  let pairs = params.pairs;
  let token = pair / (heads * pairs);
  if (token >= params.tokens) {
    return;
  }
  let i = pair % pairs;
  let a_at = token * params.stride + head_column(pair / pairs % heads) + i;
  let b_at = a_at + pairs;

  var position = positions[token];
  if (USE_STEP_POSITION) {
    position += step.position;
  }
  let row = min(position, params.angles - 1u) * 2u * pairs;
  let cosine = table[row + i];
  let sine = direction * table[row + pairs + i];

  let a = f32(qkv[a_at]);
  let b = f32(qkv[b_at]);
  qkv[a_at] = Act(a * cosine - b * sine);
  qkv[b_at] = Act(b * cosine + a * sine);
}

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  turn(flat_workgroup(workgroup, count) * THREADS + lane, 1.0);
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  turn(flat_workgroup(workgroup, count) * THREADS + lane, -1.0);
}
