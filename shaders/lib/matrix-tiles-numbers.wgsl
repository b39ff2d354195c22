// As lib/matrix-tiles-quads.wgsl, as single numbers, for WebGPU that reads matrices from no others.

const ELEMENT = 1u;

var<workgroup> left_tile: array<array<Shared, LEFT_SIZE>, ROW_UNITS * STEP_UNITS>;
var<workgroup> right_tile: array<array<Shared, RIGHT_SIZE>, COLUMN_UNITS * STEP_UNITS>;
var<workgroup> staging: array<array<f32, UNIT_SIZE>, SUBGROUPS * STAGED>;

fn put_left(unit: u32, at: u32, quad: vec4<Shared>) {
  left_tile[unit][at] = quad.x;
  left_tile[unit][at + 1u] = quad.y;
  left_tile[unit][at + 2u] = quad.z;
  left_tile[unit][at + 3u] = quad.w;
}

fn put_right(unit: u32, at: u32, quad: vec4<Shared>) {
  right_tile[unit][at] = quad.x;
  right_tile[unit][at + 1u] = quad.y;
  right_tile[unit][at + 2u] = quad.z;
  right_tile[unit][at + 3u] = quad.w;
}

fn staged(unit: u32, quad: u32) -> vec4f {
  let at = 4u * quad;
  return vec4f(
    staging[unit][at], staging[unit][at + 1u], staging[unit][at + 2u], staging[unit][at + 3u],
  );
}

fn put_staged(unit: u32, quad: u32, values: vec4f) {
  let at = 4u * quad;
  staging[unit][at] = values.x;
  staging[unit][at + 1u] = values.y;
  staging[unit][at + 2u] = values.z;
  staging[unit][at + 3u] = values.w;
}

fn left_number(unit: u32, at: u32) -> f32 {
  return f32(left_tile[unit][at]);
}

fn right_number(unit: u32, at: u32) -> f32 {
  return f32(right_tile[unit][at]);
}

fn staged_number(unit: u32, at: u32) -> f32 {
  return staging[unit][at];
}

fn put_staged_number(unit: u32, at: u32, value: f32) {
  staging[unit][at] = value;
}
