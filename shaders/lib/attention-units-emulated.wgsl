// What lib/attention-units.wgsl does, in plain WGSL: so that the arithmetic of the kernels around it can be
// checked on adapters without subgroup matrices. Slow, and never chosen for work.
//
// Of a result each lane holds its own numbers, which are neighbors in one row, and of a left that row. A right
// matrix is the number of its unit in `staged`, and how it lies there.

const LANE_NUMBERS = UNIT_ROWS * EDGE / LANES;

alias Left = array<f32, EDGE>;
alias Result = array<f32, LANE_NUMBERS>;

struct Right {
  unit: u32,
  from_step: u32,    // to the next step, in numbers
  from_column: u32,
}

var<private> emulated_lane: u32;

fn emulated_row() -> u32 {
  return emulated_lane * LANE_NUMBERS / EDGE;
}

fn emulated_column() -> u32 {
  return emulated_lane * LANE_NUMBERS % EDGE;
}

fn left_of_rows(unit: u32, row: u32) -> Left {
  var left: Left;
  for (var k = 0u; k < EDGE; k++) {
    left[k] = f32(staged[unit][(row + emulated_row()) * ROW_STRIDE + k / 4u][k % 4u]);
  }
  return left;
}

fn left_of_weights(unit: u32) -> Left {
  var left: Left;
  for (var k = 0u; k < EDGE; k++) {
    left[k] = f32(weights[unit][emulated_row() * ROW_STRIDE + k / 4u][k % 4u]);
  }
  return left;
}

fn right_of_rows(unit: u32) -> Right {
  return Right(unit, 4u * ROW_STRIDE, 1u);
}

fn right_of_columns(unit: u32) -> Right {
  return Right(unit, 1u, 4u * ROW_STRIDE);
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  var result = sum;
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    let column = (emulated_column() + i) * right.from_column;
    for (var k = 0u; k < EDGE; k++) {
      let at = column + k * right.from_step;
      result[i] += left[k] * f32(staged[right.unit][at / 4u][at % 4u]);
    }
  }
  return result;
}

fn store_result(place: u32, result: Result) {
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    let column = emulated_column() + i;
    scores[place][emulated_row() * SCORE_STRIDE + column / 4u][column % 4u] = result[i];
  }
}

fn load_result(place: u32) -> Result {
  var result: Result;
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    let column = emulated_column() + i;
    result[i] = scores[place][emulated_row() * SCORE_STRIDE + column / 4u][column % 4u];
  }
  return result;
}
