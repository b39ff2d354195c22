// The matrices that a subgroup holds of its rows for attention: those of the left, and results. Each lies in an
// element that is only ever named by a number, so that all of them stay in registers, as in lib/matrix-block-….wgsl:
// what a loop indexes would have to be memory, unless a driver unrolls the loop. `count` is a constant wherever
// these are called, and what is past it is never touched. Needs lib/attention-units.wgsl.

alias Lefts = array<Left, 16u>;
alias Results = array<Result, 16u>;

/// Takes `count` units of staged rows, the first of them `unit`, from their row `row` on.
fn take_lefts(lefts: ptr<function, Lefts>, count: u32, unit: u32, row: u32) {
  (*lefts)[0] = left_of_rows(unit, row);
  if (count > 1u) { (*lefts)[1] = left_of_rows(unit + 1u, row); }
  if (count > 2u) { (*lefts)[2] = left_of_rows(unit + 2u, row); }
  if (count > 3u) { (*lefts)[3] = left_of_rows(unit + 3u, row); }
  if (count > 4u) { (*lefts)[4] = left_of_rows(unit + 4u, row); }
  if (count > 5u) { (*lefts)[5] = left_of_rows(unit + 5u, row); }
  if (count > 6u) { (*lefts)[6] = left_of_rows(unit + 6u, row); }
  if (count > 7u) { (*lefts)[7] = left_of_rows(unit + 7u, row); }
  if (count > 8u) { (*lefts)[8] = left_of_rows(unit + 8u, row); }
  if (count > 9u) { (*lefts)[9] = left_of_rows(unit + 9u, row); }
  if (count > 10u) { (*lefts)[10] = left_of_rows(unit + 10u, row); }
  if (count > 11u) { (*lefts)[11] = left_of_rows(unit + 11u, row); }
  if (count > 12u) { (*lefts)[12] = left_of_rows(unit + 12u, row); }
  if (count > 13u) { (*lefts)[13] = left_of_rows(unit + 13u, row); }
  if (count > 14u) { (*lefts)[14] = left_of_rows(unit + 14u, row); }
  if (count > 15u) { (*lefts)[15] = left_of_rows(unit + 15u, row); }
}

/// The product of these rows with the `count` staged units from `unit` on, as columns.
fn multiply_lefts(lefts: ptr<function, Lefts>, count: u32, unit: u32) -> Result {
  var sum = multiply_add((*lefts)[0], right_of_columns(unit), Result());
  if (count > 1u) { sum = multiply_add((*lefts)[1], right_of_columns(unit + 1u), sum); }
  if (count > 2u) { sum = multiply_add((*lefts)[2], right_of_columns(unit + 2u), sum); }
  if (count > 3u) { sum = multiply_add((*lefts)[3], right_of_columns(unit + 3u), sum); }
  if (count > 4u) { sum = multiply_add((*lefts)[4], right_of_columns(unit + 4u), sum); }
  if (count > 5u) { sum = multiply_add((*lefts)[5], right_of_columns(unit + 5u), sum); }
  if (count > 6u) { sum = multiply_add((*lefts)[6], right_of_columns(unit + 6u), sum); }
  if (count > 7u) { sum = multiply_add((*lefts)[7], right_of_columns(unit + 7u), sum); }
  if (count > 8u) { sum = multiply_add((*lefts)[8], right_of_columns(unit + 8u), sum); }
  if (count > 9u) { sum = multiply_add((*lefts)[9], right_of_columns(unit + 9u), sum); }
  if (count > 10u) { sum = multiply_add((*lefts)[10], right_of_columns(unit + 10u), sum); }
  if (count > 11u) { sum = multiply_add((*lefts)[11], right_of_columns(unit + 11u), sum); }
  if (count > 12u) { sum = multiply_add((*lefts)[12], right_of_columns(unit + 12u), sum); }
  if (count > 13u) { sum = multiply_add((*lefts)[13], right_of_columns(unit + 13u), sum); }
  if (count > 14u) { sum = multiply_add((*lefts)[14], right_of_columns(unit + 14u), sum); }
  if (count > 15u) { sum = multiply_add((*lefts)[15], right_of_columns(unit + 15u), sum); }
  return sum;
}

/// Adds the product of `left` with each of the `count` staged units from `unit` on, as rows.
fn add_products(sums: ptr<function, Results>, count: u32, left: Left, unit: u32) {
  (*sums)[0] = multiply_add(left, right_of_rows(unit), (*sums)[0]);
  if (count > 1u) { (*sums)[1] = multiply_add(left, right_of_rows(unit + 1u), (*sums)[1]); }
  if (count > 2u) { (*sums)[2] = multiply_add(left, right_of_rows(unit + 2u), (*sums)[2]); }
  if (count > 3u) { (*sums)[3] = multiply_add(left, right_of_rows(unit + 3u), (*sums)[3]); }
  if (count > 4u) { (*sums)[4] = multiply_add(left, right_of_rows(unit + 4u), (*sums)[4]); }
  if (count > 5u) { (*sums)[5] = multiply_add(left, right_of_rows(unit + 5u), (*sums)[5]); }
  if (count > 6u) { (*sums)[6] = multiply_add(left, right_of_rows(unit + 6u), (*sums)[6]); }
  if (count > 7u) { (*sums)[7] = multiply_add(left, right_of_rows(unit + 7u), (*sums)[7]); }
  if (count > 8u) { (*sums)[8] = multiply_add(left, right_of_rows(unit + 8u), (*sums)[8]); }
  if (count > 9u) { (*sums)[9] = multiply_add(left, right_of_rows(unit + 9u), (*sums)[9]); }
  if (count > 10u) { (*sums)[10] = multiply_add(left, right_of_rows(unit + 10u), (*sums)[10]); }
  if (count > 11u) { (*sums)[11] = multiply_add(left, right_of_rows(unit + 11u), (*sums)[11]); }
  if (count > 12u) { (*sums)[12] = multiply_add(left, right_of_rows(unit + 12u), (*sums)[12]); }
  if (count > 13u) { (*sums)[13] = multiply_add(left, right_of_rows(unit + 13u), (*sums)[13]); }
  if (count > 14u) { (*sums)[14] = multiply_add(left, right_of_rows(unit + 14u), (*sums)[14]); }
  if (count > 15u) { (*sums)[15] = multiply_add(left, right_of_rows(unit + 15u), (*sums)[15]); }
}

/// Writes one result to a place of `scores`.
fn put_result(sums: ptr<function, Results>, n: u32, place: u32) {
  switch (n) {
    case 0u: { store_result(place, (*sums)[0]); }
    case 1u: { store_result(place, (*sums)[1]); }
    case 2u: { store_result(place, (*sums)[2]); }
    case 3u: { store_result(place, (*sums)[3]); }
    case 4u: { store_result(place, (*sums)[4]); }
    case 5u: { store_result(place, (*sums)[5]); }
    case 6u: { store_result(place, (*sums)[6]); }
    case 7u: { store_result(place, (*sums)[7]); }
    case 8u: { store_result(place, (*sums)[8]); }
    case 9u: { store_result(place, (*sums)[9]); }
    case 10u: { store_result(place, (*sums)[10]); }
    case 11u: { store_result(place, (*sums)[11]); }
    case 12u: { store_result(place, (*sums)[12]); }
    case 13u: { store_result(place, (*sums)[13]); }
    case 14u: { store_result(place, (*sums)[14]); }
    default: { store_result(place, (*sums)[15]); }
  }
}

/// Reads one back.
fn take_result(sums: ptr<function, Results>, n: u32, place: u32) {
  switch (n) {
    case 0u: { (*sums)[0] = load_result(place); }
    case 1u: { (*sums)[1] = load_result(place); }
    case 2u: { (*sums)[2] = load_result(place); }
    case 3u: { (*sums)[3] = load_result(place); }
    case 4u: { (*sums)[4] = load_result(place); }
    case 5u: { (*sums)[5] = load_result(place); }
    case 6u: { (*sums)[6] = load_result(place); }
    case 7u: { (*sums)[7] = load_result(place); }
    case 8u: { (*sums)[8] = load_result(place); }
    case 9u: { (*sums)[9] = load_result(place); }
    case 10u: { (*sums)[10] = load_result(place); }
    case 11u: { (*sums)[11] = load_result(place); }
    case 12u: { (*sums)[12] = load_result(place); }
    case 13u: { (*sums)[13] = load_result(place); }
    case 14u: { (*sums)[14] = load_result(place); }
    default: { (*sums)[15] = load_result(place); }
  }
}
