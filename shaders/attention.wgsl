// Causal grouped-query attention within documents: o = softmax(scale · q · kᵀ) · v.
//
//   o    Act  [tokens, heads, head size]
//   lse  f32  [tokens, heads]            log Σ exp(scores)
//
// Operands are those of lib/attention-rows.wgsl, and the work is shared out as lib/attention-pieces.wgsl says:
// a workgroup owns 32 queries of one head. The largest score so far and the sum are kept by row, and what was
// summed before is scaled down where a larger score turns up.

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

// [row of the other side][group of four own rows]
var<workgroup> weights: array<vec4f, TILE * GROUPS>;
// [group of other rows][group of own rows]
var<workgroup> maxima: array<vec4f, THREADS>;

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
      out_0 += spread(weight, vec4f(qkv[row + v_quads.x]));
      if (SLOTS > 1u) { out_1 += spread(weight, vec4f(qkv[row + v_quads.y])); }
      if (SLOTS > 2u) { out_2 += spread(weight, vec4f(qkv[row + v_quads.z])); }
      if (SLOTS > 3u) { out_3 += spread(weight, vec4f(qkv[row + v_quads.w])); }
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
