// The tiles that matrices are read from, as vectors of four: a thread writes one at once. The includer
// defines LEFT_SIZE and RIGHT_SIZE, in numbers.

/// Numbers in an element of the tiles.
const TILE_STEP = 4u;

var<workgroup> left_tile: array<vec4<Shared>, LEFT_SIZE / 4u>;
var<workgroup> right_tile: array<vec4<Shared>, RIGHT_SIZE / 4u>;

/// Writes numbers at … at + 3; `at` is a multiple of 4.
fn put_left(at: u32, quad: vec4<Shared>) {
  left_tile[at / 4u] = quad;
}

fn put_right(at: u32, quad: vec4<Shared>) {
  right_tile[at / 4u] = quad;
}

fn left_number(at: u32) -> f32 {
  return f32(left_tile[at / 4u][at % 4u]);
}

fn right_number(at: u32) -> f32 {
  return f32(right_tile[at / 4u][at % 4u]);
}
