// Causal grouped-query attention within documents, or over a cache, from tiles in workgroup memory.
//
//   o    Act  [tokens, heads, head size]
//   lse  f32  [tokens, heads]            log Σ exp(scores)
//
// Operands are those of lib/attention-rows.wgsl or lib/attention-cached-rows.wgsl, and o of tokens that are not
// real is 0; rows and products are those of lib/attention-tiles.wgsl. A workgroup owns 64 rows of queries of one
// key head and walks over the keys they see, 32 at a time: scores from slices of the head, the largest of each
// row so far, weights into workgroup memory, and then every thread sums four or eight rows of two quads of the
// values. Tiles that all rows see are not masked. Weights are powers of two: scores are multiplied by log2 e
// before. Heads of more than LANES pairs of quads are cut into slices (z), each of which makes the scores again.
// Sums are f32.

const OWN = 64u;
const OTHER = 32u;
const THREADS = OWN_GROUPS * OTHER_GROUPS;
const QUADS = 2u * LANES; // of the values, in one slice

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

// Slices of queries and keys, [row][quad]; later VALUE_ROWS rows of values.
var<workgroup> staged: array<vec4<Staged>, (OWN + OTHER) * STRIDE>;
// By weight_at: of each key and group of four own rows; before that the largest scores, of each other group.
var<workgroup> weights: array<vec4f, OTHER * OWN_GROUPS>;
var<workgroup> kept_rows: array<vec4f, OWN_GROUPS>;
// Where own rows start in qkv.
var<workgroup> own_rows: array<u32, OWN>;

fn stage_slice(first_quad: u32, start: u32, kv_head: u32, lane: u32) {
  for (var n = lane; n < (OWN + OTHER) * SLICE_QUADS; n += THREADS) {
    let row = n / SLICE_QUADS;
    let quad = first_quad + n % SLICE_QUADS;
    var value = vec4<Staged>();
    if (quad < params.head_quads) {
      if (row < OWN) {
        value = vec4<Staged>(qkv[own_rows[row] + quad]);
      } else {
        let key = min(start + row - OWN, last_key());
        value = vec4<Staged>(key_quad(key_start(key, kv_head) + quad));
      }
    }
    staged[row * STRIDE + n % SLICE_QUADS] = value;
  }
}

fn stage_values(start: u32, kv_head: u32, first_quad: u32, lane: u32) {
  for (var n = lane; n < VALUE_ROWS * QUADS; n += THREADS) {
    let quad = first_quad + n % QUADS;
    let key = min(start + n / QUADS, last_key());
    var value = vec4<Staged>();
    if (quad < params.head_quads) {
      value = vec4<Staged>(value_quad(value_start(key, kv_head) + quad));
    }
    staged[n] = value;
  }
}

fn masked(scores: vec4f, key: u32, queries: vec4u, starts: vec4u) -> vec4f {
  return select(vec4f(LOWEST), scores, (starts <= vec4u(key)) & (vec4u(key) <= queries));
}

/// 2^(scores − reference), and 0 for what is masked.
fn weigh(scores: vec4f, reference: vec4f) -> vec4f {
  return select(vec4f(), exp2(scores - reference), scores > vec4f(LOWEST));
}

fn scale_rows(rows: mat4x4f, factor: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * factor.x, rows[1] * factor.y, rows[2] * factor.z, rows[3] * factor.w);
}

/// Sums over all threads that share own group `group`: of what each left in weights.
fn whole_sum(group: u32) -> vec4f {
  var sum = vec4f();
  for (var other = 0u; other < OTHER_GROUPS; other++) {
    sum += weights[weight_at(other, group)];
  }
  return sum;
}

fn write_o(first_row: u32, kv_head: u32, quad: u32, a: mat4x4f, b: mat4x4f) {
  for (var n = 0u; n < 4u; n++) {
    let row = first_row + n * OWN_GROUPS;
    if (row < all_query_rows()) {
      let at = head_row(row, kv_head) * params.head_quads + quad;
      let is_real = row < query_rows();
      if (quad < params.head_quads) {
        o[at] = vec4<Act>(select(vec4f(), a[n], is_real));
      }
      if (quad + LANES < params.head_quads) {
        o[at + LANES] = vec4<Act>(select(vec4f(), b[n], is_real));
      }
    }
  }
}

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let own_group = lane / OTHER_GROUPS;
  let other_group = lane % OTHER_GROUPS;
  let kv_head = workgroup.y;
  // Those that see most keys begin first.
  let first_row = (count.x - 1u - workgroup.x) * OWN;
  let last_row = min(first_row + OWN, query_rows()) - 1u;
  let group = params.heads / params.kv_heads;
  let first_position = position_of(first_row / group);
  let last_position = position_of(last_row / group);
  let factor = params.scale * LOG2_E;

  if (lane < OWN) { own_rows[lane] = query_row(min(first_row + lane, last_row), kv_head); }
  workgroupBarrier();

  let i = row_positions(first_row + own_group + FOUR * OWN_GROUPS);
  let starts = first_keys(i);
  let last_start = first_key(last_position);
  // What this thread sums: own groups row_lane and row_lane + OWN_GROUPS / 2, quads `quad` and quad + LANES.
  let row_lane = lane / LANES;
  let quad_lane = lane % LANES;
  let first_quad = workgroup.z * QUADS;

  var largest = vec4f(LOWEST);
  var sum = vec4f();
  var a_0 = mat4x4f();
  var a_1 = mat4x4f();
  var b_0 = mat4x4f();
  var b_1 = mat4x4f();
  // Rows of tokens that are not real see nothing.
  let end = select(0u, last_position + 1u, first_row < query_rows());
  for (var start = first_key(first_position); start < end; start += OTHER) {
    var scores = mat4x4f();
    for (var quad = 0u; quad < params.head_quads; quad += SLICE_QUADS) {
      stage_slice(quad, start, kv_head, lane);
      workgroupBarrier();
      scores += products(own_group * STRIDE, (OWN + other_group) * STRIDE);
      workgroupBarrier();
    }
    var scores_0 = factor * scores[0];
    var scores_1 = factor * scores[1];
    var scores_2 = factor * scores[2];
    var scores_3 = factor * scores[3];
    if (start + OTHER - 1u > first_position || start < last_start) {
      let j = start + other_group;
      scores_0 = masked(scores_0, j, i, starts);
      scores_1 = masked(scores_1, j + OTHER_GROUPS, i, starts);
      scores_2 = masked(scores_2, j + 2u * OTHER_GROUPS, i, starts);
      scores_3 = masked(scores_3, j + 3u * OTHER_GROUPS, i, starts);
    }
    let tile_largest = max(max(scores_0, scores_1), max(scores_2, scores_3));
    let at = weight_at(other_group, own_group);
    weights[at] = tile_largest;
    workgroupBarrier();

    var higher = largest;
    for (var other = 0u; other < OTHER_GROUPS; other++) {
      higher = max(higher, weights[weight_at(other, own_group)]);
    }
    workgroupBarrier();

    let p_0 = weigh(scores_0, higher);
    let p_1 = weigh(scores_1, higher);
    let p_2 = weigh(scores_2, higher);
    let p_3 = weigh(scores_3, higher);
    // OTHER_GROUPS is a multiple of 8, so that a group has the same place in these rows.
    weights[at] = p_0;
    weights[at + OTHER_GROUPS * OWN_GROUPS] = p_1;
    weights[at + 2u * OTHER_GROUPS * OWN_GROUPS] = p_2;
    weights[at + 3u * OTHER_GROUPS * OWN_GROUPS] = p_3;
    let kept = exp2(largest - higher);
    if (other_group == 0u) { kept_rows[own_group] = kept; }
    largest = higher;
    sum = sum * kept + ((p_0 + p_1) + (p_2 + p_3));

    for (var key = 0u; key < OTHER && start + key < end; key += VALUE_ROWS) {
      stage_values(start + key, kv_head, first_quad, lane);
      workgroupBarrier();
      if (key == 0u) {
        a_0 = scale_rows(a_0, kept_rows[row_lane]);
        a_1 = scale_rows(a_1, kept_rows[row_lane]);
        if (LANES > 8u) {
          b_0 = scale_rows(b_0, kept_rows[row_lane + OWN_GROUPS / 2u]);
          b_1 = scale_rows(b_1, kept_rows[row_lane + OWN_GROUPS / 2u]);
        }
      }
      for (var n = 0u; n < VALUE_ROWS; n++) {
        let weight = weights[weight_at(key + n, row_lane)];
        let v_0 = vec4f(staged[n * QUADS + quad_lane]);
        let v_1 = vec4f(staged[n * QUADS + quad_lane + LANES]);
        a_0 += spread(weight, v_0);
        a_1 += spread(weight, v_1);
        if (LANES > 8u) {
          let other_weight = weights[weight_at(key + n, row_lane + OWN_GROUPS / 2u)];
          b_0 += spread(other_weight, v_0);
          b_1 += spread(other_weight, v_1);
        }
      }
      workgroupBarrier();
    }
  }

  weights[weight_at(other_group, own_group)] = sum;
  workgroupBarrier();
  let own_row = first_row + row_lane;
  let quad = first_quad + quad_lane;
  let share = 1.0 / whole_sum(row_lane);
  write_o(own_row, kv_head, quad, scale_rows(a_0, share), scale_rows(a_1, share));
  if (LANES > 8u) {
    let other_share = 1.0 / whole_sum(row_lane + OWN_GROUPS / 2u);
    let row = own_row + OWN_GROUPS / 2u;
    write_o(row, kv_head, quad, scale_rows(b_0, other_share), scale_rows(b_1, other_share));
  }
  if (workgroup.z == 0u && other_group == 0u) {
    let log_sum = (largest + log2(whole_sum(own_group))) / LOG2_E;
    for (var n = 0u; n < 4u; n++) {
      let row = first_row + own_group + n * OWN_GROUPS;
      if (row < query_rows()) { note_sum(head_row(row, kv_head), log_sum[n]); }
    }
  }
}
