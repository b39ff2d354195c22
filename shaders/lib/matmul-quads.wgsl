// Four neighboring numbers of a product's operand, and 0 past the end of the inner dimension, so that a tile
// may reach past it. Needs lib/matmul.wgsl and one of lib/matmul-weight….

/// The rows row … row + 3, the last row again past the end.
fn rows_from(row: u32) -> vec4u {
  return min(vec4u(row) + FOUR, vec4u(params.rows - 1u));
}

/// Inputs 4 · step … of a row of x.
fn x_quad(row: u32, step: u32) -> vec4f {
  let steps = params.inputs / 4u;
  if (step >= steps) {
    return vec4f();
  }
  return vec4f(x[(params.x_row + row) * steps + step]);
}

/// Inputs 4 · step … of an output's row of the weight.
fn w_quad(output: u32, step: u32) -> vec4f {
  let steps = params.inputs / 4u;
  if (step >= steps) {
    return vec4f();
  }
  return weight_quad(output * steps + step);
}

/// Ranks 4 · step … of a segment of a row of h.
fn h_quad(row: u32, segment: u32, step: u32) -> vec4f {
  let ranks = params.rank / 4u;
  if (step >= ranks) {
    return vec4f();
  }
  return h[((params.x_row + row) * params.segments + segment) * ranks + step];
}

/// Ranks 4 · step … of an output's row of b; 0 where that is of another segment.
fn b_quad(output: u32, step: u32, is_of_segment: bool) -> vec4f {
  let ranks = params.rank / 4u;
  if (step >= ranks || !is_of_segment) {
    return vec4f();
  }
  return b[output * ranks + step];
}

/// Outputs n … n + 3 of a row of dy.
fn dy_quad(row: u32, n: u32) -> vec4f {
  if (n >= params.outputs) {
    return vec4f();
  }
  return load_dy((params.y_row + row) * params.y_stride + params.y_column, n);
}

/// Inputs 4 · column … of an output's row of the weight; the last ones again past the end.
fn w_row_quad(output: u32, column: u32) -> vec4f {
  let stride = params.inputs / 4u;
  if (output >= params.outputs) {
    return vec4f();
  }
  return weight_quad(output * stride + min(column, stride - 1u));
}

/// Ranks 4 · step … of a segment of a row of dh.
fn dh_quad(row: u32, segment: u32, step: u32) -> vec4f {
  let ranks = params.rank / 4u;
  if (step >= ranks) {
    return vec4f();
  }
  return dh[((params.x_row + row) * params.segments + segment) * ranks + step];
}

/// Inputs 4 · column … of rank r of a segment of a.
fn a_row_quad(segment: u32, r: u32, column: u32) -> vec4f {
  let stride = params.inputs / 4u;
  if (r >= params.rank) {
    return vec4f();
  }
  return a[(segment * params.rank + r) * stride + min(column, stride - 1u)];
}
