// Causal grouped-query attention within documents: o = softmax(scale · q · kᵀ) · v, and its gradient.
//
//   qkv            Act  [tokens, stride]          heads by the layout of src/kernels/attention.ts
//   segment_start  u32  [tokens]                  non-decreasing; query i sees the last `window`
//                                              of the keys segment_start[i] … i
//   d_o            Act  [tokens, heads, head size]
//   o              Act  [tokens, heads, head size]
//   lse            f32  [tokens, heads]           log Σ exp(scores)
//   row_dot        f32  [tokens, heads]           Σ d_o ∘ o
//   d_qkv          Act  as qkv
//
//   p = exp(scale · q · k − lse),  ds = scale · p · (d_o · v − row_dot)
//   dv = Σ p · d_o,  dk = Σ ds · q  over queries;  dq = Σ ds · k  over keys
//
// A workgroup owns TILE rows of one head: queries, or keys in backward_keys. It walks over the rows
// they pair with, TILE at a time, in two phases with a barrier between. First a thread makes a 4 × 4
// piece of the scores from its own four rows and four others, and leaves it in workgroup memory; then
// it sums, for its own four rows, quads quad, quad + 8 … of the result over all TILE others: SLOTS of
// them. Longer heads are cut into slices, each of which makes the scores again. No score outlives its
// tile. backward_keys adds up all query heads of its key head: no atomics, and a fixed order of sums.
// Sums are f32. The head size and all columns of the layout are multiples of 4. Forward and both backward
// passes are made of the same tiles, hence one file past 400 lines.

const TILE = 32u;
const GROUPS = TILE / 4u;
const THREADS = GROUPS * GROUPS;
const LOWEST = -3.4028234e38; // there is no literal for −∞
const FOUR = vec4u(0u, 1u, 2u, 3u);

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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read> segment_start: array<u32>;
@group(0) @binding(3) var<storage, read> d_o: array<vec4<Act>>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<storage, read_write> row_dot: array<f32>;
@group(0) @binding(7) var<storage, read_write> d_qkv: array<vec4<Act>>;

// [row of the other side][group of four own rows]
var<workgroup> weights: array<vec4f, TILE * GROUPS>;
var<workgroup> score_gradients: array<vec4f, TILE * GROUPS>;
// [group of other rows][group of own rows]
var<workgroup> maxima: array<vec4f, THREADS>;

// Columns, and all indices into qkv, d_o and o below, count quads: vectors of four.

fn q_column(head: u32) -> u32 {
  let group = params.heads / params.kv_heads;
  return (head / group) * params.q_group_stride / 4u + (head % group) * params.head_quads;
}

fn k_column(kv_head: u32) -> u32 {
  return (params.k_base + kv_head * params.kv_stride) / 4u;
}

fn v_column(kv_head: u32) -> u32 {
  return (params.v_base + kv_head * params.kv_stride) / 4u;
}

fn qkv_quads(rows: vec4u, quad: u32) -> mat4x4f {
  let at = rows + quad;
  return mat4x4f(vec4f(qkv[at.x]), vec4f(qkv[at.y]), vec4f(qkv[at.z]), vec4f(qkv[at.w]));
}

fn d_o_quads(rows: vec4u, quad: u32) -> mat4x4f {
  let at = rows + quad;
  return mat4x4f(vec4f(d_o[at.x]), vec4f(d_o[at.y]), vec4f(d_o[at.z]), vec4f(d_o[at.w]));
}

/// Products of heads at four rows of qkv with those at four others: [other][own].
fn dots(own: vec4u, other: vec4u) -> mat4x4f {
  var sums = mat4x4f();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums += transpose(qkv_quads(own, quad)) * qkv_quads(other, quad);
  }
  return sums;
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

/// One quad for each of four rows, weighted: what one row of the other side adds to their sums.
fn spread(weight: vec4f, quad: vec4<Act>) -> mat4x4f {
  let values = vec4f(quad);
  return mat4x4f(weight.x * values, weight.y * values, weight.z * values, weight.w * values);
}

fn scale_rows(rows: mat4x4f, factor: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * factor.x, rows[1] * factor.y, rows[2] * factor.z, rows[3] * factor.w);
}

fn write_o(tokens: vec4u, head: u32, quad: u32, rows: mat4x4f) {
  if (quad < params.head_quads) {
    let at = (tokens * params.heads + head) * params.head_quads + quad;
    if (tokens.x < params.tokens) { o[at.x] = vec4<Act>(rows[0]); }
    if (tokens.y < params.tokens) { o[at.y] = vec4<Act>(rows[1]); }
    if (tokens.z < params.tokens) { o[at.z] = vec4<Act>(rows[2]); }
    if (tokens.w < params.tokens) { o[at.w] = vec4<Act>(rows[3]); }
  }
}

fn write_d_qkv(tokens: vec4u, column: u32, quad: u32, rows: mat4x4f) {
  if (quad < params.head_quads) {
    let at = tokens * (params.stride / 4u) + column + quad;
    if (tokens.x < params.tokens) { d_qkv[at.x] = vec4<Act>(rows[0]); }
    if (tokens.y < params.tokens) { d_qkv[at.y] = vec4<Act>(rows[1]); }
    if (tokens.z < params.tokens) { d_qkv[at.z] = vec4<Act>(rows[2]); }
    if (tokens.w < params.tokens) { d_qkv[at.w] = vec4<Act>(rows[3]); }
  }
}

/// The first key that a query sees: its document's, or its window's.
fn first_key(query: u32) -> u32 {
  return max(segment_start[query], query + 1u - min(query + 1u, params.window));
}

fn first_keys(queries: vec4u) -> vec4u {
  return vec4u(
    first_key(queries.x), first_key(queries.y), first_key(queries.z), first_key(queries.w),
  );
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

fn masked(scores: vec4f, key: u32, queries: vec4u, starts: vec4u) -> vec4f {
  let is_seen = (starts <= vec4u(key)) & (vec4u(key) <= queries);
  return select(vec4f(LOWEST), params.scale * scores, is_seen);
}

/// exp(scores − reference), and 0 for what is masked.
fn weigh(scores: vec4f, reference: vec4f) -> vec4f {
  return select(vec4f(), exp(scores - reference), scores > vec4f(LOWEST));
}

@compute @workgroup_size(THREADS)
fn forward(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  let own_group = lane / GROUPS;
  let other_group = lane % GROUPS;
  let head = workgroup.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let stride = params.stride / 4u;
  let last_token = params.tokens - 1u;
  let last_query = min(workgroup.x * TILE + TILE - 1u, last_token);

  // Rows past the end repeat the last token and are not written.
  let i = workgroup.x * TILE + own_group * 4u + FOUR;
  let q_rows = min(i, vec4u(last_token)) * stride + q_column(head);
  let starts = first_keys(min(i, vec4u(last_token)));
  let quad = workgroup.z * SLOTS * GROUPS + other_group;
  // Threads without a quad of the head sum its last one in vain.
  let v_quads = v_column(kv_head) + min(quad + FOUR * GROUPS, vec4u(params.head_quads - 1u));

  var largest = vec4f(LOWEST);
  var sum = vec4f();
  var out_0 = mat4x4f();
  var out_1 = mat4x4f();
  var out_2 = mat4x4f();
  var out_3 = mat4x4f();
  for (var start = first_key(workgroup.x * TILE); start <= last_query; start += TILE) {
    let j = start + other_group * 4u + FOUR;
    let scores = dots(q_rows, min(j, vec4u(last_token)) * stride + k_column(kv_head));
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
    for (var key = 0u; key < min(TILE, last_query + 1u - start); key++) {
      let weight = weights[key * GROUPS + own_group];
      let row = (start + key) * stride;
      sum += weight;
      out_0 += spread(weight, qkv[row + v_quads.x]);
      if (SLOTS > 1u) { out_1 += spread(weight, qkv[row + v_quads.y]); }
      if (SLOTS > 2u) { out_2 += spread(weight, qkv[row + v_quads.z]); }
      if (SLOTS > 3u) { out_3 += spread(weight, qkv[row + v_quads.w]); }
    }
  }

  let share = 1.0 / sum;
  write_o(i, head, quad, scale_rows(out_0, share));
  if (SLOTS > 1u) { write_o(i, head, quad + GROUPS, scale_rows(out_1, share)); }
  if (SLOTS > 2u) { write_o(i, head, quad + 2u * GROUPS, scale_rows(out_2, share)); }
  if (SLOTS > 3u) { write_o(i, head, quad + 3u * GROUPS, scale_rows(out_3, share)); }
  if (quad == 0u) {
    let log_sum = largest + log(sum);
    let at = i * params.heads + head;
    if (i.x < params.tokens) { lse[at.x] = log_sum.x; }
    if (i.y < params.tokens) { lse[at.y] = log_sum.y; }
    if (i.z < params.tokens) { lse[at.z] = log_sum.z; }
    if (i.w < params.tokens) { lse[at.w] = log_sum.w; }
  }
}

@compute @workgroup_size(THREADS)
fn row_dot_forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = flat_workgroup(workgroup, count) * THREADS + lane;
  if (row >= params.tokens * params.heads) {
    return;
  }
  var sum = 0.0;
  for (var quad = row * params.head_quads; quad < (row + 1u) * params.head_quads; quad++) {
    sum += dot(vec4f(d_o[quad]), vec4f(o[quad]));
  }
  row_dot[row] = sum;
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
  let row_sums = vec4f(row_dot[heads.x], row_dot[heads.y], row_dot[heads.z], row_dot[heads.w]);
  let starts = first_keys(token);
  let quad = workgroup.z * SLOTS * GROUPS + other_group;
  let k_quads = k_column(kv_head) + min(quad + FOUR * GROUPS, vec4u(params.head_quads - 1u));

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
      dq_0 += spread(ds, qkv[row + k_quads.x]);
      if (SLOTS > 1u) { dq_1 += spread(ds, qkv[row + k_quads.y]); }
      if (SLOTS > 2u) { dq_2 += spread(ds, qkv[row + k_quads.z]); }
      if (SLOTS > 3u) { dq_3 += spread(ds, qkv[row + k_quads.w]); }
    }
    workgroupBarrier();
  }

  write_d_qkv(i, q_column(head), quad, dq_0);
  if (SLOTS > 1u) { write_d_qkv(i, q_column(head), quad + GROUPS, dq_1); }
  if (SLOTS > 2u) { write_d_qkv(i, q_column(head), quad + 2u * GROUPS, dq_2); }
  if (SLOTS > 3u) { write_d_qkv(i, q_column(head), quad + 3u * GROUPS, dq_3); }
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
  let quad = workgroup.z * SLOTS * GROUPS + other_group;
  let quads = min(quad + FOUR.xy * GROUPS, vec2u(params.head_quads - 1u));
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
      score_gradients[at] = params.scale * p_0 * (dp[0] - row_dot[heads.x]);
      score_gradients[at + GROUPS] = params.scale * p_1 * (dp[1] - row_dot[heads.y]);
      score_gradients[at + 2u * GROUPS] = params.scale * p_2 * (dp[2] - row_dot[heads.z]);
      score_gradients[at + 3u * GROUPS] = params.scale * p_3 * (dp[3] - row_dot[heads.w]);
      workgroupBarrier();

      for (var query = 0u; query < min(TILE, end - start); query++) {
        let p = weights[query * GROUPS + own_group];
        let ds = score_gradients[query * GROUPS + own_group];
        let q_row = (start + query) * stride + q_column(head);
        let d_o_row = ((start + query) * params.heads + head) * params.head_quads;
        dk_0 += spread(ds, qkv[q_row + quads.x]);
        dv_0 += spread(p, d_o[d_o_row + quads.x]);
        if (SLOTS > 1u) {
          dk_1 += spread(ds, qkv[q_row + quads.y]);
          dv_1 += spread(p, d_o[d_o_row + quads.y]);
        }
      }
      workgroupBarrier();
    }
  }

  write_d_qkv(j, k_column(kv_head), quad, dk_0);
  write_d_qkv(j, v_column(kv_head), quad, dv_0);
  if (SLOTS > 1u) {
    write_d_qkv(j, k_column(kv_head), quad + GROUPS, dk_1);
    write_d_qkv(j, v_column(kv_head), quad + GROUPS, dv_1);
  }
}

/// What query i gives to four keys: exp(scale · scores − log_sum), and 0 where it does not see them.
fn weigh_keys(scores: vec4f, i: u32, keys: vec4u, start: u32, log_sum: f32) -> vec4f {
  let is_seen = (vec4u(start) <= keys) & (keys <= vec4u(i)) & vec4<bool>(i < params.tokens);
  return select(vec4f(), exp(params.scale * scores - log_sum), is_seen);
}
