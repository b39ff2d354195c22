// Products with a frozen weight by subgroup matrices: a subgroup multiplies small matrices at once, in units
// that its hardware has. lib/matmul.wgsl has the operands; lib/matrix-….wgsl the units, how a subgroup holds
// a block of them, where its operands come from, and the entry points.
//
// A workgroup makes TILE_ROWS × TILE_COLUMNS of the result, each subgroup a block of it. TILE_DEPTH steps of
// the inner dimension lie in workgroup memory at a time. While a tile is multiplied, the next is on its way to
// registers. Shared is the type that is multiplied; sums are f32, in an order that the hardware fixes. Workgroups
// that run at the same time are those of all rows and some columns: the weight, which may be larger than a GPU's
// cache, comes by once.
//
// Every unit of a tile is an array of its own: left [row][step], right [column][step], in the backward pass
// [step][column], as they lie in storage. A matrix is then read from the beginning of an array whose length is
// known, where WebGPU's compilers leave out the test, and the branch, that they put around any other reading.
// Rows of a unit are PADDING numbers apart, units GAP numbers, which keeps them on 16 bytes and out of each
// other's banks.
//
// Single numbers of a block cannot be reached, so results go through `staging`, some units at a time, where
// lanes pick them up to store them: past the edges of the result they do not. Past the edges a tile repeats the
// last row or column; past the end of the inner dimension both operands are 0.

const DEPTH_QUADS = TILE_DEPTH / 4u;
const COLUMN_QUADS = TILE_COLUMNS / 4u;

const ROW_UNITS = TILE_ROWS / UNIT_ROWS;
const COLUMN_UNITS = TILE_COLUMNS / UNIT_COLUMNS;
const STEP_UNITS = TILE_DEPTH / UNIT_DEPTH;

const LEFT_STRIDE = UNIT_DEPTH + PADDING;
const LEFT_SIZE = UNIT_ROWS * LEFT_STRIDE + GAP;
const RIGHT_LINES = select(UNIT_COLUMNS, UNIT_DEPTH, IS_BACKWARD);
const RIGHT_STRIDE = select(UNIT_DEPTH, UNIT_COLUMNS, IS_BACKWARD) + PADDING;
const RIGHT_SIZE = RIGHT_LINES * RIGHT_STRIDE + GAP;
// From a unit to that below it or beside it, and to that of the next steps. In the backward pass units that are
// written side by side are neighbors.
const LEFT_UNIT = STEP_UNITS;
const RIGHT_UNIT = select(STEP_UNITS, 1u, IS_BACKWARD);
const RIGHT_STEP = select(1u, COLUMN_UNITS, IS_BACKWARD);

const SUBGROUP_COLUMNS = COLUMN_UNITS / BLOCK_COLUMNS;
const SUBGROUPS = SUBGROUP_COLUMNS * ROW_UNITS / BLOCK_ROWS;
const THREADS = SUBGROUPS * LANES;
// Quads of each tile that a thread brings.
const LEFT_LOADS = TILE_ROWS * DEPTH_QUADS / THREADS;
const RIGHT_LOADS = TILE_COLUMNS * DEPTH_QUADS / THREADS;

const BLOCK_UNITS = BLOCK_ROWS * BLOCK_COLUMNS;
const UNIT_SIZE = UNIT_ROWS * UNIT_COLUMNS;
// Each subgroup has places of its own for STAGED units, so many go through between two barriers.
const STAGED_QUADS = STAGED * UNIT_SIZE / 4u;
// With dropout each of them lies beside one of the adapter's part.
const MASKED = STAGED / 2u;

fn forward_tile(workgroup: vec3u, subgroup: u32, lane: u32, thread: u32) {
  let first_row = workgroup.x * TILE_ROWS;
  let first_slot = workgroup.y * TILE_COLUMNS;
  let corner = corner_of(subgroup);
  var block = Block();
  prepare_weight(thread);
  workgroupBarrier();
  var left = fetch_left(first_row, 0u, thread);
  var right = fetch_right(first_slot, 0u, thread);
  for (var k = 0u; k < params.inputs; k += TILE_DEPTH) {
    workgroupBarrier();
    place_left(left, thread);
    place_right(right, thread);
    workgroupBarrier();
    if (k + TILE_DEPTH < params.inputs) {
      left = fetch_left(first_row, k + TILE_DEPTH, thread);
      right = fetch_right(first_slot, k + TILE_DEPTH, thread);
    }
    add_tile(&block, corner);
  }
  if (HAS_LORA) {
    // Columns of other segments than the one whose h is on the left are 0 on the right.
    let last = segment_of(min(first_slot + TILE_COLUMNS, params.outputs) - 1u);
    for (var s = segment_of(first_slot); s <= last; s++) {
      for (var j = 0u; j < params.rank; j += TILE_DEPTH) {
        workgroupBarrier();
        for (var i = thread; i < TILE_ROWS * DEPTH_QUADS; i += THREADS) {
          let row = row_at(first_row + i / DEPTH_QUADS);
          put_left_quad(i, h_quad(row, s, j / 4u + i % DEPTH_QUADS));
        }
        for (var i = thread; i < TILE_COLUMNS * DEPTH_QUADS; i += THREADS) {
          let slot = first_slot + i / DEPTH_QUADS;
          let output = min(output_at(slot), params.outputs - 1u);
          let is_of_segment = segment_of(slot) == s;
          put_right_quad(i, b_quad(output, j / 4u + i % DEPTH_QUADS, is_of_segment));
        }
        workgroupBarrier();
        add_tile(&block, corner);
      }
    }
  }

  for (var unit = 0u; unit < BLOCK_UNITS; unit += STAGED) {
    for (var u = 0u; u < STAGED; u++) {
      stage_unit(&block, unit + u, subgroup * STAGED + u);
    }
    workgroupBarrier();
    for (var i = lane; i < STAGED_QUADS; i += LANES) {
      let quad = staged_quad(i, STAGED);
      let place = corner + unit_place(unit) + quad.place;
      let row = first_row + place.x;
      let slot = first_slot + place.y;
      if (row < params.rows && slot < params.outputs) {
        store_outputs(row, slot, staged(subgroup * STAGED + quad.unit, quad.at));
      }
    }
    workgroupBarrier();
  }
}

fn backward_tile(workgroup: vec3u, subgroup: u32, lane: u32, thread: u32) {
  let first_row = workgroup.x * TILE_ROWS;
  let first_quad = workgroup.y * COLUMN_QUADS;
  let corner = corner_of(subgroup);
  let slice = slice_of(workgroup.z);
  var block = Block();
  prepare_weight(thread);
  workgroupBarrier();
  var left = fetch_left(first_row, slice.start, thread);
  var right = fetch_right(first_quad, slice.start, thread);
  for (var n = slice.start; n < slice.end; n += TILE_DEPTH) {
    workgroupBarrier();
    place_left(left, thread);
    place_right(right, thread);
    workgroupBarrier();
    if (n + TILE_DEPTH < slice.end) {
      left = fetch_left(first_row, n + TILE_DEPTH, thread);
      right = fetch_right(first_quad, n + TILE_DEPTH, thread);
    }
    add_tile(&block, corner);
  }
  if (HAS_LORA) {
    for (var s = 0u; s < params.segments; s++) {
      for (var j = 0u; j < params.rank; j += TILE_DEPTH) {
        workgroupBarrier();
        for (var i = thread; i < TILE_ROWS * DEPTH_QUADS; i += THREADS) {
          let row = row_at(first_row + i / DEPTH_QUADS);
          put_left_quad(i, dh_quad(row, s, j / 4u + i % DEPTH_QUADS));
        }
        for (var i = thread; i < TILE_COLUMNS * DEPTH_QUADS; i += THREADS) {
          let quad = first_quad + i % COLUMN_QUADS;
          put_right_quad(i, a_row_quad(s, j + i / COLUMN_QUADS, quad));
        }
        workgroupBarrier();
        if (!HAS_DROPOUT) {
          add_tile(&block, corner);
          continue;
        }
        // What a segment adds passes through its mask first. It is made a few units at a time: a second
        // block beside the first would not fit into the registers of a subgroup.
        let steps = min(TILE_DEPTH, params.rank - j);
        let key = dropout_key(params.module_id + s);
        let sums = subgroup * STAGED;
        let parts = sums + MASKED;
        for (var unit = 0u; unit < BLOCK_UNITS; unit += MASKED) {
          for (var u = 0u; u < MASKED; u++) {
            stage_unit(&block, unit + u, sums + u);
            store_result(parts + u, unit_product(corner + unit_place(unit + u), steps));
          }
          workgroupBarrier();
          for (var i = lane; i < MASKED * UNIT_SIZE / 4u; i += LANES) {
            let quad = staged_quad(i, MASKED);
            let place = corner + unit_place(unit) + quad.place;
            let row = params.x_row + first_row + place.x;
            let element = row * params.inputs + first_quad * 4u + place.y;
            let kept = keep_factors(key, element, params.drop_below, params.keep_scale);
            let sum = staged(sums + quad.unit, quad.at);
            let part = staged(parts + quad.unit, quad.at);
            put_staged(sums + quad.unit, quad.at, sum + kept * part);
          }
          workgroupBarrier();
          for (var u = 0u; u < MASKED; u++) {
            take_unit(&block, unit + u, sums + u);
          }
          workgroupBarrier();
        }
      }
    }
  }

  for (var unit = 0u; unit < BLOCK_UNITS; unit += STAGED) {
    for (var u = 0u; u < STAGED; u++) {
      stage_unit(&block, unit + u, subgroup * STAGED + u);
    }
    workgroupBarrier();
    for (var i = lane; i < STAGED_QUADS; i += LANES) {
      let quad = staged_quad(i, STAGED);
      let place = corner + unit_place(unit) + quad.place;
      let row = first_row + place.x;
      let column = first_quad + place.y / 4u;
      if (row < params.rows && column < params.inputs / 4u) {
        store_dx(slice.row + row, column, staged(subgroup * STAGED + quad.unit, quad.at));
      }
    }
    workgroupBarrier();
  }
}

/// Adds the product of the tiles in workgroup memory to a subgroup's block.
fn add_tile(block: ptr<function, Block>, corner: vec2u) {
  let left = corner.x / UNIT_ROWS * LEFT_UNIT;
  let right = corner.y / UNIT_COLUMNS * RIGHT_UNIT;
  for (var step = 0u; step < STEP_UNITS; step++) {
    add_units(block, left + step, right + step * RIGHT_STEP);
  }
}

/// Row and column within the tile where a subgroup's block begins.
fn corner_of(subgroup: u32) -> vec2u {
  return vec2u(
    subgroup / SUBGROUP_COLUMNS * (BLOCK_ROWS * UNIT_ROWS),
    subgroup % SUBGROUP_COLUMNS * (BLOCK_COLUMNS * UNIT_COLUMNS),
  );
}

/// The product of the first `steps` steps of the tiles, at one unit: its row and column within the tile.
fn unit_product(place: vec2u, steps: u32) -> Result {
  var left = place.x / UNIT_ROWS * LEFT_UNIT;
  var right = place.y / UNIT_COLUMNS * RIGHT_UNIT;
  // The zeros are spelled out: without them, SwiftShader (under webgpu 0.6.2) begins every turn with what
  // the last one left, as of November 2026.
  var product = Result();
  for (var k = 0u; k < steps; k += UNIT_DEPTH) {
    product = multiply_add(load_left(left), load_right(right), product);
    left++;
    right += RIGHT_STEP;
  }
  return product;
}

/// Row and column within a subgroup's block where a unit begins.
fn unit_place(unit: u32) -> vec2u {
  return vec2u(unit / BLOCK_COLUMNS * UNIT_ROWS, unit % BLOCK_COLUMNS * UNIT_COLUMNS);
}

/// Four neighboring numbers of a row among staged units.
struct StagedQuad {
  unit: u32,      // which of the units
  at: u32,        // the quad within it
  place: vec2u,   // row and column, from where the first unit begins
}

/// Quad `i` of `units` neighboring units, counted along the rows that they make together: so neighboring
/// lanes write neighboring numbers.
fn staged_quad(i: u32, units: u32) -> StagedQuad {
  let across = min(units, BLOCK_COLUMNS);
  let row = i / (across * UNIT_COLUMNS / 4u);
  let column = i % (across * UNIT_COLUMNS / 4u) * 4u;
  let unit = row / UNIT_ROWS * across + column / UNIT_COLUMNS;
  let at = (row % UNIT_ROWS * UNIT_COLUMNS + column % UNIT_COLUMNS) / 4u;
  return StagedQuad(unit, at, vec2u(row, column));
}

/// The next tile, as a thread holds its part of it. Those past its loads are never touched. Only a right tile, which
/// may be wider than the left one is high, has more than eight.
struct Quads {
  q0: vec4<Shared>, q1: vec4<Shared>, q2: vec4<Shared>, q3: vec4<Shared>,
  q4: vec4<Shared>, q5: vec4<Shared>, q6: vec4<Shared>, q7: vec4<Shared>,
  q8: vec4<Shared>, q9: vec4<Shared>, q10: vec4<Shared>, q11: vec4<Shared>,
  q12: vec4<Shared>, q13: vec4<Shared>, q14: vec4<Shared>, q15: vec4<Shared>,
}

/// A thread's part of the left tile: rows of x or dy.
fn fetch_left(first: u32, start: u32, thread: u32) -> Quads {
  var quads = Quads();
  quads.q0 = left_of_tile(first, start, thread);
  if (LEFT_LOADS > 1u) {
    quads.q1 = left_of_tile(first, start, thread + THREADS);
  }
  if (LEFT_LOADS > 2u) {
    quads.q2 = left_of_tile(first, start, thread + 2u * THREADS);
    quads.q3 = left_of_tile(first, start, thread + 3u * THREADS);
  }
  if (LEFT_LOADS > 4u) {
    quads.q4 = left_of_tile(first, start, thread + 4u * THREADS);
    quads.q5 = left_of_tile(first, start, thread + 5u * THREADS);
    quads.q6 = left_of_tile(first, start, thread + 6u * THREADS);
    quads.q7 = left_of_tile(first, start, thread + 7u * THREADS);
  }
  return quads;
}

/// A thread's part of the right tile, of the weight.
fn fetch_right(first: u32, start: u32, thread: u32) -> Quads {
  var quads = Quads();
  quads.q0 = right_of_tile(first, start, thread);
  if (RIGHT_LOADS > 1u) {
    quads.q1 = right_of_tile(first, start, thread + THREADS);
  }
  if (RIGHT_LOADS > 2u) {
    quads.q2 = right_of_tile(first, start, thread + 2u * THREADS);
    quads.q3 = right_of_tile(first, start, thread + 3u * THREADS);
  }
  if (RIGHT_LOADS > 4u) {
    quads.q4 = right_of_tile(first, start, thread + 4u * THREADS);
    quads.q5 = right_of_tile(first, start, thread + 5u * THREADS);
    quads.q6 = right_of_tile(first, start, thread + 6u * THREADS);
    quads.q7 = right_of_tile(first, start, thread + 7u * THREADS);
  }
  if (RIGHT_LOADS > 8u) {
    quads.q8 = right_of_tile(first, start, thread + 8u * THREADS);
    quads.q9 = right_of_tile(first, start, thread + 9u * THREADS);
    quads.q10 = right_of_tile(first, start, thread + 10u * THREADS);
    quads.q11 = right_of_tile(first, start, thread + 11u * THREADS);
    quads.q12 = right_of_tile(first, start, thread + 12u * THREADS);
    quads.q13 = right_of_tile(first, start, thread + 13u * THREADS);
    quads.q14 = right_of_tile(first, start, thread + 14u * THREADS);
    quads.q15 = right_of_tile(first, start, thread + 15u * THREADS);
  }
  return quads;
}

fn place_left(quads: Quads, thread: u32) {
  put_left_quad(thread, quads.q0);
  if (LEFT_LOADS > 1u) {
    put_left_quad(thread + THREADS, quads.q1);
  }
  if (LEFT_LOADS > 2u) {
    put_left_quad(thread + 2u * THREADS, quads.q2);
    put_left_quad(thread + 3u * THREADS, quads.q3);
  }
  if (LEFT_LOADS > 4u) {
    put_left_quad(thread + 4u * THREADS, quads.q4);
    put_left_quad(thread + 5u * THREADS, quads.q5);
    put_left_quad(thread + 6u * THREADS, quads.q6);
    put_left_quad(thread + 7u * THREADS, quads.q7);
  }
}

fn place_right(quads: Quads, thread: u32) {
  put_right_quad(thread, quads.q0);
  if (RIGHT_LOADS > 1u) {
    put_right_quad(thread + THREADS, quads.q1);
  }
  if (RIGHT_LOADS > 2u) {
    put_right_quad(thread + 2u * THREADS, quads.q2);
    put_right_quad(thread + 3u * THREADS, quads.q3);
  }
  if (RIGHT_LOADS > 4u) {
    put_right_quad(thread + 4u * THREADS, quads.q4);
    put_right_quad(thread + 5u * THREADS, quads.q5);
    put_right_quad(thread + 6u * THREADS, quads.q6);
    put_right_quad(thread + 7u * THREADS, quads.q7);
  }
  if (RIGHT_LOADS > 8u) {
    put_right_quad(thread + 8u * THREADS, quads.q8);
    put_right_quad(thread + 9u * THREADS, quads.q9);
    put_right_quad(thread + 10u * THREADS, quads.q10);
    put_right_quad(thread + 11u * THREADS, quads.q11);
    put_right_quad(thread + 12u * THREADS, quads.q12);
    put_right_quad(thread + 13u * THREADS, quads.q13);
    put_right_quad(thread + 14u * THREADS, quads.q14);
    put_right_quad(thread + 15u * THREADS, quads.q15);
  }
}

fn row_at(row: u32) -> u32 {
  return min(row, params.rows - 1u);
}

fn put_left_quad(i: u32, quad: vec4<Shared>) {
  let row = i / DEPTH_QUADS;
  let step = i % DEPTH_QUADS * 4u;
  let unit = row / UNIT_ROWS * LEFT_UNIT + step / UNIT_DEPTH;
  put_left(unit, row % UNIT_ROWS * LEFT_STRIDE + step % UNIT_DEPTH, quad);
}

fn put_right_quad(i: u32, quad: vec4<Shared>) {
  if (IS_BACKWARD) {
    let step = i / COLUMN_QUADS;
    let column = i % COLUMN_QUADS * 4u;
    let unit = column / UNIT_COLUMNS * RIGHT_UNIT + step / UNIT_DEPTH * RIGHT_STEP;
    put_right(unit, step % UNIT_DEPTH * RIGHT_STRIDE + column % UNIT_COLUMNS, quad);
    return;
  }
  let column = i / DEPTH_QUADS;
  let step = i % DEPTH_QUADS * 4u;
  let unit = column / UNIT_COLUMNS * RIGHT_UNIT + step / UNIT_DEPTH * RIGHT_STEP;
  put_right(unit, column % UNIT_COLUMNS * RIGHT_STRIDE + step % UNIT_DEPTH, quad);
}
