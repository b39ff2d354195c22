// Small matrices that a subgroup multiplies at once, for attention: left [UNIT_ROWS, EDGE] · right [EDGE, EDGE],
// added to a result in f32. They are read from the units of `staged` and `weights` and written to those of
// `scores`, lib/attention-unit-memory.wgsl. lib/attention-units-emulated.wgsl has the same functions without
// subgroup matrices.
//
// Every call must be made by whole subgroups. No operations on the values of a subgroup beside these: on one
// driver (NVIDIA 595.58) a shader with both takes the process down. Offsets and strides are constants where it
// matters: others are tested, at every call.

alias Left = subgroup_matrix_left<Shared, EDGE, UNIT_ROWS>;
alias Right = subgroup_matrix_right<Shared, EDGE, EDGE>;
alias Result = subgroup_matrix_result<f32, EDGE, UNIT_ROWS>;

/// Staged rows as rows of the left, from row `row` of a unit on.
fn left_of_rows(unit: u32, row: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&staged[unit], row * ROW_STRIDE, ROW_STRIDE);
}

fn left_of_weights(unit: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&weights[unit], 0u, ROW_STRIDE);
}

/// Staged rows as steps of the right.
fn right_of_rows(unit: u32) -> Right {
  return subgroupMatrixLoad<Right, row_major>(&staged[unit], 0u, ROW_STRIDE);
}

/// Staged rows as columns of the right.
fn right_of_columns(unit: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&staged[unit], 0u, ROW_STRIDE);
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(left, right, sum);
}

fn store_result(place: u32, result: Result) {
  subgroupMatrixStore<row_major>(&scores[place], 0u, result, SCORE_STRIDE);
}

fn load_result(place: u32) -> Result {
  return subgroupMatrixLoad<Result, row_major>(&scores[place], 0u, SCORE_STRIDE);
}
