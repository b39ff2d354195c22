// Workgroup memory for attention by matrices: every unit is an array of its own, so that a matrix is read from the
// beginning of an array whose length is known. WebGPU's compilers leave out the test, and the branch, that they put
// around any other reading.
//
// A unit has EDGE columns, rows of PADDING_QUADS more than that; units are GAP_QUADS apart: on 16 bytes, and out of
// each other's banks. The includer says how many units there are: STAGED_UNITS of EDGE rows, the units of a row
// STAGED_WIDTH to a line; WEIGHT_UNITS and SCORE_UNITS of UNIT_ROWS rows, OTHER / EDGE to a line.

const EDGE_QUADS = EDGE / 4u;
const ROW_STRIDE = EDGE_QUADS + PADDING_QUADS;
const SCORE_STRIDE = EDGE_QUADS + EDGE_QUADS / 4u;
const OTHER_UNITS = OTHER / EDGE;

var<workgroup> staged: array<array<vec4<Shared>, EDGE * ROW_STRIDE + GAP_QUADS>, STAGED_UNITS>;
var<workgroup> weights: array<array<vec4<Shared>, UNIT_ROWS * ROW_STRIDE>, WEIGHT_UNITS>;
var<workgroup> scores: array<array<vec4f, UNIT_ROWS * SCORE_STRIDE>, SCORE_UNITS>;

/// Writes a quad of a row into the units from `first` on.
fn put_staged(first: u32, row: u32, quad: u32, value: vec4<Shared>) {
  let unit = first + row / EDGE * STAGED_WIDTH + quad / EDGE_QUADS;
  staged[unit][row % EDGE * ROW_STRIDE + quad % EDGE_QUADS] = value;
}

/// Scores 4 · quad … of a row.
fn score(row: u32, quad: u32) -> vec4f {
  let unit = row / UNIT_ROWS * OTHER_UNITS + quad / EDGE_QUADS;
  return scores[unit][row % UNIT_ROWS * SCORE_STRIDE + quad % EDGE_QUADS];
}

fn put_score(row: u32, quad: u32, value: vec4f) {
  let unit = row / UNIT_ROWS * OTHER_UNITS + quad / EDGE_QUADS;
  scores[unit][row % UNIT_ROWS * SCORE_STRIDE + quad % EDGE_QUADS] = value;
}

fn put_weight(row: u32, quad: u32, value: vec4f) {
  let unit = row / UNIT_ROWS * OTHER_UNITS + quad / EDGE_QUADS;
  weights[unit][row % UNIT_ROWS * ROW_STRIDE + quad % EDGE_QUADS] = vec4<Shared>(value);
}
