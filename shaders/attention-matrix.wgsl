// Causal grouped-query attention within documents, or over a cache, by subgroup matrices.
//
//   o    Act  [tokens, heads, head size]
//   lse  f32  [tokens, heads]            log Σ exp(scores)
//
// Operands are those of lib/attention-rows.wgsl or lib/attention-cached-rows.wgsl, and o of tokens that are not
// real is 0; rows of queries are those of lib/attention-list.wgsl, matrices those of lib/attention-units.wgsl. A
// workgroup owns 64 rows of queries of one key head, each subgroup 16, whose queries and sums it keeps in
// matrices; it walks over the keys they see, OTHER at a time. Scores go through workgroup memory, where two
// threads to a row mask and weigh them.
//
// Rows of a matrix cannot be scaled. So weights are 2^(score − reference), and the reference of a row follows
// its largest score only when that is past it by more than SLACK: weights stay below 2^SLACK, and sums seldom
// have to go through workgroup memory to be scaled down. Scores are multiplied by log2 e before. Shared is the
// type that is multiplied; sums are f32. Heads past 128 dimensions are cut into slices (z) of VALUE_COLUMNS.
//
// What a subgroup holds is in lib/attention-held.wgsl, workgroup memory in lib/attention-unit-memory.wgsl. A subgroup's
// rows are one unit high, or two.

const OWN = 64u;
const SUBGROUP_ROWS = 16u;
const THREADS = OWN / SUBGROUP_ROWS * LANES;
const SLACK = 8.0;

const ROW_UNITS = SUBGROUP_ROWS / UNIT_ROWS;
const HEAD_UNITS = HEAD_COLUMNS / EDGE;
const VALUE_UNITS = VALUE_COLUMNS / EDGE;
const HELD_LEFTS = HEAD_UNITS;
const HELD_RESULTS = VALUE_UNITS;
const HEAD_QUADS = HEAD_COLUMNS / 4u;
const VALUE_QUADS = VALUE_COLUMNS / 4u;
// Columns of scores that a thread has, in quads.
const THREAD_QUADS = OTHER / 8u;

// OTHER rows of queries, of keys, of values; weights and scores of each own row, and OTHER columns of the sums at a
// time in place of scores.
const STAGED_WIDTH = max(HEAD_UNITS, VALUE_UNITS);
const STAGED_UNITS = OTHER / EDGE * STAGED_WIDTH;
const WEIGHT_UNITS = OWN / UNIT_ROWS * (OTHER / EDGE);
const SCORE_UNITS = WEIGHT_UNITS;

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

// Of each thread: the largest of its scores, later their sum.
var<workgroup> parts: array<f32, THREADS>;
// Whether a reference moved, and sums have to follow. A flag alone: nothing is summed by atomics.
var<workgroup> moved: atomic<u32>;

fn stage_keys(start: u32, kv_head: u32, thread: u32) {
  for (var n = thread; n < OTHER * HEAD_QUADS; n += THREADS) {
    let key = min(start + n / HEAD_QUADS, last_key());
    let quad = n % HEAD_QUADS;
    var value = vec4<Shared>();
    if (quad < params.head_quads) {
      value = vec4<Shared>(key_quad(key_start(key, kv_head) + quad));
    }
    put_staged(0u, n / HEAD_QUADS, quad, value);
  }
}

fn stage_values(start: u32, kv_head: u32, first_quad: u32, thread: u32) {
  for (var n = thread; n < OTHER * VALUE_QUADS; n += THREADS) {
    let key = min(start + n / VALUE_QUADS, last_key());
    let quad = first_quad + n % VALUE_QUADS;
    var value = vec4<Shared>();
    if (quad < params.head_quads) {
      value = vec4<Shared>(value_quad(value_start(key, kv_head) + quad));
    }
    put_staged(0u, n / VALUE_QUADS, n % VALUE_QUADS, value);
  }
}

/// Stages OTHER of the own rows of queries.
fn stage_queries(first_row: u32, kv_head: u32, thread: u32) {
  for (var n = thread; n < OTHER * HEAD_QUADS; n += THREADS) {
    let row = min(first_row + n / HEAD_QUADS, query_rows() - 1u);
    let quad = n % HEAD_QUADS;
    var value = vec4<Shared>();
    if (quad < params.head_quads) { value = vec4<Shared>(qkv[query_row(row, kv_head) + quad]); }
    put_staged(0u, n / HEAD_QUADS, quad, value);
  }
}

/// Leaves one unit of a subgroup's own rows of queries in its matrices, if it is among the OTHER from `first` on.
fn take_queries(queries: ptr<function, Lefts>, first: u32, row_unit: u32) {
  let own = row_unit * UNIT_ROWS;
  if (own / OTHER == first / OTHER) {
    take_lefts(queries, HEAD_UNITS, (own - first) / EDGE * STAGED_WIDTH, own % EDGE);
  }
}

fn make_scores(queries: ptr<function, Lefts>, row_unit: u32) {
  for (var n = 0u; n < OTHER_UNITS; n++) {
    store_result(row_unit * OTHER_UNITS + n, multiply_lefts(queries, HEAD_UNITS, n * STAGED_WIDTH));
  }
}

fn add_values(sums: ptr<function, Results>, row_unit: u32) {
  for (var n = 0u; n < OTHER_UNITS; n++) {
    let weight = left_of_weights(row_unit * OTHER_UNITS + n);
    add_products(sums, VALUE_UNITS, weight, n * STAGED_WIDTH);
  }
}

/// Writes OTHER columns of the sums, from `first` on, in place of the scores.
fn put_sums(sums: ptr<function, Results>, first: u32, row_unit: u32) {
  for (var n = 0u; n < OTHER_UNITS; n++) {
    put_result(sums, first / EDGE + n, row_unit * OTHER_UNITS + n);
  }
}

fn take_sums(sums: ptr<function, Results>, first: u32, row_unit: u32) {
  for (var n = 0u; n < OTHER_UNITS; n++) {
    take_result(sums, first / EDGE + n, row_unit * OTHER_UNITS + n);
  }
}

fn attend(workgroup: vec3u, count: u32, subgroup: u32, thread: u32) {
  let kv_head = workgroup.y;
  // Those that see most keys begin first.
  let first_row = (count - 1u - workgroup.x) * OWN;
  let last_row = min(first_row + OWN, query_rows()) - 1u;
  let group = params.heads / params.kv_heads;
  let first_position = position_of(first_row / group);
  let last_position = position_of(last_row / group);
  let last_start = first_key(last_position);
  let first_value = workgroup.z * VALUE_QUADS;

  // Two threads to a row, of its own subgroup.
  let own = thread / 2u;
  let first_column = thread % 2u * (OTHER / 2u);
  let row = first_row + own;
  let i = position_of(min(row, last_row) / group);
  let start_of_row = first_key(i);
  let quad = first_column / 4u;

  let unit = subgroup * ROW_UNITS;
  var queries_0: Lefts;
  var queries_1: Lefts;
  for (var first = 0u; first < OWN; first += OTHER) {
    workgroupBarrier();
    stage_queries(first_row + first, kv_head, thread);
    workgroupBarrier();
    take_queries(&queries_0, first, unit);
    if (ROW_UNITS > 1u) { take_queries(&queries_1, first, unit + 1u); }
  }
  workgroupBarrier();
  var sums_0: Results;
  var sums_1: Results;
  var reference = LOWEST;
  var sum = 0.0;
  // Rows of tokens that are not real see nothing.
  let end = select(0u, last_position + 1u, first_row < query_rows());
  for (var start = first_key(first_position); start < end; start += OTHER) {
    if (thread == 0u) { atomicStore(&moved, 0u); }
    stage_keys(start, kv_head, thread);
    workgroupBarrier();
    make_scores(&queries_0, unit);
    if (ROW_UNITS > 1u) { make_scores(&queries_1, unit + 1u); }
    workgroupBarrier();
    stage_values(start, kv_head, first_value, thread);

    let all_seen = start + OTHER - 1u <= first_position && start >= last_start;
    var largest = vec4f(LOWEST);
    for (var n = 0u; n < THREAD_QUADS; n++) {
      let j = start + first_column + 4u * n + vec4u(0u, 1u, 2u, 3u);
      let is_seen = (vec4u(start_of_row) <= j) & (j <= vec4u(i));
      let scaled = params.scale * LOG2_E * score(own, quad + n);
      let kept = select(vec4f(LOWEST), scaled, is_seen | vec4<bool>(all_seen));
      put_score(own, quad + n, kept);
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
      let kept = score(own, quad + n);
      let weight = select(vec4f(), exp2(kept - reference), kept > vec4f(LOWEST));
      put_weight(own, quad + n, weight);
      added += weight;
    }
    sum = sum * factor + ((added.x + added.y) + (added.z + added.w));
    if (workgroupUniformLoad(&moved) != 0u) {
      for (var first = 0u; first < VALUE_COLUMNS; first += OTHER) {
        put_sums(&sums_0, first, unit);
        if (ROW_UNITS > 1u) { put_sums(&sums_1, first, unit + 1u); }
        workgroupBarrier();
        for (var n = 0u; n < THREAD_QUADS; n++) {
          put_score(own, quad + n, factor * score(own, quad + n));
        }
        workgroupBarrier();
        take_sums(&sums_0, first, unit);
        if (ROW_UNITS > 1u) { take_sums(&sums_1, first, unit + 1u); }
        workgroupBarrier();
      }
    }
    add_values(&sums_0, unit);
    if (ROW_UNITS > 1u) { add_values(&sums_1, unit + 1u); }
    workgroupBarrier();
  }

  parts[thread] = sum;
  workgroupBarrier();
  let whole = parts[thread] + parts[thread ^ 1u];
  for (var first = 0u; first < VALUE_COLUMNS; first += OTHER) {
    put_sums(&sums_0, first, unit);
    if (ROW_UNITS > 1u) { put_sums(&sums_1, first, unit + 1u); }
    workgroupBarrier();
    if (row < all_query_rows()) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let o_quad = first_value + first / 4u + quad + n;
        if (o_quad < params.head_quads) {
          let at = head_row(row, kv_head) * params.head_quads + o_quad;
          o[at] = vec4<Act>(select(vec4f(), score(own, quad + n) / whole, row < query_rows()));
        }
      }
    }
    workgroupBarrier();
  }
  if (workgroup.z == 0u && thread % 2u == 0u && row < query_rows()) {
    note_sum(head_row(row, kv_head), (reference + log2(whole)) / LOG2_E);
  }
}
