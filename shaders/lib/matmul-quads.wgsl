// Four neighboring numbers of a product's operand in the type of tiles, and 0 past the end of the inner
// dimension, so that a tile may reach past it. Needs lib/matmul.wgsl and one of lib/matmul-weight….
//
// RAGGED_DEPTH says whether the inner dimension ends inside a tile; without it nobody asks for what is past
// the end. The adapter's rank may always end inside a tile.

/// What a workgroup of the backward pass takes of the inner dimension, and where the rows lie that it stores.
struct Slice {
  start: u32,
  end: u32,
  row: u32,
}

/// Slice z of the inner dimension, which has rows of its own in dx; all of it without IN_SLICES.
fn slice_of(z: u32) -> Slice {
  if (!IN_SLICES) {
    return Slice(0u, params.outputs, 0u);
  }
  let start = z * params.slice_steps;
  return Slice(start, min(start + params.slice_steps, params.outputs), z * params.rows);
}

/// The rows row … row + 3, the last row again past the end.
fn rows_from(row: u32) -> vec4u {
  return min(vec4u(row) + FOUR, vec4u(params.rows - 1u));
}

/// Inputs 4 · step … of a row of x.
fn x_quad(row: u32, step: u32) -> vec4<Shared> {
  let steps = params.inputs / 4u;
  if (RAGGED_DEPTH && step >= steps) {
    return vec4<Shared>();
  }
  return vec4<Shared>(x[(params.x_row + row) * steps + step]);
}

/// Inputs 4 · step … of an output's row of the weight.
fn w_quad(output: u32, step: u32) -> vec4<Shared> {
  let steps = params.inputs / 4u;
  if (RAGGED_DEPTH && step >= steps) {
    return vec4<Shared>();
  }
  return weight_shared(output * steps + step);
}

/// Ranks 4 · step … of a segment of a row of h.
fn h_quad(row: u32, segment: u32, step: u32) -> vec4<Shared> {
  let ranks = params.rank / 4u;
  if (step >= ranks) {
    return vec4<Shared>();
  }
  return vec4<Shared>(h[((params.x_row + row) * params.segments + segment) * ranks + step]);
}

/// Ranks 4 · step … of an output's row of b; 0 where that is of another segment.
fn b_quad(output: u32, step: u32, is_of_segment: bool) -> vec4<Shared> {
  let ranks = params.rank / 4u;
  if (step >= ranks || !is_of_segment) {
    return vec4<Shared>();
  }
  return vec4<Shared>(b[output * ranks + step]);
}

/// Outputs n … n + 3 of a row of dy.
fn dy_quad(row: u32, n: u32) -> vec4<Shared> {
  if (RAGGED_DEPTH && n >= params.outputs) {
    return vec4<Shared>();
  }
  let start = (params.y_row + row) * params.y_stride + params.y_column;
  if (!RAGGED) {
    return vec4<Shared>(dy[(start + n) / 4u]); // what is f16 already is not widened
  }
  return vec4<Shared>(load_dy(start, n));
}

/// Inputs 4 · column … of an output's row of the weight; the last ones again past the end.
fn w_row_quad(output: u32, column: u32) -> vec4<Shared> {
  let stride = params.inputs / 4u;
  if (RAGGED_DEPTH && output >= params.outputs) {
    return vec4<Shared>();
  }
  return weight_shared(output * stride + min(column, stride - 1u));
}

/// Ranks 4 · step … of a segment of a row of dh.
fn dh_quad(row: u32, segment: u32, step: u32) -> vec4<Shared> {
  let ranks = params.rank / 4u;
  if (step >= ranks) {
    return vec4<Shared>();
  }
  return vec4<Shared>(dh[((params.x_row + row) * params.segments + segment) * ranks + step]);
}

/// Inputs 4 · column … of rank r of a segment of a.
fn a_row_quad(segment: u32, r: u32, column: u32) -> vec4<Shared> {
  let stride = params.inputs / 4u;
  if (r >= params.rank) {
    return vec4<Shared>();
  }
  return vec4<Shared>(a[(segment * params.rank + r) * stride + min(column, stride - 1u)]);
}
