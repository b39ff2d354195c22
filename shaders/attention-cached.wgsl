// Attention of new tokens over a cache of keys and values, in which they are already.
//
//   qkv     Act   [rows, stride]                     heads by the layout of src/kernels/attention.ts
//   keys    Quad  [capacity, kv_heads, head size / 4]
//   values  Quad  as keys
//   o       Act   [rows, heads, head size]           0 from row step.rows on
//
// Row t is the token at step.position + t and sees the last `window` of cache rows 0 … step.position + t.
//
// One workgroup per row and head walks over the cache LANES keys at a time. First each thread
// scores one key; then the threads form teams of head_quads, each team adding up every teams-th value
// of the tile, four dimensions to a thread. At the end the teams' sums are added in order.
// Sums are f32. Requires a head size that is a multiple of 4, up to 256. Needs `widen` of Quad, and one of
// lib/cache-plain and -scaled.wgsl.

const LANES = 64u;
const LOWEST = -3.4028234e38; // there is no literal for −∞

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
@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

var<workgroup> scores: array<f32, LANES>;
var<workgroup> team_sums: array<vec4f, LANES>;
var<workgroup> team_weights: array<f32, LANES>;

fn score(q_row: u32, k_row: u32) -> f32 {
  var sum = 0.0;
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sum += dot(vec4f(qkv[q_row + quad]), widen(keys[k_row + quad]));
  }
  return params.scale * sum;
}

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_workgroup(workgroup, count);
  let row = index / params.heads;
  if (row >= params.rows) {
    return;
  }
  if (row >= step.rows) {
    if (lane < params.head_quads) {
      o[index * params.head_quads + lane] = vec4<Act>();
    }
    return;
  }
  let head = index % params.heads;
  let group = params.heads / params.kv_heads;
  let q_column = (head / group) * params.q_group_stride / 4u + (head % group) * params.head_quads;
  let q_row = row * params.stride / 4u + q_column;
  let width = params.kv_heads * params.head_quads;
  let column = (head / group) * params.head_quads;
  let visible = min(step.position + row + 1u, params.capacity);
  let teams = LANES / params.head_quads;
  let team = lane / params.head_quads;
  let quad = lane % params.head_quads;

  var largest = LOWEST;
  var weight = 0.0;
  var sum = vec4f();
  for (var start = visible - min(visible, params.window); start < visible; start += LANES) {
    var own = LOWEST;
    if (start + lane < visible) {
      own = score(q_row, (start + lane) * width + column)
        * key_scale((start + lane) * params.kv_heads + head / group);
    }
    scores[lane] = own;
    workgroupBarrier();
    var higher = largest;
    for (var i = 0u; i < LANES; i++) {
      higher = max(higher, scores[i]);
    }
    let kept = exp(largest - higher);
    largest = higher;
    weight *= kept;
    sum *= kept;
    if (team < teams) {
      for (var i = team; i < min(LANES, visible - start); i += teams) {
        let p = exp(scores[i] - largest);
        weight += p;
        let value = widen(values[(start + i) * width + column + quad]);
        sum += p * value_scale((start + i) * params.kv_heads + head / group) * value;
      }
    }
    workgroupBarrier();
  }

  team_sums[lane] = sum;
  team_weights[lane] = weight;
  workgroupBarrier();
  if (lane < params.head_quads) {
    for (var other = 1u; other < teams; other++) {
      sum += team_sums[other * params.head_quads + lane];
      weight += team_weights[other * params.head_quads + lane];
    }
    o[index * params.head_quads + lane] = vec4<Act>(sum / weight);
  }
}
