// Small matrices that a subgroup multiplies at once, for attention: left [UNIT_ROWS, UNIT_DEPTH] · right
// [UNIT_DEPTH, UNIT_COLUMNS], added to a result in f32. They are read from `staged` and `weights` and written to
// `scores`, workgroup memory of vectors of four: all places and strides count quads.
// lib/attention-units-emulated.wgsl has the same functions without subgroup matrices.
//
// Every call must be made by whole subgroups. No operations on the values of a subgroup beside these: on one
// driver (NVIDIA 595.58) a shader with both takes the process down.

alias Left = subgroup_matrix_left<Shared, UNIT_DEPTH, UNIT_ROWS>;
alias Right = subgroup_matrix_right<Shared, UNIT_COLUMNS, UNIT_DEPTH>;
alias Result = subgroup_matrix_result<f32, UNIT_COLUMNS, UNIT_ROWS>;

/// Staged rows as rows of the left.
fn left_of_rows(at: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&staged, at, ROW_STRIDE);
}

fn left_of_weights(at: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&weights, at, WEIGHT_STRIDE);
}

/// Staged rows as steps of the right.
fn right_of_rows(at: u32) -> Right {
  return subgroupMatrixLoad<Right, row_major>(&staged, at, ROW_STRIDE);
}

/// Staged rows as columns of the right.
fn right_of_columns(at: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&staged, at, ROW_STRIDE);
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(left, right, sum);
}

fn store_result(at: u32, stride: u32, unit: Result) {
  subgroupMatrixStore<row_major>(&scores, at, unit, stride);
}

fn load_result(at: u32, stride: u32) -> Result {
  return subgroupMatrixLoad<Result, row_major>(&scores, at, stride);
}
