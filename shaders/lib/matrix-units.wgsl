// Small matrices that a subgroup multiplies at once, its lanes holding them together: left [UNIT_ROWS,
// UNIT_DEPTH] · right [UNIT_DEPTH, UNIT_COLUMNS], added to a result in f32. Read from and written to the
// workgroup memory of lib/matrix-tiles-….wgsl. lib/matrix-emulated.wgsl has the same functions without them.
//
// Every call must be made by whole subgroups. No operations on the values of a subgroup beside these: on one
// driver (NVIDIA 595.58) a shader with both takes the process down. Offsets and strides are constants: others
// would be tested, at every call.

alias Left = subgroup_matrix_left<Shared, UNIT_DEPTH, UNIT_ROWS>;
alias Right = subgroup_matrix_right<Shared, UNIT_COLUMNS, UNIT_DEPTH>;
alias Result = subgroup_matrix_result<f32, UNIT_COLUMNS, UNIT_ROWS>;

fn load_left(unit: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&left_tile[unit], 0u, LEFT_STRIDE / ELEMENT);
}

fn load_right(unit: u32) -> Right {
  if (IS_BACKWARD) {
    return subgroupMatrixLoad<Right, row_major>(&right_tile[unit], 0u, RIGHT_STRIDE / ELEMENT);
  }
  return subgroupMatrixLoad<Right, col_major>(&right_tile[unit], 0u, RIGHT_STRIDE / ELEMENT);
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(left, right, sum);
}

/// Writes a result, row after row, to a place of `staging`.
fn store_result(place: u32, result: Result) {
  subgroupMatrixStore<row_major>(&staging[place], 0u, result, UNIT_COLUMNS / ELEMENT);
}

/// Reads what `store_result` wrote.
fn load_result(place: u32) -> Result {
  return subgroupMatrixLoad<Result, row_major>(&staging[place], 0u, UNIT_COLUMNS / ELEMENT);
}
