// As lib/matrix-tiles-quads.wgsl, the tiles as single numbers, for WebGPU that reads matrices from no others.

const TILE_STEP = 1u;

var<workgroup> left_tile: array<Shared, LEFT_SIZE>;
var<workgroup> right_tile: array<Shared, RIGHT_SIZE>;

fn put_left(at: u32, quad: vec4<Shared>) {
  left_tile[at] = quad.x;
  left_tile[at + 1u] = quad.y;
  left_tile[at + 2u] = quad.z;
  left_tile[at + 3u] = quad.w;
}

fn put_right(at: u32, quad: vec4<Shared>) {
  right_tile[at] = quad.x;
  right_tile[at + 1u] = quad.y;
  right_tile[at + 2u] = quad.z;
  right_tile[at + 3u] = quad.w;
}

fn left_number(at: u32) -> f32 {
  return f32(left_tile[at]);
}

fn right_number(at: u32) -> f32 {
  return f32(right_tile[at]);
}
