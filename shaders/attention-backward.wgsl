// The gradient of causal grouped-query attention within documents.
//
//   d_o    Act  [tokens, heads, head size]
//   o      Act  [tokens, heads, head size]
//   d_qkv  Act  as qkv
//
//   p = exp(scale · q · k − lse),  ds = scale · p · (d_o · v − Σ d_o ∘ o)
//   dv = Σ p · d_o,  dk = Σ ds · q  over queries;  dq = Σ ds · k  over keys
//
// Operands are those of lib/attention-rows.wgsl, and the work is shared out as lib/attention-pieces.wgsl says:
// a workgroup owns 32 queries of one head, or 32 keys of one key head, in backward_keys. That adds up all
// query heads of its key head: no atomics, and a fixed order of sums. backward_queries runs first and leaves
// Σ d_o ∘ o to backward_keys. Slots are filled by pairs of quads, for lib/turn-back.wgsl.

@group(0) @binding(3) var<storage, read> d_o: array<vec4<Act>>;
@group(0) @binding(4) var<storage, read> o: array<vec4<Act>>;
@group(0) @binding(6) var<storage, read_write> d_qkv: array<vec4<Act>>;

// [row of the other side][group of four own rows]
var<workgroup> weights: array<vec4f, TILE * GROUPS>;
var<workgroup> score_gradients: array<vec4f, TILE * GROUPS>;

fn d_o_quads(rows: vec4u, quad: u32) -> mat4x4f {
  let at = rows + quad;
  return mat4x4f(vec4f(d_o[at.x]), vec4f(d_o[at.y]), vec4f(d_o[at.z]), vec4f(d_o[at.w]));
}

/// The same with own rows of d_o.
fn d_o_dots(own: vec4u, other: vec4u) -> mat4x4f {
  var sums = mat4x4f();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums += transpose(d_o_quads(own, quad)) * qkv_quads(other, quad);
  }
  return sums;
}

/// The same with other rows of d_o.
fn dots_d_o(own: vec4u, other: vec4u) -> mat4x4f {
  var sums = mat4x4f();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums += transpose(qkv_quads(own, quad)) * d_o_quads(other, quad);
  }
  return sums;
}

fn write_pair(token: u32, column: u32, quads: vec2u, pair: mat2x4f) {
  if (token < params.tokens) {
    let at = token * (params.stride / 4u) + column;
    if (quads.x < params.head_quads) { d_qkv[at + quads.x] = vec4<Act>(pair[0]); }
    if (quads.y < params.head_quads) { d_qkv[at + quads.y] = vec4<Act>(pair[1]); }
  }
}

/// Pair p of a value head at four tokens.
fn write_pairs(tokens: vec4u, column: u32, p: u32, a: mat4x4f, b: mat4x4f) {
  let quads = quads_of_pair(p);
  for (var row = 0u; row < 4u; row++) {
    write_pair(tokens[row], column, quads, mat2x4f(a[row], b[row]));
  }
}

/// The same of a query or key head.
fn write_turned_pairs(tokens: vec4u, column: u32, p: u32, a: mat4x4f, b: mat4x4f) {
  let quads = quads_of_pair(p);
  for (var row = 0u; row < 4u; row++) {
    let token = tokens[row];
    write_pair(token, column, quads, turned_back(token, p, mat2x4f(a[row], b[row])));
  }
}

@compute @workgroup_size(THREADS)
fn backward_queries(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let own_group = lane / GROUPS;
  let other_group = lane % GROUPS;
  let head = workgroup.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let stride = params.stride / 4u;
  let last_token = params.tokens - 1u;
  let last_query = min(workgroup.x * TILE + TILE - 1u, last_token);

  let i = workgroup.x * TILE + own_group * 4u + FOUR;
  let token = min(i, vec4u(last_token));
  let q_rows = token * stride + q_column(head);
  let heads = token * params.heads + head;
  let log_sums = vec4f(lse[heads.x], lse[heads.y], lse[heads.z], lse[heads.w]);
  let row_sums = row_sums_of(heads, own_group, other_group);
  if (workgroup.z == 0u && other_group == 0u) {
    let at = (params.tokens + i) * params.heads + head;
    if (i.x < params.tokens) { lse[at.x] = row_sums.x; }
    if (i.y < params.tokens) { lse[at.y] = row_sums.y; }
    if (i.z < params.tokens) { lse[at.z] = row_sums.z; }
    if (i.w < params.tokens) { lse[at.w] = row_sums.w; }
  }
  let starts = first_keys(token);
  let pair = workgroup.z * (SLOTS / 2u) * GROUPS + other_group;
  // Threads without a quad of the head sum its last one in vain.
  let quads = vec4u(quads_of_pair(pair), quads_of_pair(pair + GROUPS));
  let k_quads = k_column(kv_head) + min(quads, vec4u(params.head_quads - 1u));

  var dq_0 = mat4x4f();
  var dq_1 = mat4x4f();
  var dq_2 = mat4x4f();
  var dq_3 = mat4x4f();
  for (var start = first_key(workgroup.x * TILE); start <= last_query; start += TILE) {
    let j = start + other_group * 4u + FOUR;
    let rows = min(j, vec4u(last_token)) * stride;
    let scores = dots(q_rows, rows + k_column(kv_head));
    let dp = d_o_dots(heads * params.head_quads, rows + v_column(kv_head));
    let p_0 = weigh(masked(scores[0], j.x, i, starts), log_sums);
    let p_1 = weigh(masked(scores[1], j.y, i, starts), log_sums);
    let p_2 = weigh(masked(scores[2], j.z, i, starts), log_sums);
    let p_3 = weigh(masked(scores[3], j.w, i, starts), log_sums);
    let at = other_group * 4u * GROUPS + own_group;
    score_gradients[at] = params.scale * p_0 * (dp[0] - row_sums);
    score_gradients[at + GROUPS] = params.scale * p_1 * (dp[1] - row_sums);
    score_gradients[at + 2u * GROUPS] = params.scale * p_2 * (dp[2] - row_sums);
    score_gradients[at + 3u * GROUPS] = params.scale * p_3 * (dp[3] - row_sums);
    workgroupBarrier();

    for (var key = 0u; key < min(TILE, last_query + 1u - start); key++) {
      let ds = score_gradients[key * GROUPS + own_group];
      let row = (start + key) * stride;
      dq_0 += spread(ds, vec4f(qkv[row + k_quads.x]));
      dq_1 += spread(ds, vec4f(qkv[row + k_quads.y]));
      if (SLOTS > 2u) {
        dq_2 += spread(ds, vec4f(qkv[row + k_quads.z]));
        dq_3 += spread(ds, vec4f(qkv[row + k_quads.w]));
      }
    }
    workgroupBarrier();
  }

  write_turned_pairs(i, q_column(head), pair, dq_0, dq_1);
  if (SLOTS > 2u) { write_turned_pairs(i, q_column(head), pair + GROUPS, dq_2, dq_3); }
}

/// Σ d_o ∘ o of a thread's own rows, whole for each of the threads that share them.
fn row_sums_of(rows: vec4u, own_group: u32, other_group: u32) -> vec4f {
  let first = rows * params.head_quads;
  score_gradients[other_group * GROUPS + own_group] = vec4f(
    part_of_row_sum(first.x, other_group), part_of_row_sum(first.y, other_group),
    part_of_row_sum(first.z, other_group), part_of_row_sum(first.w, other_group),
  );
  workgroupBarrier();
  var sum = vec4f();
  for (var group = 0u; group < GROUPS; group++) {
    sum += score_gradients[group * GROUPS + own_group];
  }
  workgroupBarrier();
  return sum;
}

/// Σ d_o ∘ o of one row over every eighth quad from `first` on: a thread's part of it.
fn part_of_row_sum(row: u32, first: u32) -> f32 {
  var sum = 0.0;
  for (var quad = first; quad < params.head_quads; quad += GROUPS) {
    sum += dot(vec4f(d_o[row + quad]), vec4f(o[row + quad]));
  }
  return sum;
}

@compute @workgroup_size(THREADS)
fn backward_keys(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let own_group = lane / GROUPS;
  let other_group = lane % GROUPS;
  let kv_head = workgroup.y;
  let group = params.heads / params.kv_heads;
  let stride = params.stride / 4u;
  let last_token = params.tokens - 1u;

  let j = workgroup.x * TILE + own_group * 4u + FOUR;
  let rows = min(j, vec4u(last_token)) * stride;
  let pair = workgroup.z * GROUPS + other_group;
  let quads = min(quads_of_pair(pair), vec2u(params.head_quads - 1u));
  let end = end_of_queries(min(workgroup.x * TILE + TILE - 1u, last_token));

  var dk_0 = mat4x4f();
  var dk_1 = mat4x4f();
  var dv_0 = mat4x4f();
  var dv_1 = mat4x4f();
  for (var head = kv_head * group; head < (kv_head + 1u) * group; head++) {
    for (var start = workgroup.x * TILE; start < end; start += TILE) {
      let i = start + other_group * 4u + FOUR;
      let token = min(i, vec4u(last_token));
      let heads = token * params.heads + head;
      let starts = first_keys(token);
      let row_sums = (params.tokens * params.heads) + heads;
      let scores = dots(rows + k_column(kv_head), token * stride + q_column(head));
      let dp = dots_d_o(rows + v_column(kv_head), heads * params.head_quads);
      let p_0 = weigh_keys(scores[0], i.x, j, starts.x, lse[heads.x]);
      let p_1 = weigh_keys(scores[1], i.y, j, starts.y, lse[heads.y]);
      let p_2 = weigh_keys(scores[2], i.z, j, starts.z, lse[heads.z]);
      let p_3 = weigh_keys(scores[3], i.w, j, starts.w, lse[heads.w]);
      let at = other_group * 4u * GROUPS + own_group;
      weights[at] = p_0;
      weights[at + GROUPS] = p_1;
      weights[at + 2u * GROUPS] = p_2;
      weights[at + 3u * GROUPS] = p_3;
      score_gradients[at] = params.scale * p_0 * (dp[0] - lse[row_sums.x]);
      score_gradients[at + GROUPS] = params.scale * p_1 * (dp[1] - lse[row_sums.y]);
      score_gradients[at + 2u * GROUPS] = params.scale * p_2 * (dp[2] - lse[row_sums.z]);
      score_gradients[at + 3u * GROUPS] = params.scale * p_3 * (dp[3] - lse[row_sums.w]);
      workgroupBarrier();

      for (var query = 0u; query < min(TILE, end - start); query++) {
        let p = weights[query * GROUPS + own_group];
        let ds = score_gradients[query * GROUPS + own_group];
        let q_row = (start + query) * stride + q_column(head);
        let d_o_row = ((start + query) * params.heads + head) * params.head_quads;
        dk_0 += spread(ds, vec4f(qkv[q_row + quads.x]));
        dv_0 += spread(p, vec4f(d_o[d_o_row + quads.x]));
        dk_1 += spread(ds, vec4f(qkv[q_row + quads.y]));
        dv_1 += spread(p, vec4f(d_o[d_o_row + quads.y]));
      }
      workgroupBarrier();
    }
  }

  write_turned_pairs(j, k_column(kv_head), pair, dk_0, dk_1);
  write_pairs(j, v_column(kv_head), pair, dv_0, dv_1);
}

/// What query i gives to four keys: exp(scale · scores − log_sum), and 0 where it does not see them.
fn weigh_keys(scores: vec4f, i: u32, keys: vec4u, start: u32, log_sum: f32) -> vec4f {
  let is_seen = (vec4u(start) <= keys) & (keys <= vec4u(i)) & vec4<bool>(i < params.tokens);
  return select(vec4f(), exp(params.scale * scores - log_sum), is_seen);
}
