// Products with a frozen weight from tiles in workgroup memory, which every thread of a workgroup reads many
// numbers of. lib/matmul.wgsl has the operands.
//
// A workgroup makes TILE_ROWS × TILE_COLUMNS of the result, and a thread THREAD_ROWS × 4 of those, 4 or 8
// rows, in registers that have names. TILE_DEPTH steps of the inner dimension lie in workgroup memory at a
// time, both operands with a step after the other, so that a thread reads its rows and its columns of one
// step as vectors. They are brought there in blocks of 4 × 4, turned in registers where they lie the other
// way in storage. Shared is the type they are multiplied in: f32, or f16 where activations are f16; sums are
// f32, in a fixed order. The adapter's part is a second, short run over the same tiles.
//
// Past the edges of the result a thread repeats the last row or column and does not store it; past the end
// of the inner dimension both operands are 0.

const ROW_QUADS = TILE_ROWS / 4u;
const COLUMN_QUADS = TILE_COLUMNS / 4u;
const DEPTH_QUADS = TILE_DEPTH / 4u;
const THREADS = COLUMN_QUADS * (TILE_ROWS / THREAD_ROWS);
// A vector of padding keeps what neighboring threads write out of each other's banks.
const LEFT_STRIDE = ROW_QUADS + 1u;
const RIGHT_STRIDE = COLUMN_QUADS + 1u;

// Rows of x (or dy) and columns of the weight: [step of the tile][four rows or columns].
var<workgroup> left_tile: array<vec4<Shared>, TILE_DEPTH * LEFT_STRIDE>;
var<workgroup> right_tile: array<vec4<Shared>, TILE_DEPTH * RIGHT_STRIDE>;

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let first_row = workgroup.y * TILE_ROWS;
  let first_slot = workgroup.x * TILE_COLUMNS;
  var sums = Sums();
  prepare_weight(thread);
  for (var k = 0u; k < params.inputs; k += TILE_DEPTH) {
    workgroupBarrier();
    for (var block = thread; block < ROW_QUADS * DEPTH_QUADS; block += THREADS) {
      let at = block_place(block);
      let rows = rows_from(first_row + at.quad * 4u);
      let step = k / 4u + at.depth;
      put_left(at, transpose(mat4x4<Shared>(
        x_quad(rows.x, step), x_quad(rows.y, step), x_quad(rows.z, step), x_quad(rows.w, step),
      )));
    }
    for (var block = thread; block < COLUMN_QUADS * DEPTH_QUADS; block += THREADS) {
      let at = block_place(block);
      let outputs = min(outputs_of(first_slot + at.quad * 4u), vec4u(params.outputs - 1u));
      let step = k / 4u + at.depth;
      put_right(at, transpose(mat4x4<Shared>(
        w_quad(outputs.x, step), w_quad(outputs.y, step),
        w_quad(outputs.z, step), w_quad(outputs.w, step),
      )));
    }
    workgroupBarrier();
    add_tile(&sums, thread);
  }
  if (HAS_LORA) {
    // Columns of other segments than the one whose h is on the left are 0 on the right.
    let last = segment_of(min(first_slot + TILE_COLUMNS, params.outputs) - 1u);
    for (var s = segment_of(first_slot); s <= last; s++) {
      for (var j = 0u; j < params.rank; j += TILE_DEPTH) {
        workgroupBarrier();
        for (var block = thread; block < ROW_QUADS * DEPTH_QUADS; block += THREADS) {
          let at = block_place(block);
          let rows = rows_from(first_row + at.quad * 4u);
          let step = j / 4u + at.depth;
          put_left(at, transpose(mat4x4<Shared>(
            h_quad(rows.x, s, step), h_quad(rows.y, s, step),
            h_quad(rows.z, s, step), h_quad(rows.w, s, step),
          )));
        }
        for (var block = thread; block < COLUMN_QUADS * DEPTH_QUADS; block += THREADS) {
          let at = block_place(block);
          let slot = first_slot + at.quad * 4u;
          let outputs = min(outputs_of(slot), vec4u(params.outputs - 1u));
          let step = j / 4u + at.depth;
          let is_of_segment = segment_of(slot) == s;
          put_right(at, transpose(mat4x4<Shared>(
            b_quad(outputs.x, step, is_of_segment), b_quad(outputs.y, step, is_of_segment),
            b_quad(outputs.z, step, is_of_segment), b_quad(outputs.w, step, is_of_segment),
          )));
        }
        workgroupBarrier();
        add_tile(&sums, thread);
      }
    }
  }

  let row = first_row + thread / COLUMN_QUADS * THREAD_ROWS;
  let slot = first_slot + thread % COLUMN_QUADS * 4u;
  if (slot >= params.outputs) {
    return;
  }
  if (row < params.rows) { store_outputs(row, slot, sums.s0); }
  if (row + 1u < params.rows) { store_outputs(row + 1u, slot, sums.s1); }
  if (row + 2u < params.rows) { store_outputs(row + 2u, slot, sums.s2); }
  if (row + 3u < params.rows) { store_outputs(row + 3u, slot, sums.s3); }
  if (THREAD_ROWS > 4u) {
    if (row + 4u < params.rows) { store_outputs(row + 4u, slot, sums.s4); }
    if (row + 5u < params.rows) { store_outputs(row + 5u, slot, sums.s5); }
    if (row + 6u < params.rows) { store_outputs(row + 6u, slot, sums.s6); }
    if (row + 7u < params.rows) { store_outputs(row + 7u, slot, sums.s7); }
  }
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let first_row = workgroup.y * TILE_ROWS;
  let first_quad = workgroup.x * COLUMN_QUADS;
  let slice = slice_of(workgroup.z);
  var sums = Sums();
  prepare_weight(thread);
  for (var n = slice.start; n < slice.end; n += TILE_DEPTH) {
    workgroupBarrier();
    for (var block = thread; block < ROW_QUADS * DEPTH_QUADS; block += THREADS) {
      let at = block_place(block);
      let rows = rows_from(first_row + at.quad * 4u);
      let output = n + at.depth * 4u;
      put_left(at, transpose(mat4x4<Shared>(
        dy_quad(rows.x, output), dy_quad(rows.y, output),
        dy_quad(rows.z, output), dy_quad(rows.w, output),
      )));
    }
    for (var block = thread; block < COLUMN_QUADS * DEPTH_QUADS; block += THREADS) {
      let at = block_place_along_columns(block);
      let output = n + at.depth * 4u;
      let column = first_quad + at.quad;
      put_right(at, mat4x4<Shared>(
        w_row_quad(output, column), w_row_quad(output + 1u, column),
        w_row_quad(output + 2u, column), w_row_quad(output + 3u, column),
      ));
    }
    workgroupBarrier();
    add_tile(&sums, thread);
  }

  let row = first_row + thread / COLUMN_QUADS * THREAD_ROWS;
  let column = first_quad + thread % COLUMN_QUADS;
  if (HAS_LORA) {
    for (var s = 0u; s < params.segments; s++) {
      // With dropout, what a segment adds passes through its mask first.
      var part = Sums();
      for (var j = 0u; j < params.rank; j += TILE_DEPTH) {
        workgroupBarrier();
        for (var block = thread; block < ROW_QUADS * DEPTH_QUADS; block += THREADS) {
          let at = block_place(block);
          let rows = rows_from(first_row + at.quad * 4u);
          let step = j / 4u + at.depth;
          put_left(at, transpose(mat4x4<Shared>(
            dh_quad(rows.x, s, step), dh_quad(rows.y, s, step),
            dh_quad(rows.z, s, step), dh_quad(rows.w, s, step),
          )));
        }
        for (var block = thread; block < COLUMN_QUADS * DEPTH_QUADS; block += THREADS) {
          let at = block_place_along_columns(block);
          let r = j + at.depth * 4u;
          let quad = first_quad + at.quad;
          put_right(at, mat4x4<Shared>(
            a_row_quad(s, r, quad), a_row_quad(s, r + 1u, quad),
            a_row_quad(s, r + 2u, quad), a_row_quad(s, r + 3u, quad),
          ));
        }
        workgroupBarrier();
        if (HAS_DROPOUT) {
          add_tile(&part, thread);
        } else {
          add_tile(&sums, thread);
        }
      }
      if (HAS_DROPOUT) {
        let key = dropout_key(params.module_id + s);
        let element = (params.x_row + row) * params.inputs + column * 4u;
        sums.s0 += part.s0 * kept(key, element, 0u);
        sums.s1 += part.s1 * kept(key, element, 1u);
        sums.s2 += part.s2 * kept(key, element, 2u);
        sums.s3 += part.s3 * kept(key, element, 3u);
        if (THREAD_ROWS > 4u) {
          sums.s4 += part.s4 * kept(key, element, 4u);
          sums.s5 += part.s5 * kept(key, element, 5u);
          sums.s6 += part.s6 * kept(key, element, 6u);
          sums.s7 += part.s7 * kept(key, element, 7u);
        }
      }
    }
  }

  if (column >= params.inputs / 4u) {
    return;
  }
  if (row < params.rows) { store_dx(slice.row + row, column, sums.s0); }
  if (row + 1u < params.rows) { store_dx(slice.row + row + 1u, column, sums.s1); }
  if (row + 2u < params.rows) { store_dx(slice.row + row + 2u, column, sums.s2); }
  if (row + 3u < params.rows) { store_dx(slice.row + row + 3u, column, sums.s3); }
  if (THREAD_ROWS > 4u) {
    if (row + 4u < params.rows) { store_dx(slice.row + row + 4u, column, sums.s4); }
    if (row + 5u < params.rows) { store_dx(slice.row + row + 5u, column, sums.s5); }
    if (row + 6u < params.rows) { store_dx(slice.row + row + 6u, column, sums.s6); }
    if (row + 7u < params.rows) { store_dx(slice.row + row + 7u, column, sums.s7); }
  }
}

/// Four neighboring columns of each of a thread's rows. Those past THREAD_ROWS are never touched.
struct Sums {
  s0: vec4f, s1: vec4f, s2: vec4f, s3: vec4f,
  s4: vec4f, s5: vec4f, s6: vec4f, s7: vec4f,
}

/// Adds the product of the tiles in workgroup memory.
fn add_tile(sums: ptr<function, Sums>, thread: u32) {
  let left = thread / COLUMN_QUADS * (THREAD_ROWS / 4u);
  let right = thread % COLUMN_QUADS;
  var s0 = (*sums).s0; var s1 = (*sums).s1; var s2 = (*sums).s2; var s3 = (*sums).s3;
  var s4 = (*sums).s4; var s5 = (*sums).s5; var s6 = (*sums).s6; var s7 = (*sums).s7;
  for (var k = 0u; k < TILE_DEPTH; k++) {
    let columns = vec4f(right_tile[k * RIGHT_STRIDE + right]);
    let upper = vec4f(left_tile[k * LEFT_STRIDE + left]);
    s0 = fma(upper.xxxx, columns, s0);
    s1 = fma(upper.yyyy, columns, s1);
    s2 = fma(upper.zzzz, columns, s2);
    s3 = fma(upper.wwww, columns, s3);
    if (THREAD_ROWS > 4u) {
      let lower = vec4f(left_tile[k * LEFT_STRIDE + left + 1u]);
      s4 = fma(lower.xxxx, columns, s4);
      s5 = fma(lower.yyyy, columns, s5);
      s6 = fma(lower.zzzz, columns, s6);
      s7 = fma(lower.wwww, columns, s7);
    }
  }
  *sums = Sums(s0, s1, s2, s3, s4, s5, s6, s7);
}

/// A block of 4 × 4: which four rows or columns of the tile, and which four steps of its depth.
struct Place {
  quad: u32,
  depth: u32,
}

/// Neighboring threads read along the inner dimension.
fn block_place(block: u32) -> Place {
  return Place(block / DEPTH_QUADS, block % DEPTH_QUADS);
}

/// Neighboring threads read along the columns.
fn block_place_along_columns(block: u32) -> Place {
  return Place(block % COLUMN_QUADS, block / COLUMN_QUADS);
}

/// Each column of the block is one step.
fn put_left(at: Place, block: mat4x4<Shared>) {
  let first = at.depth * 4u * LEFT_STRIDE + at.quad;
  left_tile[first] = block[0];
  left_tile[first + LEFT_STRIDE] = block[1];
  left_tile[first + 2u * LEFT_STRIDE] = block[2];
  left_tile[first + 3u * LEFT_STRIDE] = block[3];
}

fn put_right(at: Place, block: mat4x4<Shared>) {
  let first = at.depth * 4u * RIGHT_STRIDE + at.quad;
  right_tile[first] = block[0];
  right_tile[first + RIGHT_STRIDE] = block[1];
  right_tile[first + 2u * RIGHT_STRIDE] = block[2];
  right_tile[first + 3u * RIGHT_STRIDE] = block[3];
}

fn kept(key: vec2u, element: u32, row: u32) -> vec4f {
  let at = element + row * params.inputs;
  return keep_factors(key, at, params.drop_below, params.keep_scale);
}
