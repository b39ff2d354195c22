// Where the tiles of matmul-matrix.wgsl come from in the backward pass: quad `i` of rows of dy, and of rows of W,
// its columns side by side.

fn left_of_tile(first_row: u32, n: u32, i: u32) -> vec4<Shared> {
  return dy_quad(row_at(first_row + i / DEPTH_QUADS), n + i % DEPTH_QUADS * 4u);
}

fn right_of_tile(first_quad: u32, n: u32, i: u32) -> vec4<Shared> {
  return w_row_quad(n + i / COLUMN_QUADS, first_quad + i % COLUMN_QUADS);
}
