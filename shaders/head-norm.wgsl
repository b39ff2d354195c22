// Root-mean-square normalization of each query and key head over its own dimensions, then its turn by where
// its token stands; and the gradient of both.
//
//   x             Act  [tokens, stride]     heads by the layout of src/kernels/attention.ts
//   y             Act  as x                 values are copied; columns of no head are left as they are
//   query_weight  f32  [head size]          of all query heads; frozen, as is key_weight
//   key_weight    f32  [head size]
//   dy            Act  as x                 in: the gradient of y; out: that of x. Values are not touched
//   positions     u32  [tokens]             where params.pair_quads is not 0
//   table         f32  [angles, 8 · pair_quads]  a row is its cosines, then as many sines
//
//   n = x · r · w with r = 1 / √(mean(x²) + ε), and y is n with dimensions i and i + 4 · pair_quads turned by
//   an angle as shaders/rope.wgsl does;  dx = r · (w · dn − x · r² · mean(w · dn · x)), dn being dy turned back
//
// A workgroup takes TEAMS heads, each with a team of TEAM threads that share its quads and add their
// sums up in a fixed order. A thread takes both quads of a pair that turns, so that it alone reads and writes
// them. Sums are f32. The head size and all columns are multiples of 4.

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
  pair_quads: u32,     // quads of a head that turn with as many behind them; 0 where nothing turns
  angles: u32,         // rows of the table
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<Act>>;
@group(0) @binding(3) var<storage, read> query_weight: array<vec4f>;
@group(0) @binding(4) var<storage, read> key_weight: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dy: array<vec4<Act>>;
@group(0) @binding(6) var<storage, read> positions: array<u32>;
@group(0) @binding(7) var<storage, read> table: array<vec4f>;

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

/// Where a token's row of the table starts, in quads.
fn table_row(token: u32) -> u32 {
  if (params.pair_quads == 0u) {
    return 0u;
  }
  var position = positions[token];
  if (USE_STEP_POSITION) {
    position += step.position;
  }
  return min(position, params.angles - 1u) * 2u * params.pair_quads;
}

/// Whatever a thread has at hand of its unit: a quad, and the one that it turns with, if it turns.
struct Two {
  first: vec4f,
  second: vec4f,
}

/// The quad of a unit, counted within the head: units are the pairs that turn, then the quads that do not.
fn unit_quad(unit: u32) -> u32 {
  return select(unit + params.pair_quads, unit, unit < params.pair_quads);
}

/// The gradient of n for a unit, from dy as it stands.
fn turned_back(start: u32, unit: u32, row: u32) -> Two {
  let at = start + unit_quad(unit);
  let a = vec4f(dy[at]);
  if (unit >= params.pair_quads) {
    return Two(a, vec4f());
  }
  let b = vec4f(dy[at + params.pair_quads]);
  let cosine = table[row + unit];
  let sine = table[row + params.pair_quads + unit];
  return Two(a * cosine + b * sine, b * cosine - a * sine);
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
  let token = index / heads;
  let quads = select(0u, params.head_quads, token < params.tokens);
  let start = token * (params.stride / 4u) + head_column(head);

  var squares = 0.0;
  for (var i = lane; i < quads; i += TEAM) {
    let here = vec4f(x[start + i]);
    squares += dot(here, here);
  }
  let r = 1.0 / sqrt(mean_over_head(thread, vec2f(squares, 0.0)).x + params.epsilon);
  if (head >= params.heads + params.kv_heads) {
    for (var i = lane; i < quads; i += TEAM) {
      y[start + i] = x[start + i];
    }
    return;
  }
  let row = table_row(min(token, params.tokens - 1u));
  let units = select(0u, params.head_quads - params.pair_quads, quads > 0u);
  for (var unit = lane; unit < units; unit += TEAM) {
    let i = unit_quad(unit);
    let a = vec4f(x[start + i]) * r * weight_of(head, i);
    if (unit >= params.pair_quads) {
      y[start + i] = vec4<Act>(a);
    } else {
      let j = i + params.pair_quads;
      let b = vec4f(x[start + j]) * r * weight_of(head, j);
      let cosine = table[row + unit];
      let sine = table[row + params.pair_quads + unit];
      y[start + i] = vec4<Act>(a * cosine - b * sine);
      y[start + j] = vec4<Act>(b * cosine + a * sine);
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
  let token = index / heads;
  let units = select(0u, params.head_quads - params.pair_quads, token < params.tokens);
  let start = token * (params.stride / 4u) + head_column(head);
  let row = table_row(min(token, params.tokens - 1u));

  var sums = vec2f();            // of squares, and of x along the gradient
  for (var unit = lane; unit < units; unit += TEAM) {
    let i = unit_quad(unit);
    let gradient = turned_back(start, unit, row);
    let a = vec4f(x[start + i]);
    sums += vec2f(dot(a, a), dot(a, weight_of(head, i) * gradient.first));
    if (unit < params.pair_quads) {
      let j = i + params.pair_quads;
      let b = vec4f(x[start + j]);
      sums += vec2f(dot(b, b), dot(b, weight_of(head, j) * gradient.second));
    }
  }
  let means = mean_over_head(thread, sums);
  let r = 1.0 / sqrt(means.x + params.epsilon);
  let along_x = means.y * r * r;
  for (var unit = lane; unit < units; unit += TEAM) {
    let i = unit_quad(unit);
    let gradient = turned_back(start, unit, row);
    let a = vec4f(x[start + i]);
    dy[start + i] = vec4<Act>(r * (weight_of(head, i) * gradient.first - a * along_x));
    if (unit < params.pair_quads) {
      let j = i + params.pair_quads;
      let b = vec4f(x[start + j]);
      dy[start + j] = vec4<Act>(r * (weight_of(head, j) * gradient.second - b * along_x));
    }
  }
}
