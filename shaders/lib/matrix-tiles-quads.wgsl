// What matrices are read from and written to, as vectors of four: a thread moves one at once. The includer
// defines how many units there are, and LEFT_SIZE, RIGHT_SIZE and UNIT_SIZE, in numbers.

/// Numbers in an element.
const ELEMENT = 4u;

var<workgroup> left_tile: array<array<vec4<Shared>, LEFT_SIZE / 4u>, ROW_UNITS * STEP_UNITS>;
var<workgroup> right_tile: array<array<vec4<Shared>, RIGHT_SIZE / 4u>, COLUMN_UNITS * STEP_UNITS>;
var<workgroup> staging: array<array<vec4f, UNIT_SIZE / 4u>, SUBGROUPS * STAGED>;

/// Writes numbers at … at + 3 of a unit; `at` is a multiple of 4.
fn put_left(unit: u32, at: u32, quad: vec4<Shared>) {
  left_tile[unit][at / 4u] = quad;
}

fn put_right(unit: u32, at: u32, quad: vec4<Shared>) {
  right_tile[unit][at / 4u] = quad;
}

/// A quad of a staged unit.
fn staged(unit: u32, quad: u32) -> vec4f {
  return staging[unit][quad];
}

fn put_staged(unit: u32, quad: u32, values: vec4f) {
  staging[unit][quad] = values;
}

fn left_number(unit: u32, at: u32) -> f32 {
  return f32(left_tile[unit][at / 4u][at % 4u]);
}

fn right_number(unit: u32, at: u32) -> f32 {
  return f32(right_tile[unit][at / 4u][at % 4u]);
}

fn staged_number(unit: u32, at: u32) -> f32 {
  return staging[unit][at / 4u][at % 4u];
}

fn put_staged_number(unit: u32, at: u32, value: f32) {
  staging[unit][at / 4u][at % 4u] = value;
}
