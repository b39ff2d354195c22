// What lib/attention-units.wgsl does, in plain WGSL: so that the arithmetic of the kernels around it can be
// checked on adapters without subgroup matrices. Slow, and never chosen for work.
//
// Of a result each lane holds its own numbers, which are neighbors in one row, and of a left that row. A right
// matrix is where it begins in `staged`.

const LANE_NUMBERS = UNIT_ROWS * UNIT_COLUMNS / LANES;

alias Left = array<f32, UNIT_DEPTH>;
alias Result = array<f32, LANE_NUMBERS>;

struct Right {
  at: u32,
  from_step: u32,    // to the next step, in numbers
  from_column: u32,
}

var<private> emulated_lane: u32;

fn emulated_row() -> u32 {
  return emulated_lane * LANE_NUMBERS / UNIT_COLUMNS;
}

fn emulated_column() -> u32 {
  return emulated_lane * LANE_NUMBERS % UNIT_COLUMNS;
}

fn left_of_rows(at: u32) -> Left {
  var left: Left;
  for (var k = 0u; k < UNIT_DEPTH; k++) {
    left[k] = f32(staged[at + emulated_row() * ROW_STRIDE + k / 4u][k % 4u]);
  }
  return left;
}

fn left_of_weights(at: u32) -> Left {
  var left: Left;
  for (var k = 0u; k < UNIT_DEPTH; k++) {
    left[k] = f32(weights[at + emulated_row() * WEIGHT_STRIDE + k / 4u][k % 4u]);
  }
  return left;
}

fn right_of_rows(at: u32) -> Right {
  return Right(4u * at, 4u * ROW_STRIDE, 1u);
}

fn right_of_columns(at: u32) -> Right {
  return Right(4u * at, 1u, 4u * ROW_STRIDE);
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  var result = sum;
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    let column = right.at + (emulated_column() + i) * right.from_column;
    for (var k = 0u; k < UNIT_DEPTH; k++) {
      let at = column + k * right.from_step;
      result[i] += left[k] * f32(staged[at / 4u][at % 4u]);
    }
  }
  return result;
}

fn store_result(at: u32, stride: u32, unit: Result) {
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    let column = emulated_column() + i;
    scores[at + emulated_row() * stride + column / 4u][column % 4u] = unit[i];
  }
}

fn load_result(at: u32, stride: u32) -> Result {
  var unit: Result;
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    let column = emulated_column() + i;
    unit[i] = scores[at + emulated_row() * stride + column / 4u][column % 4u];
  }
  return unit;
}
