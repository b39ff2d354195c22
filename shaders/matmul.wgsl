// Products with a frozen weight, and beside each the adapter's low-rank part: the variant that every adapter
// runs. lib/matmul.wgsl has the operands.
//
// A thread makes a 4 × 4 piece of the result in registers, straight from storage, four steps of the
// inner dimension at a time; a workgroup makes 32 × 32. The accumulators have names because software
// adapters run named variables several times faster than arrays. Sums are f32, in a fixed order.

@compute @workgroup_size(8, 8)
fn forward(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y * 4u;
  let column = id.x * 4u;
  if (row >= params.rows || column >= params.outputs) {
    return;
  }
  // Past the edge a thread repeats the last row or column, and does not store it.
  let rows = min(vec4u(row) + FOUR, vec4u(params.rows - 1u));
  let columns = min(outputs_of(column), vec4u(params.outputs - 1u));

  // s_ij holds four partial sums of y[row + i, column + j].
  var s00 = vec4f(); var s01 = vec4f(); var s02 = vec4f(); var s03 = vec4f();
  var s10 = vec4f(); var s11 = vec4f(); var s12 = vec4f(); var s13 = vec4f();
  var s20 = vec4f(); var s21 = vec4f(); var s22 = vec4f(); var s23 = vec4f();
  var s30 = vec4f(); var s31 = vec4f(); var s32 = vec4f(); var s33 = vec4f();

  let steps = params.inputs / 4u;
  let x_at = (vec4u(params.x_row) + rows) * steps;
  let w_at = columns * steps;
  for (var k = 0u; k < steps; k++) {
    let x0 = vec4f(x[x_at.x + k]);
    let x1 = vec4f(x[x_at.y + k]);
    let x2 = vec4f(x[x_at.z + k]);
    let x3 = vec4f(x[x_at.w + k]);
    let w0 = weight_quad(w_at.x + k);
    s00 = fma(x0, w0, s00); s10 = fma(x1, w0, s10); s20 = fma(x2, w0, s20); s30 = fma(x3, w0, s30);
    let w1 = weight_quad(w_at.y + k);
    s01 = fma(x0, w1, s01); s11 = fma(x1, w1, s11); s21 = fma(x2, w1, s21); s31 = fma(x3, w1, s31);
    let w2 = weight_quad(w_at.z + k);
    s02 = fma(x0, w2, s02); s12 = fma(x1, w2, s12); s22 = fma(x2, w2, s22); s32 = fma(x3, w2, s32);
    let w3 = weight_quad(w_at.w + k);
    s03 = fma(x0, w3, s03); s13 = fma(x1, w3, s13); s23 = fma(x2, w3, s23); s33 = fma(x3, w3, s33);
  }

  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    let h_at = ((vec4u(params.x_row) + rows) * params.segments + vec4u(segment_of(column))) * ranks;
    let b_at = columns * ranks;
    for (var k = 0u; k < ranks; k++) {
      let h0 = h[h_at.x + k];
      let h1 = h[h_at.y + k];
      let h2 = h[h_at.z + k];
      let h3 = h[h_at.w + k];
      let b0 = b[b_at.x + k];
      s00 = fma(h0, b0, s00); s10 = fma(h1, b0, s10); s20 = fma(h2, b0, s20); s30 = fma(h3, b0, s30);
      let b1 = b[b_at.y + k];
      s01 = fma(h0, b1, s01); s11 = fma(h1, b1, s11); s21 = fma(h2, b1, s21); s31 = fma(h3, b1, s31);
      let b2 = b[b_at.z + k];
      s02 = fma(h0, b2, s02); s12 = fma(h1, b2, s12); s22 = fma(h2, b2, s22); s32 = fma(h3, b2, s32);
      let b3 = b[b_at.w + k];
      s03 = fma(h0, b3, s03); s13 = fma(h1, b3, s13); s23 = fma(h2, b3, s23); s33 = fma(h3, b3, s33);
    }
  }

  let sums = array(
    vec4f(dot(s00, ONE), dot(s01, ONE), dot(s02, ONE), dot(s03, ONE)),
    vec4f(dot(s10, ONE), dot(s11, ONE), dot(s12, ONE), dot(s13, ONE)),
    vec4f(dot(s20, ONE), dot(s21, ONE), dot(s22, ONE), dot(s23, ONE)),
    vec4f(dot(s30, ONE), dot(s31, ONE), dot(s32, ONE), dot(s33, ONE)),
  );
  for (var i = 0u; i < min(4u, params.rows - row); i++) {
    store_outputs(row + i, column, sums[i]);
  }
}

@compute @workgroup_size(8, 8)
fn backward(@builtin(global_invocation_id) id: vec3u) {
  let row = id.y * 4u;
  let column = id.x;                       // of dx, in fours
  let stride = params.inputs / 4u;
  if (row >= params.rows || column >= stride) {
    return;
  }
  let rows = min(vec4u(row) + FOUR, vec4u(params.rows - 1u));

  // s_i is dx[row + i, 4 · column …].
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();

  let dy_at = (vec4u(params.y_row) + rows) * params.y_stride + vec4u(params.y_column);
  for (var n = 0u; n < params.outputs; n += 4u) {
    let d0 = load_dy(dy_at.x, n);
    let d1 = load_dy(dy_at.y, n);
    let d2 = load_dy(dy_at.z, n);
    let d3 = load_dy(dy_at.w, n);
    let w_rows = min(vec4u(n) + FOUR, vec4u(params.outputs - 1u));
    let w_at = w_rows * stride + vec4u(column);
    let w0 = weight_quad(w_at.x);
    let w1 = weight_quad(w_at.y);
    let w2 = weight_quad(w_at.z);
    let w3 = weight_quad(w_at.w);
    s0 = fma(d0.xxxx, w0, fma(d0.yyyy, w1, fma(d0.zzzz, w2, fma(d0.wwww, w3, s0))));
    s1 = fma(d1.xxxx, w0, fma(d1.yyyy, w1, fma(d1.zzzz, w2, fma(d1.wwww, w3, s1))));
    s2 = fma(d2.xxxx, w0, fma(d2.yyyy, w1, fma(d2.zzzz, w2, fma(d2.wwww, w3, s2))));
    s3 = fma(d3.xxxx, w0, fma(d3.yyyy, w1, fma(d3.zzzz, w2, fma(d3.wwww, w3, s3))));
  }

  let x_rows = vec4u(params.x_row) + rows;
  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    for (var s = 0u; s < params.segments; s++) {
      var p0 = vec4f();
      var p1 = vec4f();
      var p2 = vec4f();
      var p3 = vec4f();
      let dh_at = (x_rows * params.segments + vec4u(s)) * ranks;
      for (var j = 0u; j < ranks; j++) {
        let d0 = dh[dh_at.x + j];
        let d1 = dh[dh_at.y + j];
        let d2 = dh[dh_at.z + j];
        let d3 = dh[dh_at.w + j];
        let a_at = (s * params.rank + j * 4u) * stride + column;
        let a0 = a[a_at];
        let a1 = a[a_at + stride];
        let a2 = a[a_at + 2u * stride];
        let a3 = a[a_at + 3u * stride];
        p0 = fma(d0.xxxx, a0, fma(d0.yyyy, a1, fma(d0.zzzz, a2, fma(d0.wwww, a3, p0))));
        p1 = fma(d1.xxxx, a0, fma(d1.yyyy, a1, fma(d1.zzzz, a2, fma(d1.wwww, a3, p1))));
        p2 = fma(d2.xxxx, a0, fma(d2.yyyy, a1, fma(d2.zzzz, a2, fma(d2.wwww, a3, p2))));
        p3 = fma(d3.xxxx, a0, fma(d3.yyyy, a1, fma(d3.zzzz, a2, fma(d3.wwww, a3, p3))));
      }
      if (HAS_DROPOUT) {
        let key = dropout_key(params.module_id + s);
        let element = x_rows * params.inputs + vec4u(column * 4u);
        p0 *= keep_factors(key, element.x, params.drop_below, params.keep_scale);
        p1 *= keep_factors(key, element.y, params.drop_below, params.keep_scale);
        p2 *= keep_factors(key, element.z, params.drop_below, params.keep_scale);
        p3 *= keep_factors(key, element.w, params.drop_below, params.keep_scale);
      }
      s0 += p0;
      s1 += p1;
      s2 += p2;
      s3 += p3;
    }
  }

  let sums = array(s0, s1, s2, s3);
  for (var i = 0u; i < min(4u, params.rows - row); i++) {
    store_dx(row + i, column, sums[i]);
  }
}

const ONE = vec4f(1.0);
