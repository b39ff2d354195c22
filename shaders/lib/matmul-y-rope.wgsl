// In place of lib/matmul-y.wgsl where y is the queries, keys and values of attention: turns the heads of
// queries and keys by their positions before y is stored, as shaders/rope.wgsl does in place.
//
//   positions  u32  [rows of y]
//   residual   f32  [angles, 2 · pairs]     the table: a row is its cosines, then as many sines
//
// What is turned with each other lies `pairs` dimensions apart. So that one thread has both, the four
// outputs that it makes are two neighbors and what they are turned with. Of every head_period outputs the
// first `turned` are heads of queries or keys. pairs is even, head_size a multiple of 4. Nothing is added
// to y but the bias. Everything comes in pairs of neighbors.

@group(0) @binding(5) var<storage, read_write> y: array<vec2<Out>>;
@group(0) @binding(10) var<storage, read> residual: array<vec2f>;
@group(0) @binding(11) var<storage, read> bias: array<vec2f>;

/// Where the four outputs lie that are counted from `slot` on, a multiple of 4.
fn outputs_of(slot: u32) -> vec4u {
  let dimension = slot % params.head_size;
  if (!is_turned(slot)) {
    return vec4u(slot) + FOUR;
  }
  return vec4u(slot - dimension / 2u) + vec4u(0u, 1u, params.pairs, params.pairs + 1u);
}

/// Where the one lies that is counted at any slot.
fn output_at(slot: u32) -> u32 {
  let within = slot % 4u;
  let first = slot - within;
  if (!is_turned(first)) {
    return slot;
  }
  return first - first % params.head_size / 2u + within % 2u + within / 2u * params.pairs;
}

fn is_turned(slot: u32) -> bool {
  return slot % params.head_period < params.turned && slot % params.head_size < 2u * params.pairs;
}

/// Stores the sums of the outputs `outputs_of(slot)`; there are all four.
fn store_outputs(row: u32, slot: u32, sums: vec4f) {
  let pairs = outputs_of(slot).xz / 2u;
  var values = sums;
  if (params.has_bias != 0u) {
    values += vec4f(bias[pairs.x], bias[pairs.y]);
  }
  if (is_turned(slot)) {
    var position = positions[params.y_row + row];
    if (USE_STEP_POSITION) {
      position += step.position;
    }
    let at = min(position, params.angles - 1u) * params.pairs + slot % params.head_size / 4u;
    let cosines = residual[at];
    let sines = residual[at + params.pairs / 2u];
    values = vec4f(
      values.xy * cosines - values.zw * sines,
      values.zw * cosines + values.xy * sines,
    );
  }
  let start = ((params.y_row + row) * params.y_stride + params.y_column) / 2u;
  y[start + pairs.x] = vec2<Out>(values.xy);
  y[start + pairs.y] = vec2<Out>(values.zw);
}
