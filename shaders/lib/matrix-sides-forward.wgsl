// Where the tiles of matmul-matrix.wgsl come from in the forward pass: quad `i` of rows of x, and of outputs of W.

fn left_of_tile(first_row: u32, k: u32, i: u32) -> vec4<Shared> {
  return x_quad(row_at(first_row + i / DEPTH_QUADS), k / 4u + i % DEPTH_QUADS);
}

fn right_of_tile(first_slot: u32, k: u32, i: u32) -> vec4<Shared> {
  let output = min(output_at(first_slot + i / DEPTH_QUADS), params.outputs - 1u);
  return w_quad(output, k / 4u + i % DEPTH_QUADS);
}
