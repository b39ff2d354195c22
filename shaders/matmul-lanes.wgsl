// Products with a frozen weight where a load costs more than a multiplication, as on Mesa's software adapter:
// that one loads lane by lane, even where all lanes want the same. lib/matmul.wgsl has the operands.
//
// A workgroup is 8 lanes, of subgroups that have LANES neighboring ones or more: 4 or 8. It makes 8 rows of 32
// columns, a lane four columns of all 8 rows. A lane loads a piece of one row, of two rows where LANES is 4, and
// gets those of the others from their registers. Sums are f32, in a fixed order, and have names: software
// adapters are slow at arrays. Past the edges a lane repeats the last row or column, and does not store it: all
// lanes stay together to the end.

const ROWS = 8u;
// The lane that has loaded row 4; those of rows 5 to 7 follow.
const LANE_OF_4 = LANES - 4u;

@compute @workgroup_size(8)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first_row = workgroup.y * ROWS;
  let first_slot = workgroup.x * 32u;
  let slot = first_slot + lane * 4u;
  let own_rows = own_rows_of(first_row, lane);
  let outputs = min(outputs_of(slot), vec4u(params.outputs - 1u));

  var sums = Sums();

  let steps = params.inputs / 4u;
  let x_at = (vec2u(params.x_row) + own_rows) * steps;
  let w_at = outputs * steps;
  for (var k = 0u; k < steps; k++) {
    let low = vec4f(x[x_at.x + k]);
    var high = low;
    if (LANES < ROWS) { high = vec4f(x[x_at.y + k]); }
    let w = transpose(mat4x4f(
      weight_quad(w_at.x + k), weight_quad(w_at.y + k),
      weight_quad(w_at.z + k), weight_quad(w_at.w + k),
    ));
    add_steps(&sums, low, high, w);
  }

  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    let b_at = outputs * ranks;
    // Lanes of other segments than the one whose h is handed around take nothing of it.
    let last = segment_of(min(first_slot + 32u, params.outputs) - 1u);
    for (var s = segment_of(first_slot); s <= last; s++) {
      let share = vec4f(f32(segment_of(slot) == s));
      let h_at = ((vec2u(params.x_row) + own_rows) * params.segments + s) * ranks;
      for (var k = 0u; k < ranks; k++) {
        let low = h[h_at.x + k];
        var high = low;
        if (LANES < ROWS) { high = h[h_at.y + k]; }
        let w = transpose(mat4x4f(
          b[b_at.x + k] * share, b[b_at.y + k] * share,
          b[b_at.z + k] * share, b[b_at.w + k] * share,
        ));
        add_steps(&sums, low, high, w);
      }
    }
  }

  if (slot >= params.outputs) {
    return;
  }
  let rows = array(sums.s0, sums.s1, sums.s2, sums.s3, sums.s4, sums.s5, sums.s6, sums.s7);
  for (var i = 0u; i < min(ROWS, params.rows - first_row); i++) {
    store_outputs(first_row + i, slot, rows[i]);
  }
}

@compute @workgroup_size(8)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first_row = workgroup.y * ROWS;
  let stride = params.inputs / 4u;
  let own_column = workgroup.x * 8u + lane;         // of dx, in fours
  let column = min(own_column, stride - 1u);
  let own_rows = own_rows_of(first_row, lane);

  var sums = Sums();

  let dy_at = (vec2u(params.y_row) + own_rows) * params.y_stride + params.y_column;
  for (var n = 0u; n < params.outputs; n += 4u) {
    let low = load_dy(dy_at.x, n);
    var high = low;
    if (LANES < ROWS) { high = load_dy(dy_at.y, n); }
    let w_at = min(vec4u(n) + FOUR, vec4u(params.outputs - 1u)) * stride + vec4u(column);
    let w = mat4x4f(
      weight_quad(w_at.x), weight_quad(w_at.y), weight_quad(w_at.z), weight_quad(w_at.w),
    );
    add_steps(&sums, low, high, w);
  }

  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    for (var s = 0u; s < params.segments; s++) {
      var part = Sums();
      let dh_at = ((vec2u(params.x_row) + own_rows) * params.segments + s) * ranks;
      for (var j = 0u; j < ranks; j++) {
        let low = dh[dh_at.x + j];
        var high = low;
        if (LANES < ROWS) { high = dh[dh_at.y + j]; }
        let a_at = (s * params.rank + j * 4u) * stride + column;
        let w = mat4x4f(a[a_at], a[a_at + stride], a[a_at + 2u * stride], a[a_at + 3u * stride]);
        add_steps(&part, low, high, w);
      }
      var kept = array(part.s0, part.s1, part.s2, part.s3, part.s4, part.s5, part.s6, part.s7);
      if (HAS_DROPOUT) {
        let key = dropout_key(params.module_id + s);
        for (var i = 0u; i < ROWS; i++) {
          let element = (params.x_row + first_row + i) * params.inputs + column * 4u;
          kept[i] *= keep_factors(key, element, params.drop_below, params.keep_scale);
        }
      }
      sums.s0 += kept[0];
      sums.s1 += kept[1];
      sums.s2 += kept[2];
      sums.s3 += kept[3];
      sums.s4 += kept[4];
      sums.s5 += kept[5];
      sums.s6 += kept[6];
      sums.s7 += kept[7];
    }
  }

  if (own_column >= stride) {
    return;
  }
  let rows = array(sums.s0, sums.s1, sums.s2, sums.s3, sums.s4, sums.s5, sums.s6, sums.s7);
  for (var i = 0u; i < min(ROWS, params.rows - first_row); i++) {
    store_dx(first_row + i, column, rows[i]);
  }
}

/// The rows that a lane loads pieces of; only the first where LANES is 8.
fn own_rows_of(first_row: u32, lane: u32) -> vec2u {
  return min(vec2u(first_row + lane % LANES) + vec2u(0u, 4u), vec2u(params.rows - 1u));
}

/// A lane's four columns of each row.
struct Sums {
  s0: vec4f, s1: vec4f, s2: vec4f, s3: vec4f,
  s4: vec4f, s5: vec4f, s6: vec4f, s7: vec4f,
}

/// Adds four steps of the inner dimension to every row, whose numbers lanes hand to each other.
fn add_steps(sums: ptr<function, Sums>, low: vec4f, high: vec4f, w: mat4x4f) {
  (*sums).s0 = add_step(subgroupBroadcast(low, 0u), w, (*sums).s0);
  (*sums).s1 = add_step(subgroupBroadcast(low, 1u), w, (*sums).s1);
  (*sums).s2 = add_step(subgroupBroadcast(low, 2u), w, (*sums).s2);
  (*sums).s3 = add_step(subgroupBroadcast(low, 3u), w, (*sums).s3);
  (*sums).s4 = add_step(subgroupBroadcast(high, LANE_OF_4), w, (*sums).s4);
  (*sums).s5 = add_step(subgroupBroadcast(high, LANE_OF_4 + 1u), w, (*sums).s5);
  (*sums).s6 = add_step(subgroupBroadcast(high, LANE_OF_4 + 2u), w, (*sums).s6);
  (*sums).s7 = add_step(subgroupBroadcast(high, LANE_OF_4 + 3u), w, (*sums).s7);
}

/// Four steps of the inner dimension: one row's numbers, and the columns' numbers of each step. The four are
/// added up first: small numbers lose less than a long sum does.
fn add_step(row: vec4f, w: mat4x4f, sum: vec4f) -> vec4f {
  return sum + fma(row.xxxx, w[0], fma(row.yyyy, w[1], fma(row.zzzz, w[2], row.wwww * w[3])));
}
