// What every training attention knows of its rows: which keys a query sees, and where keys lie.
//
//   qkv            Act  [tokens, stride]   heads by the layout of src/kernels/attention-layout.ts
//   segment_start  u32  [tokens]           non-decreasing; query i sees the last `window` of the keys
//                                          segment_start[i] … i
//   lse            f32  [2, tokens, heads] log Σ exp(scores); then Σ d_o ∘ o, by the backward pass over
//                                          queries for the one over keys
//
// lib/attention-cached-rows.wgsl has the functions of forward passes again, over a cache. Needs
// lib/attention-heads.wgsl.

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
  scale: f32,
  window: u32,         // at least 1
  half_quads: u32,     // half the dimensions that rotary positions turned, / 4; 0 for none
  angles: u32,         // rows of their table
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read> segment_start: array<u32>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;

/// Tokens in qkv, and of them those that are real: the first.
fn all_tokens() -> u32 {
  return params.tokens;
}

fn real_tokens() -> u32 {
  return params.tokens;
}

/// Where tokens stand among the keys.
fn position_of(token: u32) -> u32 {
  return token;
}

fn positions_of(tokens: vec4u) -> vec4u {
  return tokens;
}

/// The last key that any query sees.
fn last_key() -> u32 {
  return params.tokens - 1u;
}

fn k_column(kv_head: u32) -> u32 {
  return (params.k_base + kv_head * params.kv_stride) / 4u;
}

fn v_column(kv_head: u32) -> u32 {
  return (params.v_base + kv_head * params.kv_stride) / 4u;
}

/// The first quad of a key, and of a value.
fn key_start(key: u32, kv_head: u32) -> u32 {
  return key * (params.stride / 4u) + k_column(kv_head);
}

fn value_start(key: u32, kv_head: u32) -> u32 {
  return key * (params.stride / 4u) + v_column(kv_head);
}

fn key_quad(at: u32) -> vec4<Act> {
  return qkv[at];
}

fn value_quad(at: u32) -> vec4<Act> {
  return qkv[at];
}

/// Keeps the log of a softmax's sum; heads of queries are counted token by token.
fn note_sum(head_row: u32, log_sum: f32) {
  lse[head_row] = log_sum;
}

/// The first key that a query sees: its document's, or its window's.
fn first_key(query: u32) -> u32 {
  return max(segment_start[query], query + 1u - min(query + 1u, params.window));
}

/// The token after the last query that sees key j. First keys do not decrease: halve.
fn end_of_queries(j: u32) -> u32 {
  var below = j;
  var end = params.tokens;
  while (end - below > 1u) {
    let middle = (below + end) / 2u;
    if (first_key(middle) <= j) {
      below = middle;
    } else {
      end = middle;
    }
  }
  return end;
}
