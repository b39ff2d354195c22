// Attention of new tokens over a cache of keys and values, in which they are already, each by itself.
//
//   o  Act  [rows, heads, head size]  0 from row step.rows on
//
// One workgroup per row and head walks over the cache LANES keys at a time. First each thread
// scores one key; then the threads form teams of head_quads, each team adding up every teams-th value
// of the tile, four dimensions to a thread. At the end the teams' sums are added in order.
// Sums are f32. Requires a head size of up to 256. Operands are those of lib/attention-cached-rows.wgsl. Needs
// lib/grid.wgsl.

const LANES = 64u;

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

var<workgroup> scores: array<f32, LANES>;
var<workgroup> team_sums: array<vec4f, LANES>;
var<workgroup> team_weights: array<f32, LANES>;

fn score(q_row: u32, key: u32) -> f32 {
  var sum = 0.0;
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sum += dot(vec4f(qkv[q_row + quad]), widen(keys[key + quad]));
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
  if (row >= real_tokens()) {
    if (lane < params.head_quads) {
      o[index * params.head_quads + lane] = vec4<Act>();
    }
    return;
  }
  let head = index % params.heads;
  let kv_head = head / (params.heads / params.kv_heads);
  let q_row = row * params.stride / 4u + q_column(head);
  let position = position_of(row);
  let end = position + 1u;
  let teams = LANES / params.head_quads;
  let team = lane / params.head_quads;
  let quad = lane % params.head_quads;

  var largest = LOWEST;
  var weight = 0.0;
  var sum = vec4f();
  for (var start = first_key(position); start < end; start += LANES) {
    var own = LOWEST;
    if (start + lane < end) {
      own = score(q_row, key_start(start + lane, kv_head))
        * key_scale(cached_head(start + lane, kv_head));
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
      for (var i = team; i < min(LANES, end - start); i += teams) {
        let p = exp(scores[i] - largest);
        weight += p;
        let value = widen(values[value_start(start + i, kv_head) + quad]);
        sum += p * value_scale(cached_head(start + i, kv_head)) * value;
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
