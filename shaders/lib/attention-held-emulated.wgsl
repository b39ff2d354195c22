// What lib/attention-held.wgsl does, in loops, for emulated units: software compiles each of those for seconds, and
// keeps arrays in memory anyway; the longer, the longer it compiles. The includer says how many HELD_LEFTS and
// HELD_RESULTS there are.

alias Lefts = array<Left, HELD_LEFTS>;
alias Results = array<Result, HELD_RESULTS>;

fn take_lefts(lefts: ptr<function, Lefts>, count: u32, unit: u32, row: u32) {
  for (var n = 0u; n < count; n++) {
    (*lefts)[n] = left_of_rows(unit + n, row);
  }
}

fn multiply_lefts(lefts: ptr<function, Lefts>, count: u32, unit: u32) -> Result {
  // Not left to WGSL's zero: in a loop, dawn.node 0.6.2 keeps what an array without initializer held before.
  var sum = Result();
  for (var n = 0u; n < count; n++) {
    sum = multiply_add((*lefts)[n], right_of_columns(unit + n), sum);
  }
  return sum;
}

fn add_products(sums: ptr<function, Results>, count: u32, left: Left, unit: u32) {
  for (var n = 0u; n < count; n++) {
    (*sums)[n] = multiply_add(left, right_of_rows(unit + n), (*sums)[n]);
  }
}

fn put_result(sums: ptr<function, Results>, n: u32, place: u32) {
  store_result(place, (*sums)[n]);
}

fn take_result(sums: ptr<function, Results>, n: u32, place: u32) {
  (*sums)[n] = load_result(place);
}
