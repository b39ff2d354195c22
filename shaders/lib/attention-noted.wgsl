// What the backward passes with a workgroup of 128 threads know of 32 rows of queries, and how they store.
//
//   d_o    Act  [tokens, heads, head size]
//   o      Act  [tokens, heads, head size]
//   d_qkv  Act  as qkv

@group(0) @binding(3) var<storage, read> d_o: array<vec4<Act>>;
@group(0) @binding(4) var<storage, read> o: array<vec4<Act>>;
@group(0) @binding(6) var<storage, read_write> d_qkv: array<vec4<Act>>;

// Of 32 rows of queries: where they start in qkv, and in d_o; their lse and row sums; token and first key.
var<workgroup> query_starts: array<u32, 64>;
var<workgroup> query_sums: array<f32, 64>;
var<workgroup> query_tokens: array<u32, 32>;
var<workgroup> query_first_keys: array<u32, 32>;
// What each thread adds to a row sum.
var<workgroup> row_parts: array<f32, 128>;

/// Notes what is needed of 32 rows of queries. Rows past the last count as the last.
fn note_queries(first_row: u32, kv_head: u32, lane: u32) {
  if (lane < 32u) {
    let row = min(first_row + lane, query_rows() - 1u);
    let token = row / (params.heads / params.kv_heads);
    let at = head_row(row, kv_head);
    query_starts[lane] = query_row(row, kv_head);
    query_starts[lane + 32u] = at * params.head_quads;
    query_sums[lane] = LOG2_E * lse[at];
    query_tokens[lane] = token;
    query_first_keys[lane] = first_key(token);
  }
}

/// Σ d_o ∘ o of the 32 rows noted, for both halves to use and for backward_keys.
fn sum_rows(first_row: u32, kv_head: u32, lane: u32, writes: bool) {
  let row = lane / 4u;
  var part = 0.0;
  for (var quad = lane % 4u; quad < params.head_quads; quad += 4u) {
    let at = query_starts[32u + row] + quad;
    part += dot(vec4f(d_o[at]), vec4f(o[at]));
  }
  row_parts[lane] = part;
  workgroupBarrier();
  if (lane < 32u) {
    let n = 4u * lane;
    let sum = (row_parts[n] + row_parts[n + 1u]) + (row_parts[n + 2u] + row_parts[n + 3u]);
    query_sums[32u + lane] = sum;
    if (writes && first_row + lane < query_rows()) {
      lse[params.tokens * params.heads + head_row(first_row + lane, kv_head)] = sum;
    }
  }
  workgroupBarrier();
}

/// 2^scores − lse where key j is seen by a query of `token`, and 0 elsewhere.
fn weigh(scores: vec4f, log_sum: vec4f, is_seen: vec4<bool>) -> vec4f {
  return select(vec4f(), exp2(scores - log_sum), is_seen);
}

fn store(at: u32, quads: vec2u, pair: mat2x4f) {
  if (quads.x < params.head_quads) { d_qkv[at + quads.x] = vec4<Act>(pair[0]); }
  if (quads.y < params.head_quads) { d_qkv[at + quads.y] = vec4<Act>(pair[1]); }
}
