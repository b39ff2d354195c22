// Products with a frozen weight where a load costs more than a multiplication, as on Mesa's software adapter:
// that one loads lane by lane, even where all lanes want the same. lib/matmul.wgsl has the operands.
//
// A workgroup is 8 neighboring lanes of one subgroup, and makes 8 rows of 32 columns, a lane four columns of all
// 8 rows. Each lane loads a piece of one row, and gets those of the others from their registers. Sums are f32,
// in a fixed order, and have names: software adapters are slow at arrays. Past the edges a lane repeats the
// last row or column, and does not store it: all lanes stay together to the end.

const LANES = 8u;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first_row = workgroup.y * LANES;
  let first_slot = workgroup.x * LANES * 4u;
  let slot = first_slot + lane * 4u;
  let own_row = min(first_row + lane, params.rows - 1u);
  let outputs = min(outputs_of(slot), vec4u(params.outputs - 1u));

  // s_i is the lane's four columns of row i.
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();

  let steps = params.inputs / 4u;
  let x_at = (params.x_row + own_row) * steps;
  let w_at = outputs * steps;
  for (var k = 0u; k < steps; k++) {
    let mine = vec4f(x[x_at + k]);
    let w = transpose(mat4x4f(
      weight_quad(w_at.x + k), weight_quad(w_at.y + k),
      weight_quad(w_at.z + k), weight_quad(w_at.w + k),
    ));
    let a0 = subgroupBroadcast(mine, 0u);
    s0 = add_step(a0, w, s0);
    let a1 = subgroupBroadcast(mine, 1u);
    s1 = add_step(a1, w, s1);
    let a2 = subgroupBroadcast(mine, 2u);
    s2 = add_step(a2, w, s2);
    let a3 = subgroupBroadcast(mine, 3u);
    s3 = add_step(a3, w, s3);
    let a4 = subgroupBroadcast(mine, 4u);
    s4 = add_step(a4, w, s4);
    let a5 = subgroupBroadcast(mine, 5u);
    s5 = add_step(a5, w, s5);
    let a6 = subgroupBroadcast(mine, 6u);
    s6 = add_step(a6, w, s6);
    let a7 = subgroupBroadcast(mine, 7u);
    s7 = add_step(a7, w, s7);
  }

  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    let b_at = outputs * ranks;
    // Lanes of other segments than the one whose h is handed around take nothing of it.
    let last = segment_of(min(first_slot + LANES * 4u, params.outputs) - 1u);
    for (var s = segment_of(first_slot); s <= last; s++) {
      let share = vec4f(f32(segment_of(slot) == s));
      let h_at = ((params.x_row + own_row) * params.segments + s) * ranks;
      for (var k = 0u; k < ranks; k++) {
        let mine = h[h_at + k];
        let w = transpose(mat4x4f(
          b[b_at.x + k] * share, b[b_at.y + k] * share,
          b[b_at.z + k] * share, b[b_at.w + k] * share,
        ));
        let a0 = subgroupBroadcast(mine, 0u);
        s0 = add_step(a0, w, s0);
        let a1 = subgroupBroadcast(mine, 1u);
        s1 = add_step(a1, w, s1);
        let a2 = subgroupBroadcast(mine, 2u);
        s2 = add_step(a2, w, s2);
        let a3 = subgroupBroadcast(mine, 3u);
        s3 = add_step(a3, w, s3);
        let a4 = subgroupBroadcast(mine, 4u);
        s4 = add_step(a4, w, s4);
        let a5 = subgroupBroadcast(mine, 5u);
        s5 = add_step(a5, w, s5);
        let a6 = subgroupBroadcast(mine, 6u);
        s6 = add_step(a6, w, s6);
        let a7 = subgroupBroadcast(mine, 7u);
        s7 = add_step(a7, w, s7);
      }
    }
  }

  if (slot >= params.outputs) {
    return;
  }
  if (first_row < params.rows) { store_outputs(first_row, slot, s0); }
  if (first_row + 1u < params.rows) { store_outputs(first_row + 1u, slot, s1); }
  if (first_row + 2u < params.rows) { store_outputs(first_row + 2u, slot, s2); }
  if (first_row + 3u < params.rows) { store_outputs(first_row + 3u, slot, s3); }
  if (first_row + 4u < params.rows) { store_outputs(first_row + 4u, slot, s4); }
  if (first_row + 5u < params.rows) { store_outputs(first_row + 5u, slot, s5); }
  if (first_row + 6u < params.rows) { store_outputs(first_row + 6u, slot, s6); }
  if (first_row + 7u < params.rows) { store_outputs(first_row + 7u, slot, s7); }
}

@compute @workgroup_size(LANES)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let first_row = workgroup.y * LANES;
  let stride = params.inputs / 4u;
  let own_column = workgroup.x * LANES + lane;         // of dx, in fours
  let column = min(own_column, stride - 1u);
  let own_row = min(first_row + lane, params.rows - 1u);

  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();

  let dy_at = (params.y_row + own_row) * params.y_stride + params.y_column;
  for (var n = 0u; n < params.outputs; n += 4u) {
    let mine = load_dy(dy_at, n);
    let w_at = min(vec4u(n) + FOUR, vec4u(params.outputs - 1u)) * stride + vec4u(column);
    let w = mat4x4f(
      weight_quad(w_at.x), weight_quad(w_at.y), weight_quad(w_at.z), weight_quad(w_at.w),
    );
    let a0 = subgroupBroadcast(mine, 0u);
    s0 = add_step(a0, w, s0);
    let a1 = subgroupBroadcast(mine, 1u);
    s1 = add_step(a1, w, s1);
    let a2 = subgroupBroadcast(mine, 2u);
    s2 = add_step(a2, w, s2);
    let a3 = subgroupBroadcast(mine, 3u);
    s3 = add_step(a3, w, s3);
    let a4 = subgroupBroadcast(mine, 4u);
    s4 = add_step(a4, w, s4);
    let a5 = subgroupBroadcast(mine, 5u);
    s5 = add_step(a5, w, s5);
    let a6 = subgroupBroadcast(mine, 6u);
    s6 = add_step(a6, w, s6);
    let a7 = subgroupBroadcast(mine, 7u);
    s7 = add_step(a7, w, s7);
  }

  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    for (var s = 0u; s < params.segments; s++) {
      var p0 = vec4f();
      var p1 = vec4f();
      var p2 = vec4f();
      var p3 = vec4f();
      var p4 = vec4f();
      var p5 = vec4f();
      var p6 = vec4f();
      var p7 = vec4f();
      let dh_at = ((params.x_row + own_row) * params.segments + s) * ranks;
      for (var j = 0u; j < ranks; j++) {
        let mine = dh[dh_at + j];
        let a_at = (s * params.rank + j * 4u) * stride + column;
        let w = mat4x4f(a[a_at], a[a_at + stride], a[a_at + 2u * stride], a[a_at + 3u * stride]);
        let a0 = subgroupBroadcast(mine, 0u);
        p0 = add_step(a0, w, p0);
        let a1 = subgroupBroadcast(mine, 1u);
        p1 = add_step(a1, w, p1);
        let a2 = subgroupBroadcast(mine, 2u);
        p2 = add_step(a2, w, p2);
        let a3 = subgroupBroadcast(mine, 3u);
        p3 = add_step(a3, w, p3);
        let a4 = subgroupBroadcast(mine, 4u);
        p4 = add_step(a4, w, p4);
        let a5 = subgroupBroadcast(mine, 5u);
        p5 = add_step(a5, w, p5);
        let a6 = subgroupBroadcast(mine, 6u);
        p6 = add_step(a6, w, p6);
        let a7 = subgroupBroadcast(mine, 7u);
        p7 = add_step(a7, w, p7);
      }
      if (HAS_DROPOUT) {
        let key = dropout_key(params.module_id + s);
        let element = (params.x_row + first_row) * params.inputs + column * 4u;
        p0 *= keep_factors(key, element, params.drop_below, params.keep_scale);
        p1 *= keep_factors(key, element + params.inputs, params.drop_below, params.keep_scale);
        p2 *= keep_factors(key, element + 2u * params.inputs, params.drop_below, params.keep_scale);
        p3 *= keep_factors(key, element + 3u * params.inputs, params.drop_below, params.keep_scale);
        p4 *= keep_factors(key, element + 4u * params.inputs, params.drop_below, params.keep_scale);
        p5 *= keep_factors(key, element + 5u * params.inputs, params.drop_below, params.keep_scale);
        p6 *= keep_factors(key, element + 6u * params.inputs, params.drop_below, params.keep_scale);
        p7 *= keep_factors(key, element + 7u * params.inputs, params.drop_below, params.keep_scale);
      }
      s0 += p0;
      s1 += p1;
      s2 += p2;
      s3 += p3;
      s4 += p4;
      s5 += p5;
      s6 += p6;
      s7 += p7;
    }
  }

  if (own_column >= stride) {
    return;
  }
  if (first_row < params.rows) { store_dx(first_row, column, s0); }
  if (first_row + 1u < params.rows) { store_dx(first_row + 1u, column, s1); }
  if (first_row + 2u < params.rows) { store_dx(first_row + 2u, column, s2); }
  if (first_row + 3u < params.rows) { store_dx(first_row + 3u, column, s3); }
  if (first_row + 4u < params.rows) { store_dx(first_row + 4u, column, s4); }
  if (first_row + 5u < params.rows) { store_dx(first_row + 5u, column, s5); }
  if (first_row + 6u < params.rows) { store_dx(first_row + 6u, column, s6); }
  if (first_row + 7u < params.rows) { store_dx(first_row + 7u, column, s7); }
}

/// Four steps of the inner dimension: one row's numbers, and the columns' numbers of each step.
fn add_step(row: vec4f, w: mat4x4f, sum: vec4f) -> vec4f {
  return fma(row.xxxx, w[0], fma(row.yyyy, w[1], fma(row.zzzz, w[2], fma(row.wwww, w[3], sum))));
}
