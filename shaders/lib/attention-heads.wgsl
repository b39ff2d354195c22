// What all attention knows of heads, wherever keys and values come from: lib/attention-rows.wgsl for training,
// lib/attention-cached-rows.wgsl for a cache.
//
// Columns, and all indices into arrays of heads, count quads: vectors of four. The head size and all columns
// of the layout are multiples of 4.

const LOWEST = -3.4028234e38; // there is no literal for −∞
const FOUR = vec4u(0u, 1u, 2u, 3u);

fn q_column(head: u32) -> u32 {
  let group = params.heads / params.kv_heads;
  return (head / group) * params.q_group_stride / 4u + (head % group) * params.head_quads;
}

fn first_keys(positions: vec4u) -> vec4u {
  return vec4u(
    first_key(positions.x), first_key(positions.y), first_key(positions.z), first_key(positions.w),
  );
}

/// One quad for each of four rows, weighted: what one row of the other side adds to their sums.
fn spread(weight: vec4f, values: vec4f) -> mat4x4f {
  return mat4x4f(weight.x * values, weight.y * values, weight.z * values, weight.w * values);
}
