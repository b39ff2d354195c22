// Root-mean-square normalization of each query and key head over its own dimensions, and its gradient.
//
//   x             Act  [tokens, stride]     heads by the layout of src/kernels/attention.ts
//   y             Act  as x                 values are copied; columns of no head are left as they are
//   query_weight  f32  [head size]          of all query heads; frozen, as is key_weight
//   key_weight    f32  [head size]
//   dy            Act  as x                 in: the gradient of y; out: that of x. Values are not touched
//
//   y = x · r · w with r = 1 / √(mean(x²) + ε);  dx = r · (w · dy − x · r² · mean(w · dy · x))
//
// A workgroup takes TEAMS heads, each with a team of TEAM threads that share its quads and add their
// sums up in a fixed order. Sums are f32. The head size and all columns are multiples of 4.

const TEAM = 8u;
const TEAMS = 8u;
const THREADS = TEAM * TEAMS;

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
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<Act>>;
@group(0) @binding(3) var<storage, read> query_weight: array<vec4f>;
@group(0) @binding(4) var<storage, read> key_weight: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dy: array<vec4<Act>>;

var<workgroup> lane_sums: array<vec2f, THREADS>;

/// Where a head starts in a row, in quads. Key heads are counted after the query heads, values after those.
fn head_column(head: u32) -> u32 {
  if (head < params.heads) {
    let group = params.heads / params.kv_heads;
    return (head / group) * params.q_group_stride / 4u + (head % group) * params.head_quads;
  }
  let kv_head = (head - params.heads) % params.kv_heads;
  let base = select(params.v_base, params.k_base, head < params.heads + params.kv_heads);
  return (base + kv_head * params.kv_stride) / 4u;
}

fn weight_of(head: u32, quad: u32) -> vec4f {
  if (head < params.heads) {
    return query_weight[quad];
  }
  return key_weight[quad];
}

/// The sums of a team's threads, over the dimensions of its head. Every thread must call.
fn mean_over_head(thread: u32, lane_sum: vec2f) -> vec2f {
  lane_sums[thread] = lane_sum;
  workgroupBarrier();
  let team = thread - thread % TEAM;
  var sum = vec2f();
  for (var i = 0u; i < TEAM; i++) {
    sum += lane_sums[team + i];
  }
  return sum / f32(params.head_quads * 4u);
}

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let heads = params.heads + 2u * params.kv_heads;
  let index = flat_workgroup(workgroup, count) * TEAMS + thread / TEAM;
  let lane = thread % TEAM;
  let head = index % heads;
  // A team past the last token has no quads.
  let quads = select(0u, params.head_quads, index / heads < params.tokens);
  let start = index / heads * (params.stride / 4u) + head_column(head);

  var squares = 0.0;
  for (var i = lane; i < quads; i += TEAM) {
    let here = vec4f(x[start + i]);
    squares += dot(here, here);
  }
  let r = 1.0 / sqrt(mean_over_head(thread, vec2f(squares, 0.0)).x + params.epsilon);
  let is_value = head >= params.heads + params.kv_heads;
  for (var i = lane; i < quads; i += TEAM) {
    if (is_value) {
      y[start + i] = x[start + i];
    } else {
      y[start + i] = vec4<Act>(vec4f(x[start + i]) * r * weight_of(head, i));
    }
  }
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let heads = params.heads + params.kv_heads;
  let index = flat_workgroup(workgroup, count) * TEAMS + thread / TEAM;
  let lane = thread % TEAM;
  let head = index % heads;
  let quads = select(0u, params.head_quads, index / heads < params.tokens);
  let start = index / heads * (params.stride / 4u) + head_column(head);

  var sums = vec2f();            // of squares, and of x along the gradient
  for (var i = lane; i < quads; i += TEAM) {
    let here = vec4f(x[start + i]);
    sums += vec2f(dot(here, here), dot(here, weight_of(head, i) * vec4f(dy[start + i])));
  }
  let means = mean_over_head(thread, sums);
  let r = 1.0 / sqrt(means.x + params.epsilon);
  let along_x = means.y * r * r;
  for (var i = lane; i < quads; i += TEAM) {
    let straight = weight_of(head, i) * vec4f(dy[start + i]);
    dy[start + i] = vec4<Act>(r * (straight - vec4f(x[start + i]) * along_x));
  }
}
