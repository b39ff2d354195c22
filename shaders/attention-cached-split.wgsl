// Attention of one new token over a long cache, the keys dealt out to many workgroups: `part` makes what each
// chunk of keys has to say, and `join` weighs them against each other.
//
//   parts  f32  [chunks, heads, head size]  Σ exp(score − largest) · v of a chunk
//   sums   f32  [chunks, heads, 2]          the chunk's largest score, and Σ exp(score − largest)
//   o      Act  [heads, head size]
//
// A workgroup of part makes four query heads of one key head for one chunk of CHUNK keys, so that what is
// read of the cache serves four times. Chunks are counted from the cache's first row, and those that the
// token does not see end at once: the grid is that of a full cache. The sums are f32, in a fixed order, and
// do not depend on how much room the cache has. Requires a head size of up to 256, and a cache for more than
// LANES tokens. Operands are those of lib/attention-cached-rows.wgsl.

const LANES = 64u;

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;
@group(0) @binding(7) var<storage, read_write> parts: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> sums: array<vec2f>;

/// Component i of what follows is query head first_head + i's.
var<workgroup> queries: array<mat4x4f, 64>;        // by quads of dimensions: a column is a head's
var<workgroup> scores: array<vec4f, CHUNK>;
var<workgroup> lane_values: array<vec4f, LANES>;
var<workgroup> team_sums: array<vec4f, LANES>;

/// The rows of the cache that the token sees.
fn seen_rows() -> vec2u {
  let position = position_of(0u);
  return vec2u(first_key(position), position + 1u);
}

/// LANES, as a bound that compilers do not unroll.
fn lanes() -> u32 {
  return min(LANES, params.capacity);
}

@compute @workgroup_size(LANES)
fn part(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let chunk = workgroup.x;
  let group = params.heads / params.kv_heads;
  let fours = (group + 3u) / 4u;
  let kv_head = workgroup.y / fours;
  let first = (workgroup.y % fours) * 4u;          // of the group
  let count = min(group - first, 4u);
  let seen = seen_rows();
  let start = max(chunk * CHUNK, seen.x);
  let end = min((chunk + 1u) * CHUNK, seen.y);
  if (start >= end) {
    return;
  }
  let quads = params.head_quads;
  if (lane < quads) {
    let column = q_column(kv_head * group + first) + lane;
    // Past the group's end its last head is made again, and not stored.
    queries[lane] = mat4x4f(
      vec4f(qkv[column]),
      vec4f(qkv[column + min(1u, count - 1u) * quads]),
      vec4f(qkv[column + min(2u, count - 1u) * quads]),
      vec4f(qkv[column + min(3u, count - 1u) * quads]),
    );
  }
  workgroupBarrier();

  var largest = vec4f(LOWEST);
  for (var key = start + lane; key < end; key += LANES) {
    let at = key_start(key, kv_head);
    var score = vec4f();
    for (var quad = 0u; quad < quads; quad++) {
      score += widen(keys[at + quad]) * queries[quad];
    }
    score *= params.scale * key_scale(cached_head(key, kv_head));
    scores[key - start] = score;
    largest = max(largest, score);
  }
  largest = largest_of_workgroup(lane, largest);
  var weight = vec4f();
  for (var key = start + lane; key < end; key += LANES) {
    let share = exp(scores[key - start] - largest);
    weight += share;
    scores[key - start] = share * value_scale(cached_head(key, kv_head));
  }
  weight = sum_of_workgroup(lane, weight);         // and every score is there

  // Teams of head_quads threads take every teams-th value, four dimensions to a thread.
  let teams = LANES / quads;
  let team = lane / quads;
  let quad = lane % quads;
  var sum_0 = vec4f();
  var sum_1 = vec4f();
  var sum_2 = vec4f();
  var sum_3 = vec4f();
  if (team < teams) {
    for (var key = start + team; key < end; key += teams) {
      let value = widen(values[value_start(key, kv_head) + quad]);
      let share = scores[key - start];
      sum_0 += share.x * value;
      sum_1 += share.y * value;
      sum_2 += share.z * value;
      sum_3 += share.w * value;
    }
  }
  let head = kv_head * group + first;
  store_part(chunk, head, lane, sum_of_teams(lane, teams, sum_0));
  if (count > 1u) { store_part(chunk, head + 1u, lane, sum_of_teams(lane, teams, sum_1)); }
  if (count > 2u) { store_part(chunk, head + 2u, lane, sum_of_teams(lane, teams, sum_2)); }
  if (count > 3u) { store_part(chunk, head + 3u, lane, sum_of_teams(lane, teams, sum_3)); }
  if (lane < count) {
    sums[chunk * params.heads + head + lane] = vec2f(largest[lane], weight[lane]);
  }
}

@compute @workgroup_size(LANES)
fn join(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = workgroup.x;
  let quads = params.head_quads;
  let seen = seen_rows();
  let first = seen.x / CHUNK;
  let past = (seen.y + CHUNK - 1u) / CHUNK;
  if (lane >= quads) {
    return;
  }
  var largest = LOWEST;
  for (var chunk = first; chunk < past; chunk++) {
    largest = max(largest, sums[chunk * params.heads + head].x);
  }
  var weight = 0.0;
  var sum = vec4f();
  for (var chunk = first; chunk < past; chunk++) {
    let at = chunk * params.heads + head;
    let kept = exp(sums[at].x - largest);
    weight += kept * sums[at].y;
    sum += kept * parts[at * quads + lane];
  }
  o[head * quads + lane] = vec4<Act>(sum / weight);
}

fn store_part(chunk: u32, head: u32, lane: u32, sum: vec4f) {
  if (lane < params.head_quads) {
    parts[(chunk * params.heads + head) * params.head_quads + lane] = sum;
  }
}

/// The teams' sums added in order, for the first team's threads. Every thread must call.
fn sum_of_teams(lane: u32, teams: u32, own: vec4f) -> vec4f {
  workgroupBarrier();
  team_sums[lane] = own;
  workgroupBarrier();
  var sum = own;
  if (lane < params.head_quads) {
    for (var other = 1u; other < teams; other++) {
      sum += team_sums[other * params.head_quads + lane];
    }
  }
  return sum;
}

fn largest_of_workgroup(lane: u32, own: vec4f) -> vec4f {
  lane_values[lane] = own;
  workgroupBarrier();
  var largest = own;
  for (var i = 0u; i < lanes(); i++) {
    largest = max(largest, lane_values[i]);
  }
  workgroupBarrier();
  return largest;
}

fn sum_of_workgroup(lane: u32, own: vec4f) -> vec4f {
  lane_values[lane] = own;
  workgroupBarrier();
  var sum = vec4f();
  for (var i = 0u; i < lanes(); i++) {
    sum += lane_values[i];
  }
  workgroupBarrier();
  return sum;
}
