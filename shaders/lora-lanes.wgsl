// lora.wgsl for adapters with thousands of threads: what is summed over is dealt out to LANES threads, and
// their sums are added in workgroup memory, in a fixed order. Operands and parameters are lora.wgsl's.
//
// A thread holds 16 vectors of four sums: of 4 rows × 16 ranks (down), 16 rows × 4 ranks (up_backward),
// or 16 ranks × 4 inputs or outputs (gradients). A workgroup holds COLUMNS such tiles.
//
//   down, up_backward   tiles of rows along the grid's x, blocks of ranks along y, segments along z
//   gradients           blocks of inputs, ranks and segments of dA in one row; those of dB follow
//
// QUADS is how many fours of ranks a block has: 1, 2 or 4, and no more than the rank fills. QUADS · LANES is
// at most THREADS.

@group(0) @binding(3) var<storage, read_write> h: array<f32>;
@group(0) @binding(6) var<storage, read_write> dh: array<f32>;
@group(0) @binding(9) var<storage, read_write> da: array<f32>;
@group(0) @binding(10) var<storage, read_write> db: array<f32>;

const COLUMNS = THREADS / LANES;

/// A tile is 4 rows × 16 ranks; its inputs are dealt out to neighboring threads in fours.
@compute @workgroup_size(THREADS)
fn down(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) thread: u32) {
  let segment = workgroup.z;
  let column = thread / LANES;
  let lane = thread % LANES;
  let first_rank = workgroup.y * QUADS * 4u;
  let rows = min(
    vec4u((workgroup.x * COLUMNS + column) * 4u) + vec4u(0u, 1u, 2u, 3u),
    vec4u(params.rows - 1u),
  );

  // s_iq is of row i and ranks 4q ….
  var s00 = vec4f(); var s01 = vec4f(); var s02 = vec4f(); var s03 = vec4f();
  var s10 = vec4f(); var s11 = vec4f(); var s12 = vec4f(); var s13 = vec4f();
  var s20 = vec4f(); var s21 = vec4f(); var s22 = vec4f(); var s23 = vec4f();
  var s30 = vec4f(); var s31 = vec4f(); var s32 = vec4f(); var s33 = vec4f();

  let key = dropout_key(params.module_id + segment);
  let steps = params.inputs / 4u;
  let x_at = (vec4u(params.x_row) + rows) * steps;
  // A block may reach past the rank; it then repeats the last four, and does not store them.
  let ranks = min(vec4u(first_rank) + vec4u(0u, 4u, 8u, 12u), vec4u(params.rank - 4u));
  let a_at = (vec4u(segment * params.rank) + ranks) * steps;
  for (var k = lane; k < steps; k += LANES) {
    let x0 = dropped_x(key, x_at.x + k);
    let x1 = dropped_x(key, x_at.y + k);
    let x2 = dropped_x(key, x_at.z + k);
    let x3 = dropped_x(key, x_at.w + k);
    let a0 = columns_of_a(a_at.x + k, steps);
    s00 = add_product(x0, a0, s00);
    s10 = add_product(x1, a0, s10);
    s20 = add_product(x2, a0, s20);
    s30 = add_product(x3, a0, s30);
    if (QUADS > 1u) {
      let a1 = columns_of_a(a_at.y + k, steps);
      s01 = add_product(x0, a1, s01);
      s11 = add_product(x1, a1, s11);
      s21 = add_product(x2, a1, s21);
      s31 = add_product(x3, a1, s31);
    }
    if (QUADS > 2u) {
      let a2 = columns_of_a(a_at.z + k, steps);
      s02 = add_product(x0, a2, s02);
      s12 = add_product(x1, a2, s12);
      s22 = add_product(x2, a2, s22);
      s32 = add_product(x3, a2, s32);
      let a3 = columns_of_a(a_at.w + k, steps);
      s03 = add_product(x0, a3, s03);
      s13 = add_product(x1, a3, s13);
      s23 = add_product(x2, a3, s23);
      s33 = add_product(x3, a3, s33);
    }
  }

  let sums = scale_of(segment) * sum_over_lanes(thread, column, lane, array<vec4f, 16>(
    s00, s01, s02, s03,
    s10, s11, s12, s13,
    s20, s21, s22, s23,
    s30, s31, s32, s33,
  ));
  let rank = first_rank + thread % 16u;
  if (thread % 16u >= 4u * QUADS || rank >= params.rank) {
    return;
  }
  for (var i = thread % LANES / 16u; i < 4u; i += PARTS) {
    let row = (workgroup.x * COLUMNS + thread / LANES) * 4u + i;
    if (row < params.rows) {
      h[((params.x_row + row) * params.segments + segment) * params.rank + rank] = sums[i];
    }
  }
}

/// A tile is 16 rows × 4 ranks. Tiles of one block of ranks are of neighboring threads, which read neighboring
/// vectors of B; their outputs are dealt out in fours.
@compute @workgroup_size(THREADS)
fn up_backward(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) thread: u32) {
  let segment = workgroup.z;
  let quad = thread % QUADS;
  let lane = thread / QUADS % LANES;
  let group = thread / (QUADS * LANES);
  let ranks = params.rank / 4u;
  let b_column = min(workgroup.y * QUADS + quad, ranks - 1u);
  let first_row = (workgroup.x * (COLUMNS / QUADS) + group) * 16u;

  // s_i is of row first_row + i.
  var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
  var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f();
  var s8 = vec4f(); var s9 = vec4f(); var s10 = vec4f(); var s11 = vec4f();
  var s12 = vec4f(); var s13 = vec4f(); var s14 = vec4f(); var s15 = vec4f();
  let end = segment_end(segment);
  for (var n = segment_start(segment) + 4u * lane; n < end; n += 4u * LANES) {
    let b_rows = min(vec4u(n) + vec4u(0u, 1u, 2u, 3u), vec4u(params.outputs - 1u));
    let b_at = b_rows * ranks + vec4u(b_column);
    let b4 = mat4x4f(b[b_at.x], b[b_at.y], b[b_at.z], b[b_at.w]);
    s0 = add_product(dy_of(first_row, n), b4, s0);
    s1 = add_product(dy_of(first_row + 1u, n), b4, s1);
    s2 = add_product(dy_of(first_row + 2u, n), b4, s2);
    s3 = add_product(dy_of(first_row + 3u, n), b4, s3);
    s4 = add_product(dy_of(first_row + 4u, n), b4, s4);
    s5 = add_product(dy_of(first_row + 5u, n), b4, s5);
    s6 = add_product(dy_of(first_row + 6u, n), b4, s6);
    s7 = add_product(dy_of(first_row + 7u, n), b4, s7);
    s8 = add_product(dy_of(first_row + 8u, n), b4, s8);
    s9 = add_product(dy_of(first_row + 9u, n), b4, s9);
    s10 = add_product(dy_of(first_row + 10u, n), b4, s10);
    s11 = add_product(dy_of(first_row + 11u, n), b4, s11);
    s12 = add_product(dy_of(first_row + 12u, n), b4, s12);
    s13 = add_product(dy_of(first_row + 13u, n), b4, s13);
    s14 = add_product(dy_of(first_row + 14u, n), b4, s14);
    s15 = add_product(dy_of(first_row + 15u, n), b4, s15);
  }

  let column = group * QUADS + quad;
  let sums = scale_of(segment) * sum_over_lanes(thread, column, lane, array<vec4f, 16>(
    s0, s1, s2, s3,
    s4, s5, s6, s7,
    s8, s9, s10, s11,
    s12, s13, s14, s15,
  ));
  let summed = thread / LANES;
  let rank = (workgroup.y * QUADS + summed % QUADS) * 4u + thread % 4u;
  if (rank >= params.rank) {
    return;
  }
  for (var i = thread % LANES / 16u; i < 4u; i += PARTS) {
    let row = (workgroup.x * (COLUMNS / QUADS) + summed / QUADS) * 16u + 4u * i + thread % 16u / 4u;
    if (row < params.rows) {
      dh[((params.x_row + row) * params.segments + segment) * params.rank + rank] = sums[i];
    }
  }
}

/// A tile is 16 ranks × 4 inputs of dA, or × 4 outputs of dB; its rows are dealt out one by one. Neighboring
/// threads work on neighboring tiles.
@compute @workgroup_size(THREADS)
fn gradients(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let flat = flat_workgroup(workgroup, count);
  let rank_blocks = (params.rank + 4u * QUADS - 1u) / (4u * QUADS);
  let steps = params.inputs / 4u;
  let blocks_a = (steps + COLUMNS - 1u) / COLUMNS;
  let first_b = blocks_a * rank_blocks * params.segments;
  let is_a = flat < first_b;

  let block = select(flat - first_b, flat, is_a);
  let width = select((params.outputs + 3u) / 4u, steps, is_a);    // in fours
  let blocks = (width + COLUMNS - 1u) / COLUMNS;
  let first_column = block % blocks * COLUMNS;
  let first_quad = block / blocks % rank_blocks * QUADS;
  let column = thread % COLUMNS;
  let at = min(first_column + column, width - 1u);
  let segment = select(segment_of(4u * at), block / blocks / rank_blocks, is_a);
  if (block >= blocks * rank_blocks * select(1u, params.segments, is_a)) {
    return;                                                       // the grid was folded
  }

  // s_j is of rank 4 · first_quad + j.
  var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
  var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f();
  var s8 = vec4f(); var s9 = vec4f(); var s10 = vec4f(); var s11 = vec4f();
  var s12 = vec4f(); var s13 = vec4f(); var s14 = vec4f(); var s15 = vec4f();
  let ranks = params.rank / 4u;
  let quads = vec4u(segment * ranks)
    + min(vec4u(first_quad) + vec4u(0u, 1u, 2u, 3u), vec4u(ranks - 1u));
  let key = dropout_key(params.module_id + segment);
  for (var t = thread / COLUMNS; t < params.rows; t += LANES) {
    let low = vec4u((params.x_row + t) * params.segments * ranks) + quads;
    var wide: vec4f;
    var low0: vec4f;
    var low1: vec4f;
    var low2: vec4f;
    var low3: vec4f;
    if (is_a) {
      wide = dropped_x(key, (params.x_row + t) * steps + at);
      low0 = made_dh[low.x];
      if (QUADS > 1u) { low1 = made_dh[low.y]; }
      if (QUADS > 2u) { low2 = made_dh[low.z]; low3 = made_dh[low.w]; }
    } else {
      wide = dy_of(t, 4u * at);
      low0 = made_h[low.x];
      if (QUADS > 1u) { low1 = made_h[low.y]; }
      if (QUADS > 2u) { low2 = made_h[low.z]; low3 = made_h[low.w]; }
    }
    s0 = fma(low0.xxxx, wide, s0);
    s1 = fma(low0.yyyy, wide, s1);
    s2 = fma(low0.zzzz, wide, s2);
    s3 = fma(low0.wwww, wide, s3);
    if (QUADS > 1u) {
      s4 = fma(low1.xxxx, wide, s4);
      s5 = fma(low1.yyyy, wide, s5);
      s6 = fma(low1.zzzz, wide, s6);
      s7 = fma(low1.wwww, wide, s7);
    }
    if (QUADS > 2u) {
      s8 = fma(low2.xxxx, wide, s8);
      s9 = fma(low2.yyyy, wide, s9);
      s10 = fma(low2.zzzz, wide, s10);
      s11 = fma(low2.wwww, wide, s11);
      s12 = fma(low3.xxxx, wide, s12);
      s13 = fma(low3.yyyy, wide, s13);
      s14 = fma(low3.zzzz, wide, s14);
      s15 = fma(low3.wwww, wide, s15);
    }
  }

  let lane = thread / COLUMNS;
  let sums = sum_over_lanes(thread, column, lane, array<vec4f, 16>(
    s0, s1, s2, s3,
    s4, s5, s6, s7,
    s8, s9, s10, s11,
    s12, s13, s14, s15,
  ));
  let summed = first_column + thread / LANES;
  let first = 4u * summed + thread % 4u;              // input or output
  if (first >= select(params.outputs, params.inputs, is_a)) {
    return;
  }
  for (var i = thread % LANES / 16u; i < QUADS; i += PARTS) {
    let rank = 4u * (first_quad + i) + thread % 16u / 4u;
    if (rank >= params.rank) {
      return;
    }
    if (is_a) {
      da[(segment * params.rank + rank) * params.inputs + first] += sums[i];
    } else {
      db[first * params.rank + rank] += sums[i];
    }
  }
}

/// Σ_i values[i] · columns[i] + sum.
fn add_product(values: vec4f, columns: mat4x4f, sum: vec4f) -> vec4f {
  return fma(values.xxxx, columns[0], fma(values.yyyy, columns[1],
    fma(values.zzzz, columns[2], fma(values.wwww, columns[3], sum))));
}

/// Four inputs of four ranks of A, an input a column.
fn columns_of_a(at: u32, steps: u32) -> mat4x4f {
  return transpose(mat4x4f(a[at], a[at + steps], a[at + 2u * steps], a[at + 3u * steps]));
}

/// dy of outputs n … n + 3 of a row; 0 past the last output. Past the last row it is that of the last.
fn dy_of(row: u32, n: u32) -> vec4f {
  let start = (params.y_row + min(row, params.rows - 1u)) * params.y_stride + params.y_column + n;
  let first = vec4f(dy[start / 4u]);
  if (!RAGGED) {
    return first;
  }
  let values = straddled(first, vec4f(dy[start / 4u + 1u]), start % 4u);
  // What follows the last output may be garbage.
  return select(vec4f(), values, vec4u(n) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.outputs));
}

/// `straddle` of lib/straddle.wgsl without branches: here it is inlined sixteen times.
fn straddled(first: vec4f, second: vec4f, shift: u32) -> vec4f {
  let is_odd = (shift & 1u) != 0u;
  let a = select(first, vec4f(first.yzw, second.x), is_odd);
  let b = select(second.xy, second.yz, is_odd);
  return select(a, vec4f(a.zw, b), (shift & 2u) != 0u);
}
