// Causal grouped-query attention within documents, or over a cache: o = softmax(scale · q · kᵀ) · v.
//
//   o    Act  [tokens, heads, head size]
//   lse  f32  [tokens, heads]            log Σ exp(scores)
//
// Operands are those of lib/attention-rows.wgsl or lib/attention-cached-rows.wgsl, and o of tokens that are not
// real is 0. The work is shared out as lib/attention-pieces.wgsl says: a workgroup owns 32 queries of one head.
// The largest score so far and the sum are kept by row, and what was summed before is scaled down where a
// larger score turns up.

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

// [row of the other side][group of four own rows]
var<workgroup> weights: array<vec4f, TILE * GROUPS>;
// [group of other rows][group of own rows]
var<workgroup> maxima: array<vec4f, THREADS>;

fn scale_rows(rows: mat4x4f, factor: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * factor.x, rows[1] * factor.y, rows[2] * factor.z, rows[3] * factor.w);
}

fn key_starts(keys: vec4u, kv_head: u32) -> vec4u {
  return vec4u(
    key_start(keys.x, kv_head), key_start(keys.y, kv_head),
    key_start(keys.z, kv_head), key_start(keys.w, kv_head),
  );
}

fn key_quads(starts: vec4u, quad: u32) -> mat4x4f {
  let at = starts + quad;
  return mat4x4f(
    vec4f(key_quad(at.x)), vec4f(key_quad(at.y)), vec4f(key_quad(at.z)), vec4f(key_quad(at.w)),
  );
}

/// Products of queries at four rows of qkv with keys at four starts: [key][query].
fn products(queries: vec4u, keys: vec4u) -> mat4x4f {
  var sums = mat4x4f();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums += transpose(qkv_quads(queries, quad)) * key_quads(keys, quad);
  }
  return sums;
}

fn write_o(token: u32, head: u32, quad: u32, row: vec4f) {
  if (token < all_tokens() && quad < params.head_quads) {
    let at = (token * params.heads + head) * params.head_quads + quad;
    o[at] = vec4<Act>(select(vec4f(), row, token < real_tokens()));
  }
}

fn write_rows(tokens: vec4u, head: u32, quad: u32, rows: mat4x4f) {
  write_o(tokens.x, head, quad, rows[0]);
  write_o(tokens.y, head, quad, rows[1]);
  write_o(tokens.z, head, quad, rows[2]);
  write_o(tokens.w, head, quad, rows[3]);
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own_group = lane / GROUPS;
  let other_group = lane % GROUPS;
  let head = workgroup.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let first_query = workgroup.x * TILE;
  let last_token = real_tokens() - 1u;

  // Rows past the end repeat the last token.
  let tokens = first_query + own_group * 4u + FOUR;
  let i = positions_of(min(tokens, vec4u(last_token)));
  let q_rows = min(tokens, vec4u(last_token)) * (params.stride / 4u) + q_column(head);
  let starts = first_keys(i);
  let quad = workgroup.z * SLOTS * GROUPS + other_group;
  // Threads without a quad of the head sum its last one in vain.
  let v_quads = min(quad + FOUR * GROUPS, vec4u(params.head_quads - 1u));
  // Tokens that are not real see nothing.
  let last_position = position_of(min(first_query + TILE - 1u, last_token));
  let end = select(0u, last_position + 1u, first_query < real_tokens());

  var largest = vec4f(LOWEST);
  var sum = vec4f();
  var out_0 = mat4x4f();
  var out_1 = mat4x4f();
  var out_2 = mat4x4f();
  var out_3 = mat4x4f();
  for (var start = first_key(position_of(first_query)); start < end; start += TILE) {
    let j = start + other_group * 4u + FOUR;
    let scores = products(q_rows, key_starts(min(j, vec4u(last_key())), kv_head));
    let scores_0 = masked(scores[0], j.x, i, starts);
    let scores_1 = masked(scores[1], j.y, i, starts);
    let scores_2 = masked(scores[2], j.z, i, starts);
    let scores_3 = masked(scores[3], j.w, i, starts);
    let tile_largest = max(max(scores_0, scores_1), max(scores_2, scores_3));
    maxima[other_group * GROUPS + own_group] = tile_largest;
    workgroupBarrier();

    var higher = largest;
    for (var group = 0u; group < GROUPS; group++) {
      higher = max(higher, maxima[group * GROUPS + own_group]);
    }
    let at = other_group * 4u * GROUPS + own_group;
    weights[at] = weigh(scores_0, higher);
    weights[at + GROUPS] = weigh(scores_1, higher);
    weights[at + 2u * GROUPS] = weigh(scores_2, higher);
    weights[at + 3u * GROUPS] = weigh(scores_3, higher);
    workgroupBarrier();

    // The next tile writes maxima that all have read, and weights only after its first barrier.
    let kept = exp(largest - higher);
    largest = higher;
    sum *= kept;
    out_0 = scale_rows(out_0, kept);
    if (SLOTS > 1u) { out_1 = scale_rows(out_1, kept); }
    if (SLOTS > 2u) { out_2 = scale_rows(out_2, kept); }
    if (SLOTS > 3u) { out_3 = scale_rows(out_3, kept); }
    for (var key = 0u; key < min(TILE, end - start); key++) {
      let weight = weights[key * GROUPS + own_group];
      let row = value_start(start + key, kv_head);
      sum += weight;
      out_0 += spread(weight, vec4f(value_quad(row + v_quads.x)));
      if (SLOTS > 1u) { out_1 += spread(weight, vec4f(value_quad(row + v_quads.y))); }
      if (SLOTS > 2u) { out_2 += spread(weight, vec4f(value_quad(row + v_quads.z))); }
      if (SLOTS > 3u) { out_3 += spread(weight, vec4f(value_quad(row + v_quads.w))); }
    }
  }

  let share = 1.0 / sum;
  write_rows(tokens, head, quad, scale_rows(out_0, share));
  if (SLOTS > 1u) { write_rows(tokens, head, quad + GROUPS, scale_rows(out_1, share)); }
  if (SLOTS > 2u) { write_rows(tokens, head, quad + 2u * GROUPS, scale_rows(out_2, share)); }
  if (SLOTS > 3u) { write_rows(tokens, head, quad + 3u * GROUPS, scale_rows(out_3, share)); }
  if (quad == 0u) {
    let log_sum = largest + log(sum);
    let at = tokens * params.heads + head;
    if (tokens.x < real_tokens()) { note_sum(at.x, log_sum.x); }
    if (tokens.y < real_tokens()) { note_sum(at.y, log_sum.y); }
    if (tokens.z < real_tokens()) { note_sum(at.z, log_sum.z); }
    if (tokens.w < real_tokens()) { note_sum(at.w, log_sum.w); }
  }
}
