// Attention's tiles: 4 × 4 products of a thread from rows staged in workgroup memory, a slice of the head at
// a time.
//
// Rows of queries are those of lib/attention-list.wgsl.
// A thread's four rows lie OWN_GROUPS (or OTHER_GROUPS) apart and a staged row is an odd number of quads long,
// so that threads side by side meet different banks. Quads past the head are staged as zeros.
//
// SLICE_QUADS is a power of two, and Staged f32 or Act. Whoever uses this says how many rows are OWN and OTHER.

const OWN_GROUPS = OWN / 4u;
const OTHER_GROUPS = OTHER / 4u;
const STRIDE = SLICE_QUADS + 1u;

/// Where the tokens of rows of queries stand; rows past the last count as the last.
fn row_positions(rows: vec4u) -> vec4u {
  return positions_of(min(rows, vec4u(query_rows() - 1u)) / (params.heads / params.kv_heads));
}

/// Products of four staged rows from `own` on with four from `other` on: [other][own].
fn products(own: u32, other: u32) -> mat4x4f {
  var sums = mat4x4f();
  for (var quad = 0u; quad < SLICE_QUADS; quad++) {
    let own_quads = mat4x4f(
      vec4f(staged[own + quad]),
      vec4f(staged[own + OWN_GROUPS * STRIDE + quad]),
      vec4f(staged[own + 2u * OWN_GROUPS * STRIDE + quad]),
      vec4f(staged[own + 3u * OWN_GROUPS * STRIDE + quad]),
    );
    let other_quads = mat4x4f(
      vec4f(staged[other + quad]),
      vec4f(staged[other + OTHER_GROUPS * STRIDE + quad]),
      vec4f(staged[other + 2u * OTHER_GROUPS * STRIDE + quad]),
      vec4f(staged[other + 3u * OTHER_GROUPS * STRIDE + quad]),
    );
    sums += transpose(own_quads) * other_quads;
  }
  return sums;
}

/// Where four own rows' weights of row `other` of the other side lie. Groups trade places from row to row, so that
/// threads side by side, which write rows side by side, meet different banks. OWN_GROUPS is a multiple of 8.
fn weight_at(other: u32, group: u32) -> u32 {
  return other * OWN_GROUPS + (group ^ (other % 8u));
}
