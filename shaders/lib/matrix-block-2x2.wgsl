// The part of a tile that one subgroup makes: 2 × 2 units, each in an element that is only ever named by a
// number, so that all of them stay in registers. Needs lib/matrix-units.wgsl or lib/matrix-emulated.wgsl.

const BLOCK_ROWS = 2u;
const BLOCK_COLUMNS = 2u;
alias Block = array<Result, BLOCK_ROWS * BLOCK_COLUMNS>;

/// Adds the product of BLOCK_ROWS units of the left tile, from unit `left` on, with BLOCK_COLUMNS of the right.
fn add_units(block: ptr<function, Block>, left: u32, right: u32) {
  let left_0 = load_left(left);
  let left_1 = load_left(left + 1u * LEFT_UNIT);
  let right_0 = load_right(right);
  (*block)[0] = multiply_add(left_0, right_0, (*block)[0]);
  (*block)[2] = multiply_add(left_1, right_0, (*block)[2]);
  let right_1 = load_right(right + 1u * RIGHT_UNIT);
  (*block)[1] = multiply_add(left_0, right_1, (*block)[1]);
  (*block)[3] = multiply_add(left_1, right_1, (*block)[3]);
}

/// Writes one unit to a place of `staging`.
fn stage_unit(block: ptr<function, Block>, unit: u32, place: u32) {
  switch (unit) {
    case 0u: { store_result(place, (*block)[0]); }
    case 1u: { store_result(place, (*block)[1]); }
    case 2u: { store_result(place, (*block)[2]); }
    default: { store_result(place, (*block)[3]); }
  }
}

/// Reads one unit back.
fn take_unit(block: ptr<function, Block>, unit: u32, place: u32) {
  switch (unit) {
    case 0u: { (*block)[0] = load_result(place); }
    case 1u: { (*block)[1] = load_result(place); }
    case 2u: { (*block)[2] = load_result(place); }
    default: { (*block)[3] = load_result(place); }
  }
}
