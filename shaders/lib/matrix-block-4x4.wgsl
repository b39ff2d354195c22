// The part of a tile that one subgroup makes: 4 × 4 units, each in an element that is only ever named by a
// number, so that all of them stay in registers. Needs lib/matrix-units.wgsl or lib/matrix-emulated.wgsl.

const BLOCK_ROWS = 4u;
const BLOCK_COLUMNS = 4u;
alias Block = array<Result, BLOCK_ROWS * BLOCK_COLUMNS>;

/// Adds the product of BLOCK_ROWS units of the left tile, from unit `left` on, with BLOCK_COLUMNS of the right.
fn add_units(block: ptr<function, Block>, left: u32, right: u32) {
  let left_0 = load_left(left);
  let left_1 = load_left(left + 1u * LEFT_UNIT);
  let left_2 = load_left(left + 2u * LEFT_UNIT);
  let left_3 = load_left(left + 3u * LEFT_UNIT);
  let right_0 = load_right(right);
  (*block)[0] = multiply_add(left_0, right_0, (*block)[0]);
  (*block)[4] = multiply_add(left_1, right_0, (*block)[4]);
  (*block)[8] = multiply_add(left_2, right_0, (*block)[8]);
  (*block)[12] = multiply_add(left_3, right_0, (*block)[12]);
  let right_1 = load_right(right + 1u * RIGHT_UNIT);
  (*block)[1] = multiply_add(left_0, right_1, (*block)[1]);
  (*block)[5] = multiply_add(left_1, right_1, (*block)[5]);
  (*block)[9] = multiply_add(left_2, right_1, (*block)[9]);
  (*block)[13] = multiply_add(left_3, right_1, (*block)[13]);
  let right_2 = load_right(right + 2u * RIGHT_UNIT);
  (*block)[2] = multiply_add(left_0, right_2, (*block)[2]);
  (*block)[6] = multiply_add(left_1, right_2, (*block)[6]);
  (*block)[10] = multiply_add(left_2, right_2, (*block)[10]);
  (*block)[14] = multiply_add(left_3, right_2, (*block)[14]);
  let right_3 = load_right(right + 3u * RIGHT_UNIT);
  (*block)[3] = multiply_add(left_0, right_3, (*block)[3]);
  (*block)[7] = multiply_add(left_1, right_3, (*block)[7]);
  (*block)[11] = multiply_add(left_2, right_3, (*block)[11]);
  (*block)[15] = multiply_add(left_3, right_3, (*block)[15]);
}

/// Writes one unit to a place of `staging`.
fn stage_unit(block: ptr<function, Block>, unit: u32, place: u32) {
  switch (unit) {
    case 0u: { store_result(place, (*block)[0]); }
    case 1u: { store_result(place, (*block)[1]); }
    case 2u: { store_result(place, (*block)[2]); }
    case 3u: { store_result(place, (*block)[3]); }
    case 4u: { store_result(place, (*block)[4]); }
    case 5u: { store_result(place, (*block)[5]); }
    case 6u: { store_result(place, (*block)[6]); }
    case 7u: { store_result(place, (*block)[7]); }
    case 8u: { store_result(place, (*block)[8]); }
    case 9u: { store_result(place, (*block)[9]); }
    case 10u: { store_result(place, (*block)[10]); }
    case 11u: { store_result(place, (*block)[11]); }
    case 12u: { store_result(place, (*block)[12]); }
    case 13u: { store_result(place, (*block)[13]); }
    case 14u: { store_result(place, (*block)[14]); }
    default: { store_result(place, (*block)[15]); }
  }
}

/// Reads one unit back.
fn take_unit(block: ptr<function, Block>, unit: u32, place: u32) {
  switch (unit) {
    case 0u: { (*block)[0] = load_result(place); }
    case 1u: { (*block)[1] = load_result(place); }
    case 2u: { (*block)[2] = load_result(place); }
    case 3u: { (*block)[3] = load_result(place); }
    case 4u: { (*block)[4] = load_result(place); }
    case 5u: { (*block)[5] = load_result(place); }
    case 6u: { (*block)[6] = load_result(place); }
    case 7u: { (*block)[7] = load_result(place); }
    case 8u: { (*block)[8] = load_result(place); }
    case 9u: { (*block)[9] = load_result(place); }
    case 10u: { (*block)[10] = load_result(place); }
    case 11u: { (*block)[11] = load_result(place); }
    case 12u: { (*block)[12] = load_result(place); }
    case 13u: { (*block)[13] = load_result(place); }
    case 14u: { (*block)[14] = load_result(place); }
    default: { (*block)[15] = load_result(place); }
  }
}
