// What every attention over a cache knows of its rows: which keys a query sees, and where keys lie.
//
//   qkv     Act   [rows, stride]                     heads by the layout of src/kernels/attention-layout.ts
//   keys    Quad  [capacity, kv_heads, head size / 4]
//   values  Quad  as keys
//
// Row t is the token at step.position + t and sees the last `window` of cache rows 0 … step.position + t. Rows
// from step.rows on are padding. lib/attention-rows.wgsl has the same functions for training, so that a forward
// pass is one text for both. Needs lib/attention-heads.wgsl, lib/step.wgsl, `widen` of Quad, and one of
// lib/cache-plain and -scaled.wgsl.

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  stride: u32,
  q_group_stride: u32,
  k_base: u32,
  v_base: u32,
  kv_stride: u32,
  head_quads: u32,     // head size / 4
  capacity: u32,
  scale: f32,
  window: u32,         // at least 1
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read> keys: array<Quad>;
@group(0) @binding(3) var<storage, read> values: array<Quad>;

/// Tokens in qkv, and of them those that are real: the first.
fn all_tokens() -> u32 {
  return params.rows;
}

fn real_tokens() -> u32 {
  return min(params.rows, step.rows);
}

/// Where tokens stand among the keys.
fn position_of(token: u32) -> u32 {
  return min(step.position + token, params.capacity - 1u);
}

fn positions_of(tokens: vec4u) -> vec4u {
  return min(step.position + tokens, vec4u(params.capacity - 1u));
}

/// The last key that any query sees; what lies behind it was never written.
fn last_key() -> u32 {
  return position_of(max(real_tokens(), 1u) - 1u);
}

/// Where a head of keys or values lies in the cache, in heads.
fn cached_head(key: u32, kv_head: u32) -> u32 {
  return key * params.kv_heads + kv_head;
}

/// The first quad of a key, and of a value.
fn key_start(key: u32, kv_head: u32) -> u32 {
  return cached_head(key, kv_head) * params.head_quads;
}

fn value_start(key: u32, kv_head: u32) -> u32 {
  return cached_head(key, kv_head) * params.head_quads;
}

fn key_quad(at: u32) -> vec4f {
  return key_scale(at / params.head_quads) * widen(keys[at]);
}

fn value_quad(at: u32) -> vec4f {
  return value_scale(at / params.head_quads) * widen(values[at]);
}

/// Nothing goes back over a cache.
fn note_sum(head_row: u32, log_sum: f32) {}

/// The first key that a query sees.
fn first_key(query: u32) -> u32 {
  return query + 1u - min(query + 1u, params.window);
}
