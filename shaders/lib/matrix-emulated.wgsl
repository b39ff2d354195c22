// What lib/matrix-units.wgsl does, in plain WGSL: so that the arithmetic of the kernels around it can be
// checked on adapters without subgroup matrices. Slow, and never chosen for work.
//
// A left or right matrix is the number of its unit; of a result, each lane holds its own numbers, which are
// neighbors in one row.

alias Left = u32;
alias Right = u32;
const LANE_NUMBERS = UNIT_SIZE / LANES;
alias Result = array<f32, LANE_NUMBERS>;

var<private> emulated_lane: u32;

fn load_left(unit: u32) -> Left {
  return unit;
}

fn load_right(unit: u32) -> Right {
  return unit;
}

fn multiply_add(left: Left, right: Right, sum: Result) -> Result {
  var result = sum;
  let row = emulated_lane * LANE_NUMBERS / UNIT_COLUMNS;
  let first = emulated_lane * LANE_NUMBERS % UNIT_COLUMNS;
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    for (var k = 0u; k < UNIT_DEPTH; k++) {
      let column = first + i;
      let right_at = select(column * RIGHT_STRIDE + k, k * RIGHT_STRIDE + column, IS_BACKWARD);
      result[i] += left_number(left, row * LEFT_STRIDE + k) * right_number(right, right_at);
    }
  }
  return result;
}

fn store_result(place: u32, result: Result) {
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    put_staged_number(place, emulated_lane * LANE_NUMBERS + i, result[i]);
  }
}

fn load_result(place: u32) -> Result {
  var result: Result;
  for (var i = 0u; i < LANE_NUMBERS; i++) {
    result[i] = staged_number(place, emulated_lane * LANE_NUMBERS + i);
  }
  return result;
}
