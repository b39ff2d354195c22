// The low-rank side path of a frozen matrix, for every segment s of its outputs (q, k, v) at once.
//
//   down         h_s  = scale_s · (mask_s ∘ x) · A_sᵀ      writes h
//   up_backward  dh_s = scale_s · dy_s · B_s               writes dh
//   gradients    dA_s += dh_sᵀ · (mask_s ∘ x)              reads dh as made_dh
//                dB   += dyᵀ · h_s                         reads h as made_h
//
//   x      X    [tokens, inputs]             dy     Dy   [any rows, y_stride], outputs from y_column on
//   a, da  f32  [segments · rank, inputs]    b, db  f32  [outputs, rank]
//   h, dh  f32  [tokens, segments · rank]
//
// The rows x_row … x_row + rows of x, h and dh go with the rows from y_row on of dy. The mask's element
// is the place in the whole of x. Scales are multiplied by the step's adapter_scale.
//
// A thread makes a small tile in registers and walks the inner dimension alone, in a fixed order. The tiles
// of a segment lie along the grid's x, the segments along z; of the gradients, all tiles of dA lie in one row
// of workgroups and those of dB follow. Sums are f32.
//
// inputs and rank are multiples of 4; segments but the last end on a multiple of 4. Rows may be ragged.
// Outputs, y_column and y_stride may be, too; dy is then read with RAGGED. lib/lora.wgsl has the parameters.

@group(0) @binding(3) var<storage, read_write> h: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dh: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> da: array<vec4f>;
@group(0) @binding(10) var<storage, read_write> db: array<vec4f>;

/// A tile of 4 rows × 4 ranks.
@compute @workgroup_size(64)
fn down(@builtin(global_invocation_id) id: vec3u) {
  let ranks = params.rank / 4u;
  let row = id.x / ranks * 4u;
  let segment = id.z;
  if (row >= params.rows) {
    return;
  }
  // Past the edge a thread repeats the last row, and does not store it.
  let rows = min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(params.rows - 1u));
  let column = segment * params.rank + id.x % ranks * 4u;     // of h, and row of a

  // s_ij holds four partial sums of h[row + i, column + j].
  var s00 = vec4f(); var s01 = vec4f(); var s02 = vec4f(); var s03 = vec4f();
  var s10 = vec4f(); var s11 = vec4f(); var s12 = vec4f(); var s13 = vec4f();
  var s20 = vec4f(); var s21 = vec4f(); var s22 = vec4f(); var s23 = vec4f();
  var s30 = vec4f(); var s31 = vec4f(); var s32 = vec4f(); var s33 = vec4f();

  let key = dropout_key(params.module_id + segment);
  let steps = params.inputs / 4u;
  let x_at = (vec4u(params.x_row) + rows) * steps;
  let a_at = column * steps;
  for (var k = 0u; k < steps; k++) {
    let x0 = dropped_x(key, x_at.x + k);
    let x1 = dropped_x(key, x_at.y + k);
    let x2 = dropped_x(key, x_at.z + k);
    let x3 = dropped_x(key, x_at.w + k);
    let a0 = a[a_at + k];
    s00 = fma(x0, a0, s00); s10 = fma(x1, a0, s10); s20 = fma(x2, a0, s20); s30 = fma(x3, a0, s30);
    let a1 = a[a_at + steps + k];
    s01 = fma(x0, a1, s01); s11 = fma(x1, a1, s11); s21 = fma(x2, a1, s21); s31 = fma(x3, a1, s31);
    let a2 = a[a_at + 2u * steps + k];
    s02 = fma(x0, a2, s02); s12 = fma(x1, a2, s12); s22 = fma(x2, a2, s22); s32 = fma(x3, a2, s32);
    let a3 = a[a_at + 3u * steps + k];
    s03 = fma(x0, a3, s03); s13 = fma(x1, a3, s13); s23 = fma(x2, a3, s23); s33 = fma(x3, a3, s33);
  }

  let scale = vec4f(scale_of(segment));
  store_h(row, column, scale * vec4f(dot(s00, ONE), dot(s01, ONE), dot(s02, ONE), dot(s03, ONE)));
  store_h(row + 1u, column, scale * vec4f(dot(s10, ONE), dot(s11, ONE), dot(s12, ONE), dot(s13, ONE)));
  store_h(row + 2u, column, scale * vec4f(dot(s20, ONE), dot(s21, ONE), dot(s22, ONE), dot(s23, ONE)));
  store_h(row + 3u, column, scale * vec4f(dot(s30, ONE), dot(s31, ONE), dot(s32, ONE), dot(s33, ONE)));
}

/// A tile of 4 rows × 4 ranks.
@compute @workgroup_size(64)
fn up_backward(@builtin(global_invocation_id) id: vec3u) {
  let ranks = params.rank / 4u;
  let row = id.x / ranks * 4u;
  let column = id.x % ranks;               // of the segment's part of dh, in fours
  let segment = id.z;
  if (row >= params.rows) {
    return;
  }
  let rows = min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(params.rows - 1u));

  // s_i is dh[row + i, 4 · column …].
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  let dy_at = (vec4u(params.y_row) + rows) * params.y_stride + vec4u(params.y_column);
  let end = segment_end(segment);
  for (var n = segment_start(segment); n < end; n += 4u) {
    let d0 = load_dy(dy_at.x, n);
    let d1 = load_dy(dy_at.y, n);
    let d2 = load_dy(dy_at.z, n);
    let d3 = load_dy(dy_at.w, n);
    let b_rows = min(vec4u(n) + vec4u(0u, 1u, 2u, 3u), vec4u(params.outputs - 1u));
    let b_at = b_rows * ranks + vec4u(column);
    let b0 = b[b_at.x];
    let b1 = b[b_at.y];
    let b2 = b[b_at.z];
    let b3 = b[b_at.w];
    s0 = fma(d0.xxxx, b0, fma(d0.yyyy, b1, fma(d0.zzzz, b2, fma(d0.wwww, b3, s0))));
    s1 = fma(d1.xxxx, b0, fma(d1.yyyy, b1, fma(d1.zzzz, b2, fma(d1.wwww, b3, s1))));
    s2 = fma(d2.xxxx, b0, fma(d2.yyyy, b1, fma(d2.zzzz, b2, fma(d2.wwww, b3, s2))));
    s3 = fma(d3.xxxx, b0, fma(d3.yyyy, b1, fma(d3.zzzz, b2, fma(d3.wwww, b3, s3))));
  }

  let scale = scale_of(segment);
  store_dh(row, segment * ranks + column, scale * s0);
  store_dh(row + 1u, segment * ranks + column, scale * s1);
  store_dh(row + 2u, segment * ranks + column, scale * s2);
  store_dh(row + 3u, segment * ranks + column, scale * s3);
}

@compute @workgroup_size(64)
fn gradients(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = flat_workgroup(workgroup, count) * 64u + lane;
  let tiles_a = (params.rank + 7u) / 8u * (params.inputs / 4u) * params.segments;
  let first_b = (tiles_a + 63u) / 64u * 64u;               // a workgroup is of dA or of dB
  if (tile < tiles_a) {
    gradient_a(tile);
  } else if (tile >= first_b) {
    gradient_b(tile - first_b);
  }
}

/// A tile of 8 ranks × 4 inputs: eight, so that one mask serves more products.
fn gradient_a(tile: u32) {
  let steps = params.inputs / 4u;
  let blocks = (params.rank + 7u) / 8u;
  let column = tile % steps;               // of dA, in fours
  let rank = tile / steps % blocks * 8u;
  let segment = tile / steps / blocks;
  let has_second = rank + 4u < params.rank;

  // s_j is dA[segment · rank + rank + j, 4 · column …].
  var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
  var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f();
  let key = dropout_key(params.module_id + segment);
  let low_stride = params.segments * params.rank / 4u;
  let low_column = (segment * params.rank + rank) / 4u;
  for (var t = 0u; t < params.rows; t++) {
    let row = params.x_row + t;
    let x_t = dropped_x(key, row * steps + column);
    let first = made_dh[row * low_stride + low_column];
    let second = made_dh[row * low_stride + low_column + u32(has_second)];
    s0 = fma(first.xxxx, x_t, s0);
    s1 = fma(first.yyyy, x_t, s1);
    s2 = fma(first.zzzz, x_t, s2);
    s3 = fma(first.wwww, x_t, s3);
    s4 = fma(second.xxxx, x_t, s4);
    s5 = fma(second.yyyy, x_t, s5);
    s6 = fma(second.zzzz, x_t, s6);
    s7 = fma(second.wwww, x_t, s7);
  }

  let at = (segment * params.rank + rank) * steps + column;
  da[at] += s0;
  da[at + steps] += s1;
  da[at + 2u * steps] += s2;
  da[at + 3u * steps] += s3;
  if (has_second) {
    da[at + 4u * steps] += s4;
    da[at + 5u * steps] += s5;
    da[at + 6u * steps] += s6;
    da[at + 7u * steps] += s7;
  }
}

/// A tile of 4 outputs × 4 ranks.
fn gradient_b(tile: u32) {
  let ranks = params.rank / 4u;
  let output = tile / ranks * 4u;
  let column = tile % ranks;               // of dB, in fours
  if (output >= params.outputs) {
    return;
  }

  // s_i is dB[output + i, 4 · column …].
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  let low_column = segment_of(output) * ranks + column;
  for (var t = 0u; t < params.rows; t++) {
    let d = load_dy((params.y_row + t) * params.y_stride + params.y_column, output);
    let h_t = made_h[(params.x_row + t) * params.segments * ranks + low_column];
    s0 = fma(d.xxxx, h_t, s0);
    s1 = fma(d.yyyy, h_t, s1);
    s2 = fma(d.zzzz, h_t, s2);
    s3 = fma(d.wwww, h_t, s3);
  }

  let at = output * ranks + column;
  db[at] += s0;
  if (output + 1u < params.outputs) {
    db[at + ranks] += s1;
  }
  if (output + 2u < params.outputs) {
    db[at + 2u * ranks] += s2;
  }
  if (output + 3u < params.outputs) {
    db[at + 3u * ranks] += s3;
  }
}

const ONE = vec4f(1.0);

fn store_h(row: u32, column: u32, values: vec4f) {
  if (row >= params.rows) {
    return;
  }
  h[((params.x_row + row) * params.segments * params.rank + column) / 4u] = values;
}

fn store_dh(row: u32, column: u32, values: vec4f) {
  if (row >= params.rows) {
    return;
  }
  dh[(params.x_row + row) * params.segments * params.rank / 4u + column] = values;
}

/// dy of outputs n … n + 3 of the row whose outputs start at element `start`; 0 past the last output.
fn load_dy(start: u32, n: u32) -> vec4f {
  let at = (start + n) / 4u;
  let first = vec4f(dy[at]);
  if (!RAGGED) {
    return first;
  }
  let values = straddle(first, vec4f(dy[at + 1u]), (start + n) % 4u);
  // What follows the last output may be garbage.
  return select(vec4f(), values, vec4u(n) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.outputs));
}
