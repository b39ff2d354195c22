// Causal grouped-query attention within documents, by subgroup matrices.
//
//   o    Act  [tokens, heads, head size]
//   lse  f32  [tokens, heads]            log Σ exp(scores)
//
// Operands are those of lib/attention-rows.wgsl, rows of queries those of lib/attention-list.wgsl, matrices
// those of lib/attention-units.wgsl. A workgroup owns 64 rows of queries of one key head, each subgroup 16,
// whose queries and sums it keeps in matrices; it walks over the keys they see, OTHER at a time. Scores go
// through workgroup memory, where two threads to a row mask and weigh them.
//
// Rows of a matrix cannot be scaled. So weights are 2^(score − reference), and the reference of a row follows
// its largest score only when that is past it by more than SLACK: weights stay below 2^SLACK, and sums seldom
// have to go through workgroup memory to be scaled down. Scores are multiplied by log2 e before. Shared is the
// type that is multiplied; sums are f32. Heads past 128 dimensions are cut into slices (z) of VALUE_COLUMNS.
//
// Matrices of queries and of sums lie in arrays that loops of constant length index. A compiler has to unroll them
// all to keep the matrices in registers, as matmul's blocks, named by numbers, are kept; whether drivers do is
// unproven.

const OWN = 64u;
const SUBGROUP_ROWS = 16u;
const THREADS = OWN / SUBGROUP_ROWS * LANES;
const SLACK = 8.0;

const ROW_UNITS = SUBGROUP_ROWS / UNIT_ROWS;
const SCORE_UNITS = OTHER / UNIT_COLUMNS;
const WEIGHT_UNITS = OTHER / UNIT_DEPTH;
const HEAD_UNITS = HEAD_COLUMNS / UNIT_DEPTH;
const VALUE_UNITS = VALUE_COLUMNS / UNIT_COLUMNS;
// Columns of scores that a thread has, in quads.
const THREAD_QUADS = OTHER / 8u;

const ROW_STRIDE = max(HEAD_COLUMNS, VALUE_COLUMNS) / 4u + PADDING_QUADS;
const SCORE_STRIDE = OTHER / 4u + 1u;
const WEIGHT_STRIDE = OTHER / 4u + PADDING_QUADS;

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

// OTHER rows of queries, of keys, of values.
var<workgroup> staged: array<vec4<Shared>, OTHER * ROW_STRIDE>;
var<workgroup> weights: array<vec4<Shared>, OWN * WEIGHT_STRIDE>;
// Scores of each own row; and OTHER columns of the sums at a time.
var<workgroup> scores: array<vec4f, OWN * SCORE_STRIDE>;
// Of each thread: the largest of its scores, later their sum.
var<workgroup> parts: array<f32, THREADS>;
// Whether a reference moved, and sums have to follow. A flag alone: nothing is summed by atomics.
var<workgroup> moved: atomic<u32>;

alias Queries = array<Left, ROW_UNITS * HEAD_UNITS>;
alias Sums = array<Result, ROW_UNITS * VALUE_UNITS>;

fn stage(row: u32, quad: u32, source: u32, first_quad: u32) {
  var value = vec4<Shared>();
  if (first_quad + quad < params.head_quads) {
    value = vec4<Shared>(qkv[source + first_quad + quad]);
  }
  staged[row * ROW_STRIDE + quad] = value;
}

fn stage_tokens(start: u32, column: u32, first_quad: u32, quads: u32, thread: u32) {
  for (var n = thread; n < OTHER * quads; n += THREADS) {
    let token = min(start + n / quads, params.tokens - 1u);
    stage(n / quads, n % quads, column + token * (params.stride / 4u), first_quad);
  }
}

/// Leaves a subgroup's own rows of queries in its matrices.
fn take_queries(
  queries: ptr<function, Queries>, first_row: u32, kv_head: u32, subgroup: u32, thread: u32,
) {
  for (var first = 0u; first < OWN; first += OTHER) {
    workgroupBarrier();
    for (var n = thread; n < OTHER * (HEAD_COLUMNS / 4u); n += THREADS) {
      let row = min(first_row + first + n / (HEAD_COLUMNS / 4u), query_rows() - 1u);
      let quad = n % (HEAD_COLUMNS / 4u);
      stage(n / (HEAD_COLUMNS / 4u), quad, query_row(row, kv_head), 0u);
    }
    workgroupBarrier();
    if (subgroup * SUBGROUP_ROWS / OTHER == first / OTHER) {
      for (var row = 0u; row < ROW_UNITS; row++) {
        let own = subgroup * SUBGROUP_ROWS + row * UNIT_ROWS - first;
        for (var k = 0u; k < HEAD_UNITS; k++) {
          (*queries)[row * HEAD_UNITS + k] = left_of_rows(own * ROW_STRIDE + k * (UNIT_DEPTH / 4u));
        }
      }
    }
  }
  workgroupBarrier();
}

fn make_scores(queries: ptr<function, Queries>, subgroup: u32) {
  for (var row = 0u; row < ROW_UNITS; row++) {
    for (var column = 0u; column < SCORE_UNITS; column++) {
      // Not left to WGSL's zero: in a loop, dawn.node 0.6.2 keeps what an array without initializer held before.
      var sum = Result();
      for (var k = 0u; k < HEAD_UNITS; k++) {
        let keys = right_of_columns(column * UNIT_COLUMNS * ROW_STRIDE + k * (UNIT_DEPTH / 4u));
        sum = multiply_add((*queries)[row * HEAD_UNITS + k], keys, sum);
      }
      let own = subgroup * SUBGROUP_ROWS + row * UNIT_ROWS;
      store_result(own * SCORE_STRIDE + column * (UNIT_COLUMNS / 4u), SCORE_STRIDE, sum);
    }
  }
}

fn add_values(sums: ptr<function, Sums>, subgroup: u32) {
  for (var row = 0u; row < ROW_UNITS; row++) {
    let own = subgroup * SUBGROUP_ROWS + row * UNIT_ROWS;
    for (var k = 0u; k < WEIGHT_UNITS; k++) {
      let weight = left_of_weights(own * WEIGHT_STRIDE + k * (UNIT_DEPTH / 4u));
      for (var column = 0u; column < VALUE_UNITS; column++) {
        let at = row * VALUE_UNITS + column;
        let values = right_of_rows(k * UNIT_DEPTH * ROW_STRIDE + column * (UNIT_COLUMNS / 4u));
        (*sums)[at] = multiply_add(weight, values, (*sums)[at]);
      }
    }
  }
}

/// Writes OTHER columns of a subgroup's sums, from `first` on, to its rows of scores.
fn put_sums(sums: ptr<function, Sums>, first: u32, subgroup: u32) {
  for (var row = 0u; row < ROW_UNITS; row++) {
    let own = subgroup * SUBGROUP_ROWS + row * UNIT_ROWS;
    for (var n = 0u; n < SCORE_UNITS; n++) {
      let unit = (*sums)[row * VALUE_UNITS + first / UNIT_COLUMNS + n];
      store_result(own * SCORE_STRIDE + n * (UNIT_COLUMNS / 4u), SCORE_STRIDE, unit);
    }
  }
}

/// Multiplies each row of the sums by what its threads say.
fn scale_sums(sums: ptr<function, Sums>, factor: f32, scores_at: u32, subgroup: u32) {
  for (var first = 0u; first < VALUE_COLUMNS; first += OTHER) {
    put_sums(sums, first, subgroup);
    workgroupBarrier();
    for (var n = 0u; n < THREAD_QUADS; n++) {
      scores[scores_at + n] *= factor;
    }
    workgroupBarrier();
    for (var row = 0u; row < ROW_UNITS; row++) {
      let own = subgroup * SUBGROUP_ROWS + row * UNIT_ROWS;
      for (var n = 0u; n < SCORE_UNITS; n++) {
        let at = own * SCORE_STRIDE + n * (UNIT_COLUMNS / 4u);
        (*sums)[row * VALUE_UNITS + first / UNIT_COLUMNS + n] = load_result(at, SCORE_STRIDE);
      }
    }
    workgroupBarrier();
  }
}

fn attend(workgroup: vec3u, count: u32, subgroup: u32, thread: u32) {
  let kv_head = workgroup.y;
  // Those that see most keys begin first.
  let first_row = (count - 1u - workgroup.x) * OWN;
  let last_row = min(first_row + OWN, query_rows()) - 1u;
  let group = params.heads / params.kv_heads;
  let first_token = first_row / group;
  let last_token = last_row / group;
  let last_start = first_key(last_token);
  let first_value = workgroup.z * (VALUE_COLUMNS / 4u);

  // Two threads to a row, of its own subgroup.
  let own = thread / 2u;
  let first_column = thread % 2u * (OTHER / 2u);
  let row = first_row + own;
  let i = min(row, last_row) / group;
  let start_of_row = first_key(i);
  let scores_at = own * SCORE_STRIDE + first_column / 4u;
  let weights_at = own * WEIGHT_STRIDE + first_column / 4u;

  var queries: Queries;
  take_queries(&queries, first_row, kv_head, subgroup, thread);
  var sums: Sums;
  var reference = LOWEST;
  var sum = 0.0;
  for (var start = first_key(first_token); start <= last_token; start += OTHER) {
    if (thread == 0u) { atomicStore(&moved, 0u); }
    stage_tokens(start, k_column(kv_head), 0u, HEAD_COLUMNS / 4u, thread);
    workgroupBarrier();
    make_scores(&queries, subgroup);
    workgroupBarrier();
    stage_tokens(start, v_column(kv_head), first_value, VALUE_COLUMNS / 4u, thread);

    let all_seen = start + OTHER - 1u <= first_token && start >= last_start;
    var largest = vec4f(LOWEST);
    for (var n = 0u; n < THREAD_QUADS; n++) {
      let j = start + first_column + 4u * n + vec4u(0u, 1u, 2u, 3u);
      let is_seen = (vec4u(start_of_row) <= j) & (j <= vec4u(i));
      let score = params.scale * LOG2_E * scores[scores_at + n];
      let kept = select(vec4f(LOWEST), score, is_seen | vec4<bool>(all_seen));
      scores[scores_at + n] = kept;
      largest = max(largest, kept);
    }
    parts[thread] = max(max(largest.x, largest.y), max(largest.z, largest.w));
    workgroupBarrier();
    let row_largest = max(parts[thread], parts[thread ^ 1u]);
    var factor = 1.0;
    if (row_largest > reference + SLACK) {
      if (reference > LOWEST) { atomicStore(&moved, 1u); }
      factor = exp2(reference - row_largest);
      reference = row_largest;
    }
    var added = vec4f();
    for (var n = 0u; n < THREAD_QUADS; n++) {
      let score = scores[scores_at + n];
      let weight = select(vec4f(), exp2(score - reference), score > vec4f(LOWEST));
      weights[weights_at + n] = vec4<Shared>(weight);
      added += weight;
    }
    sum = sum * factor + ((added.x + added.y) + (added.z + added.w));
    if (workgroupUniformLoad(&moved) != 0u) {
      scale_sums(&sums, factor, scores_at, subgroup);
    }
    add_values(&sums, subgroup);
    workgroupBarrier();
  }

  parts[thread] = sum;
  workgroupBarrier();
  let whole = parts[thread] + parts[thread ^ 1u];
  for (var first = 0u; first < VALUE_COLUMNS; first += OTHER) {
    put_sums(&sums, first, subgroup);
    workgroupBarrier();
    if (row <= last_row) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let quad = first_value + (first + first_column) / 4u + n;
        if (quad < params.head_quads) {
          let at = head_row(row, kv_head) * params.head_quads + quad;
          o[at] = vec4<Act>(scores[scores_at + n] / whole);
        }
      }
    }
    workgroupBarrier();
  }
  if (workgroup.z == 0u && thread % 2u == 0u && row <= last_row) {
    lse[head_row(row, kv_head)] = (reference + log2(whole)) / LOG2_E;
  }
}
