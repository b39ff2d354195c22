// Takes new tokens into a cache of keys and values: norms their query and key heads where NORMED, turns both
// by where they stand, and writes keys and values into the cache, queries back where they were.
//
//   qkv           Act   [rows, stride]              heads by the layout of src/kernels/attention.ts
//   table         f32   [angles, 2 · pairs]         a row is its cosines, then as many sines
//   query_weight, key_weight   f32  [head size]
//   keys, values  Quad  [capacity, kv_heads, head size / 4]
//   key_scales, value_scales   f32  [capacity, kv_heads]
//
//   x → x / √(mean(x²) + ε) · weight;   (a, b) → (a cos − b sin, b cos + a sin) for dimensions i and i + pairs
//
// Row t stands at step.position + t; only rows below step.rows are taken in. A workgroup of LANES threads
// makes one head, a thread four neighboring dimensions. append_scaled stores shares of the head's largest
// magnitude, and that beside them. Sums are f32, in a fixed order. Requires a head size that is a multiple
// of 4, at most 4 · LANES and 256. Needs lib/grid.wgsl, lib/step.wgsl, lib/reduce.wgsl, `narrow`.

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
  angles: u32,         // rows of the table
  pairs: u32,          // of one head
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> qkv: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
@group(0) @binding(3) var<storage, read> query_weight: array<vec4f>;
@group(0) @binding(4) var<storage, read> key_weight: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> keys: array<Quad>;
@group(0) @binding(6) var<storage, read_write> values: array<Quad>;
@group(0) @binding(7) var<storage, read_write> key_scales: array<f32>;
@group(0) @binding(8) var<storage, read_write> value_scales: array<f32>;

/// The head, dimension by dimension.
var<workgroup> dimensions: array<f32, 4u * LANES>;

/// What a workgroup makes: query heads are counted first, then those of keys, then those of values.
struct Head { row: u32, number: u32, at: u32, is_query: bool, is_value: bool, is_taken: bool }

@compute @workgroup_size(LANES)
fn append(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = head_of(flat_workgroup(workgroup, count));
  if (!head.is_taken) {
    return;
  }
  let made = made_of(head, lane);
  if (lane < params.head_quads) {
    if (head.is_query) {
      qkv[head.at + lane] = vec4<Act>(made);
    } else if (head.is_value) {
      values[cache_row(head) * params.head_quads + lane] = narrow(made);
    } else {
      keys[cache_row(head) * params.head_quads + lane] = narrow(made);
    }
  }
}

@compute @workgroup_size(LANES)
fn append_scaled(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = head_of(flat_workgroup(workgroup, count));
  if (!head.is_taken) {
    return;
  }
  let made = made_of(head, lane);
  let sizes = abs(made);
  let largest = max_over_workgroup(lane, max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)));
  if (lane < params.head_quads) {
    let at = cache_row(head);
    // Of a head of zeros there is nothing to divide.
    let shares = select(vec4f(), made / largest, largest > 0.0);
    if (head.is_query) {
      qkv[head.at + lane] = vec4<Act>(made);
    } else if (head.is_value) {
      values[at * params.head_quads + lane] = narrow(shares);
      if (lane == 0u) { value_scales[at] = largest; }
    } else {
      keys[at * params.head_quads + lane] = narrow(shares);
      if (lane == 0u) { key_scales[at] = largest; }
    }
  }
}

fn head_of(index: u32) -> Head {
  let heads = params.heads + 2u * params.kv_heads;
  let row = index / heads;
  let head = index % heads;
  let is_query = head < params.heads;
  let is_value = head >= params.heads + params.kv_heads;
  let group = params.heads / params.kv_heads;
  var number = head;
  var column = (head / group) * params.q_group_stride + (head % group) * params.head_quads * 4u;
  if (!is_query) {
    number = (head - params.heads) % params.kv_heads;
    column = select(params.k_base, params.v_base, is_value) + number * params.kv_stride;
  }
  let at = (row * params.stride + column) / 4u;
  let is_taken = row < min(params.rows, step.rows) && step.position + row < params.capacity;
  return Head(row, number, at, is_query, is_value, is_taken);
}

/// Where a key or value head lies in the cache, in heads.
fn cache_row(head: Head) -> u32 {
  return (step.position + head.row) * params.kv_heads + head.number;
}

/// Four dimensions of the head as they are kept; 0 past its end.
fn made_of(head: Head, lane: u32) -> vec4f {
  var value = vec4f();
  if (lane < params.head_quads) {
    value = vec4f(qkv[head.at + lane]);
  }
  if (head.is_value) {
    return value;
  }
  if (NORMED) {
    let mean = sum_over_workgroup(lane, dot(value, value)) / f32(4u * params.head_quads);
    var weight = vec4f();
    if (lane < params.head_quads) {
      weight = select(key_weight[lane], query_weight[lane], head.is_query);
    }
    value = value / sqrt(mean + params.epsilon) * weight;
  }
  let first = 4u * lane;
  dimensions[first] = value.x;
  dimensions[first + 1u] = value.y;
  dimensions[first + 2u] = value.z;
  dimensions[first + 3u] = value.w;
  workgroupBarrier();
  let row = min(step.position + head.row, params.angles - 1u) * 2u * params.pairs;
  return vec4f(
    turned(first, row), turned(first + 1u, row), turned(first + 2u, row), turned(first + 3u, row),
  );
}

/// A dimension after the turn. `row` is where the position's row of the table begins.
fn turned(dimension: u32, row: u32) -> f32 {
  let pairs = params.pairs;
  if (dimension >= 2u * pairs) {
    return dimensions[dimension];
  }
  let i = dimension % pairs;
  let cosine = table[row + i];
  let sine = table[row + pairs + i];
  let a = dimensions[i];
  let b = dimensions[i + pairs];
  return select(b * cosine + a * sine, a * cosine - b * sine, dimension < pairs);
}
