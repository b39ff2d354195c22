// The gradient of causal grouped-query attention within documents, from tiles in workgroup memory.
//
//   p = exp(scale · q · k − lse),  ds = scale · p · (d_o · v − Σ d_o ∘ o)
//   dv = Σ p · d_o,  dk = Σ ds · q  over queries;  dq = Σ ds · k  over keys
//
// Operands are those of lib/attention-rows.wgsl and lib/attention-noted.wgsl, rows and products those of
// lib/attention-list.wgsl and lib/attention-tiles.wgsl. A workgroup owns 32 rows of queries of one key head, or
// 32 keys in backward_keys, and walks over the others, 32 at a time. Its first half makes the scores q · k, its
// second d_o · v, each from slices that it staged itself; p and ds meet in workgroup memory. Then backward_keys
// sums dv in the first half and dk in the second, and backward_queries one half of the tile's keys in each. A
// thread sums four or eight rows of two quads: a pair, for lib/turn-back.wgsl. Heads of more than LANES pairs
// are cut into slices (z), each of which makes the scores again. No atomics, and a fixed order of sums; all are
// f32.

const OWN = 32u;
const OTHER = 32u;
const HALF_THREADS = OWN_GROUPS * OTHER_GROUPS;
const THREADS = 2u * HALF_THREADS;
const HALF_STAGED = (OWN + OTHER) * STRIDE;
const HALF_WEIGHTS = OTHER * OWN_GROUPS;
const QUADS = 2u * LANES;

// For each half slices of own rows and of others, [row][quad]; later CHUNK rows of others.
var<workgroup> staged: array<vec4<Staged>, 2u * HALF_STAGED>;
// p and ds, by weight_at: of each other row and group of four own rows.
var<workgroup> weights: array<vec4f, 2u * HALF_WEIGHTS>;

/// Stages a slice of 32 queries and 32 keys: in the first half of q and k, in the second of d_o and v.
fn stage_slice(first_quad: u32, queries_at: u32, key: u32, column: u32, half: u32, local: u32) {
  for (var n = local; n < (OWN + OTHER) * SLICE_QUADS; n += HALF_THREADS) {
    let row = n / SLICE_QUADS;
    let quad = first_quad + n % SLICE_QUADS;
    var value = vec4<Staged>();
    if (quad < params.head_quads) {
      if (row / 32u != queries_at) {
        let token = min(key + row % 32u, params.tokens - 1u);
        value = vec4<Staged>(qkv[column + token * (params.stride / 4u) + quad]);
      } else if (half == 0u) {
        value = vec4<Staged>(qkv[query_starts[row % 32u] + quad]);
      } else {
        value = vec4<Staged>(d_o[query_starts[32u + row % 32u] + quad]);
      }
    }
    staged[half * HALF_STAGED + row * STRIDE + n % SLICE_QUADS] = value;
  }
}

/// The quad that stands n-th in a staged row of the others: first quads of LANES pairs, then second ones.
fn staged_quad(first_pair: u32, n: u32) -> u32 {
  let quads = quads_of_pair(first_pair + n % LANES);
  return select(quads.y, quads.x, n < LANES);
}

/// What CHUNK staged rows, which are other rows `first` …, add to one quad of a group of four own rows.
fn sum_chunk(sums: mat4x4f, weights_at: u32, first: u32, group: u32, staged_at: u32) -> mat4x4f {
  var result = sums;
  for (var n = 0u; n < CHUNK; n++) {
    let weight = weights[weights_at + weight_at(first + n, group)];
    result += spread(weight, vec4f(staged[staged_at + n * QUADS]));
  }
  return result;
}

/// The second half's sums added to the first's, which alone gets them.
fn both_halves(sums: mat4x4f, half: u32, local: u32) -> mat4x4f {
  if (half == 1u) {
    weights[local] = sums[0];
    weights[local + HALF_THREADS] = sums[1];
    weights[local + 2u * HALF_THREADS] = sums[2];
    weights[local + 3u * HALF_THREADS] = sums[3];
  }
  workgroupBarrier();
  let others = mat4x4f(
    weights[local], weights[local + HALF_THREADS],
    weights[local + 2u * HALF_THREADS], weights[local + 3u * HALF_THREADS],
  );
  workgroupBarrier();
  return sums + others;
}

fn write_queries(first_row: u32, kv_head: u32, pair: u32, a: mat4x4f, b: mat4x4f) {
  let quads = quads_of_pair(pair);
  for (var n = 0u; n < 4u; n++) {
    let row = first_row + n * OWN_GROUPS;
    if (row < query_rows()) {
      let token = row / (params.heads / params.kv_heads);
      store(query_row(row, kv_head), quads, turned_back(token, pair, mat2x4f(a[n], b[n])));
    }
  }
}

fn write_keys(key: u32, column: u32, pair: u32, is_turned: bool, a: mat4x4f, b: mat4x4f) {
  let quads = quads_of_pair(pair);
  for (var n = 0u; n < 4u; n++) {
    let token = key + n * OWN_GROUPS;
    if (token < params.tokens) {
      var values = mat2x4f(a[n], b[n]);
      if (is_turned) { values = turned_back(token, pair, values); }
      store(column + token * (params.stride / 4u), quads, values);
    }
  }
}

@compute @workgroup_size(THREADS)
fn backward_queries(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let half = lane / HALF_THREADS;
  let local = lane % HALF_THREADS;
  let own_group = local / OTHER_GROUPS;
  let other_group = local % OTHER_GROUPS;
  let kv_head = workgroup.y;
  // Those that see most keys begin first.
  let first_row = (count.x - 1u - workgroup.x) * OWN;
  let group = params.heads / params.kv_heads;
  let first_token = first_row / group;
  let last_token = (min(first_row + OWN, query_rows()) - 1u) / group;
  let column = select(v_column(kv_head), k_column(kv_head), half == 0u);

  note_queries(first_row, kv_head, lane);
  workgroupBarrier();
  sum_rows(first_row, kv_head, lane, workgroup.z == 0u);
  let own = own_group + FOUR * OWN_GROUPS;
  let at_sums = half * 32u + own;
  let sums = vec4f(
    query_sums[at_sums.x], query_sums[at_sums.y], query_sums[at_sums.z], query_sums[at_sums.w],
  );
  let i = row_positions(first_row + own);
  let starts = first_keys(i);
  let last_start = first_key(last_token);
  let row_lane = local / LANES;
  let quad_lane = local % LANES;
  let first_pair = workgroup.z * LANES;
  let piece_at = half * HALF_STAGED;

  var a_0 = mat4x4f();
  var a_1 = mat4x4f();
  var b_0 = mat4x4f();
  var b_1 = mat4x4f();
  for (var start = first_key(first_token); start <= last_token; start += OTHER) {
    var piece = mat4x4f();
    for (var quad = 0u; quad < params.head_quads; quad += SLICE_QUADS) {
      stage_slice(quad, 0u, start, column, half, local);
      workgroupBarrier();
      piece += products(piece_at + own_group * STRIDE, piece_at + (OWN + other_group) * STRIDE);
      workgroupBarrier();
    }
    let whole = piece;
    if (half == 0u) {
      let all_seen = start + OTHER - 1u <= first_token && start >= last_start;
      for (var n = 0u; n < 4u; n++) {
        let j = vec4u(start + other_group + n * OTHER_GROUPS);
        let is_seen = ((starts <= j) & (j <= i)) | vec4<bool>(all_seen);
        let at = weight_at(other_group + n * OTHER_GROUPS, own_group);
        weights[at] = weigh(params.scale * LOG2_E * whole[n], sums, is_seen);
      }
    }
    workgroupBarrier();
    if (half == 1u) {
      for (var n = 0u; n < 4u; n++) {
        let at = weight_at(other_group + n * OTHER_GROUPS, own_group);
        weights[at] = params.scale * weights[at] * (whole[n] - sums);
      }
    }
    for (var first = 0u; first < OTHER / 2u && start + first <= last_token; first += CHUNK) {
      let other = half * (OTHER / 2u) + first;
      for (var n = local; n < CHUNK * QUADS; n += HALF_THREADS) {
        let quad = staged_quad(first_pair, n % QUADS);
        let token = min(start + other + n / QUADS, params.tokens - 1u);
        var value = vec4<Staged>();
        if (quad < params.head_quads) {
          value = vec4<Staged>(qkv[k_column(kv_head) + token * (params.stride / 4u) + quad]);
        }
        staged[piece_at + n] = value;
      }
      workgroupBarrier();
      let at = piece_at + quad_lane;
      a_0 = sum_chunk(a_0, 0u, other, row_lane, at);
      a_1 = sum_chunk(a_1, 0u, other, row_lane, at + LANES);
      if (LANES > 8u) {
        b_0 = sum_chunk(b_0, 0u, other, row_lane + OWN_GROUPS / 2u, at);
        b_1 = sum_chunk(b_1, 0u, other, row_lane + OWN_GROUPS / 2u, at + LANES);
      }
      workgroupBarrier();
    }
  }

  let own_row = first_row + row_lane;
  let sum_a_0 = both_halves(a_0, half, local);
  let sum_a_1 = both_halves(a_1, half, local);
  if (half == 0u) { write_queries(own_row, kv_head, first_pair + quad_lane, sum_a_0, sum_a_1); }
  if (LANES > 8u) {
    let sum_b_0 = both_halves(b_0, half, local);
    let sum_b_1 = both_halves(b_1, half, local);
    if (half == 0u) {
      let row = own_row + OWN_GROUPS / 2u;
      write_queries(row, kv_head, first_pair + quad_lane, sum_b_0, sum_b_1);
    }
  }
}

@compute @workgroup_size(THREADS)
fn backward_keys(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let half = lane / HALF_THREADS;
  let local = lane % HALF_THREADS;
  let own_group = local / OTHER_GROUPS;
  let other_group = local % OTHER_GROUPS;
  let kv_head = workgroup.y;
  let group = params.heads / params.kv_heads;
  let first_own = workgroup.x * OWN;
  let last_own = min(first_own + OWN, params.tokens) - 1u;
  let end_row = end_of_queries(last_own) * group;
  let column = select(v_column(kv_head), k_column(kv_head), half == 0u);

  let j = first_own + own_group + FOUR * OWN_GROUPS;
  let row_lane = local / LANES;
  let quad_lane = local % LANES;
  let first_pair = workgroup.z * LANES;
  let piece_at = half * HALF_STAGED;
  let weights_at = half * HALF_WEIGHTS;

  var a_0 = mat4x4f();
  var a_1 = mat4x4f();
  var b_0 = mat4x4f();
  var b_1 = mat4x4f();
  for (var start = first_own * group; start < end_row; start += OTHER) {
    note_queries(start, kv_head, lane);
    if (lane < 32u) {
      let row = head_row(min(start + lane, query_rows() - 1u), kv_head);
      query_sums[32u + lane] = lse[params.tokens * params.heads + row];
    }
    workgroupBarrier();
    var piece = mat4x4f();
    for (var quad = 0u; quad < params.head_quads; quad += SLICE_QUADS) {
      stage_slice(quad, 1u, first_own, column, half, local);
      workgroupBarrier();
      piece += products(piece_at + own_group * STRIDE, piece_at + (OWN + other_group) * STRIDE);
      workgroupBarrier();
    }
    let whole = piece;
    if (half == 0u) {
      for (var n = 0u; n < 4u; n++) {
        let other = other_group + n * OTHER_GROUPS;
        let is_seen = (vec4u(query_first_keys[other]) <= j) & (j <= vec4u(query_tokens[other]))
          & vec4<bool>(start + other < end_row);
        let scores = params.scale * LOG2_E * whole[n];
        weights[weight_at(other, own_group)] = weigh(scores, vec4f(query_sums[other]), is_seen);
      }
    }
    workgroupBarrier();
    if (half == 1u) {
      for (var n = 0u; n < 4u; n++) {
        let other = other_group + n * OTHER_GROUPS;
        let at = weight_at(other, own_group);
        weights[HALF_WEIGHTS + at] =
          params.scale * weights[at] * (whole[n] - query_sums[32u + other]);
      }
    }
    for (var first = 0u; first < OTHER && start + first < end_row; first += CHUNK) {
      for (var n = local; n < CHUNK * QUADS; n += HALF_THREADS) {
        let quad = staged_quad(first_pair, n % QUADS);
        let other = first + n / QUADS;
        var value = vec4<Staged>();
        if (quad < params.head_quads) {
          if (half == 0u) {
            value = vec4<Staged>(d_o[query_starts[32u + other] + quad]);
          } else {
            value = vec4<Staged>(qkv[query_starts[other] + quad]);
          }
        }
        staged[piece_at + n] = value;
      }
      workgroupBarrier();
      let at = piece_at + quad_lane;
      a_0 = sum_chunk(a_0, weights_at, first, row_lane, at);
      a_1 = sum_chunk(a_1, weights_at, first, row_lane, at + LANES);
      if (LANES > 8u) {
        b_0 = sum_chunk(b_0, weights_at, first, row_lane + OWN_GROUPS / 2u, at);
        b_1 = sum_chunk(b_1, weights_at, first, row_lane + OWN_GROUPS / 2u, at + LANES);
      }
      workgroupBarrier();
    }
  }

  let result_column = select(k_column(kv_head), v_column(kv_head), half == 0u);
  let key = first_own + row_lane;
  let pair = first_pair + quad_lane;
  write_keys(key, result_column, pair, half == 1u, a_0, a_1);
  if (LANES > 8u) { write_keys(key + OWN_GROUPS / 2u, result_column, pair, half == 1u, b_0, b_1); }
}
