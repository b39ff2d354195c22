// Small matrices that a subgroup multiplies at once, its lanes holding them together: left [UNIT_ROWS,
// UNIT_DEPTH] · right [UNIT_DEPTH, UNIT_COLUMNS], added to a result in f32. Read from and written to the
// workgroup memory of lib/matrix-tiles-….wgsl. lib/matrix-emulated.wgsl has the same functions without them.
//
// Every call must be made by whole subgroups. No operations on the values of a subgroup beside these: on one
// driver (NVIDIA 595.58) a shader with both takes the process down.

alias Left = subgroup_matrix_left<Shared, UNIT_DEPTH, UNIT_ROWS>;
alias Right = subgroup_matrix_right<Shared, UNIT_COLUMNS, UNIT_DEPTH>;
alias Result = subgroup_matrix_result<f32, UNIT_COLUMNS, UNIT_ROWS>;

/// The unit of the left tile that begins at number `at`.
fn load_left(at: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&left_tile, at / TILE_STEP, LEFT_STRIDE / TILE_STEP);
}

/// The unit of the right tile that begins at number `at`.
fn load_right(at: u32) -> Right {
  if (IS_BACKWARD) {
    return subgroupMatrixLoad<Right, row_major>(&right_tile, at / TILE_STEP, RIGHT_STRIDE / TILE_STEP);
  }
  return subgroupMatrixLoad<Right, col_major>(&right_tile, at / TILE_STEP, RIGHT_STRIDE / TILE_STEP);
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(left, right, sum);
}

/// Writes a result, row after row, to the numbers of `staging` from `at` on.
fn store_result(at: u32, unit: Result) {
  subgroupMatrixStore<row_major>(&staging, at, unit, UNIT_COLUMNS);
}

/// Reads what `store_result` wrote.
fn load_result(at: u32) -> Result {
  return subgroupMatrixLoad<Result, row_major>(&staging, at, UNIT_COLUMNS);
}
