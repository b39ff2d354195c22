// The gradient of causal grouped-query attention within documents, by subgroup matrices.
//
//   p = exp(scale · q · k − lse),  ds = scale · p · (d_o · v − Σ d_o ∘ o)
//   dv = Σ p · d_o,  dk = Σ ds · q  over queries;  dq = Σ ds · k  over keys
//
// Operands are those of lib/attention-rows.wgsl and lib/attention-noted.wgsl, rows of queries those of
// lib/attention-list.wgsl, matrices those of lib/attention-units.wgsl. A workgroup owns 32 rows of queries of one
// key head, or 32 keys in backward_keys, and walks over the others, OTHER at a time. Its first two subgroups keep
// the own rows of q (or k) in matrices and make the scores, its last two those of d_o (or v) and d_o · v; p and
// ds meet in workgroup memory. Then backward_keys sums dv in the first two and dk in the last two, and
// backward_queries one half of dq's columns in each two. No atomics, and a fixed order of sums; all are f32.
//
// Shared is the type that is multiplied. In f16 ds would fade away, being smaller than d_o by p: it is stored
// without scale and times GRADIENT_FACTOR, which what is summed is freed of.
//
// What a subgroup holds is in lib/attention-held.wgsl, workgroup memory in lib/attention-unit-memory.wgsl. A subgroup's
// rows are one unit high, or two.

const OWN = 32u;
const SUBGROUP_ROWS = 16u;
const THREADS = 4u * LANES;
const HALF_THREADS = 2u * LANES;

const ROW_UNITS = SUBGROUP_ROWS / UNIT_ROWS;
const OWN_UNITS = OWN / UNIT_ROWS;
const HEAD_UNITS = COLUMNS / EDGE;
const HELD_LEFTS = HEAD_UNITS;
const HELD_RESULTS = HEAD_UNITS;
const HEAD_QUADS = COLUMNS / 4u;
// Columns of scores that a thread has, in quads.
const THREAD_QUADS = OTHER / 8u;

// OTHER rows of q (or k), then of d_o (or v).
const STAGED_WIDTH = HEAD_UNITS;
const AREA = OTHER / EDGE * HEAD_UNITS;
const STAGED_UNITS = 2u * AREA;
// p and ds, of each own row.
const WEIGHT_UNITS = 2u * OWN_UNITS * (OTHER / EDGE);
// q · k, then p; d_o · v. At the end 16 rows of the result.
const SCORE_UNITS = max(2u * OWN_UNITS * (OTHER / EDGE), ROW_UNITS * HEAD_UNITS);

/// Stages OTHER of the rows of queries that are noted, from `first` on.
fn stage_queries(first: u32, thread: u32) {
  for (var n = thread; n < OTHER * HEAD_QUADS; n += THREADS) {
    let quad = n % HEAD_QUADS;
    let row = n / HEAD_QUADS;
    var query = vec4<Shared>();
    var gradient = vec4<Shared>();
    if (quad < params.head_quads) {
      query = vec4<Shared>(qkv[query_starts[first + row] + quad]);
      gradient = vec4<Shared>(d_o[query_starts[32u + first + row] + quad]);
    }
    put_staged(0u, row, quad, query);
    put_staged(AREA, row, quad, gradient);
  }
}

fn stage_keys(start: u32, kv_head: u32, thread: u32) {
  for (var n = thread; n < OTHER * HEAD_QUADS; n += THREADS) {
    let quad = n % HEAD_QUADS;
    let row = n / HEAD_QUADS;
    let at = min(start + row, params.tokens - 1u) * (params.stride / 4u) + quad;
    var key = vec4<Shared>();
    var value = vec4<Shared>();
    if (quad < params.head_quads) {
      key = vec4<Shared>(qkv[at + k_column(kv_head)]);
      value = vec4<Shared>(qkv[at + v_column(kv_head)]);
    }
    put_staged(0u, row, quad, key);
    put_staged(AREA, row, quad, value);
  }
}

/// Takes one unit of a subgroup's own rows, if it is among the OTHER from `first` on that are staged.
fn take_own(own: ptr<function, Lefts>, first: u32, subgroup: u32, unit: u32) {
  let row = subgroup % 2u * SUBGROUP_ROWS + unit * UNIT_ROWS;
  if (row / OTHER == first / OTHER) {
    let staged_unit = subgroup / 2u * AREA + (row - first) / EDGE * HEAD_UNITS;
    take_lefts(own, HEAD_UNITS, staged_unit, row % EDGE);
  }
}

/// Products of own rows with those staged: the scores of one half, d_o · v of the other.
fn make_products(own: ptr<function, Lefts>, subgroup: u32, unit: u32) {
  let half = subgroup / 2u;
  let row_unit = half * OWN_UNITS + subgroup % 2u * ROW_UNITS + unit;
  for (var n = 0u; n < OTHER_UNITS; n++) {
    let product = multiply_lefts(own, HEAD_UNITS, half * AREA + n * HEAD_UNITS);
    store_result(row_unit * OTHER_UNITS + n, product);
  }
}

/// Adds to `count` units of the sums the products of one unit of rows of the weights with staged rows.
fn add_weighted(sums: ptr<function, Results>, count: u32, row_unit: u32, first: u32) {
  for (var n = 0u; n < OTHER_UNITS; n++) {
    let weight = left_of_weights(row_unit * OTHER_UNITS + n);
    add_products(sums, count, weight, first + n * HEAD_UNITS);
  }
}

/// Writes `count` units of the sums to the rows of the result in scores, from its column `first` on, in units.
fn put_rows(sums: ptr<function, Results>, count: u32, unit: u32, first: u32) {
  for (var n = 0u; n < count; n++) {
    put_result(sums, n, unit * HEAD_UNITS + first + n);
  }
}

fn result(row: u32, quad: u32) -> vec4f {
  let unit = row / UNIT_ROWS * HEAD_UNITS + quad / EDGE_QUADS;
  return scores[unit][row % UNIT_ROWS * SCORE_STRIDE + quad % EDGE_QUADS];
}

/// Pair p of row `row` of the result.
fn result_pair(row: u32, p: u32, factor: f32) -> mat2x4f {
  let quads = min(quads_of_pair(p), vec2u(HEAD_QUADS - 1u));
  return mat2x4f(factor * result(row, quads.x), factor * result(row, quads.y));
}

fn differentiate_queries(workgroup: vec3u, count: u32, subgroup: u32, thread: u32) {
  let half = thread / HALF_THREADS;
  let kv_head = workgroup.y;
  // Those that see most keys begin first.
  let first_row = (count - 1u - workgroup.x) * OWN;
  let group = params.heads / params.kv_heads;
  let first_token = first_row / group;
  let last_token = (min(first_row + OWN, query_rows()) - 1u) / group;

  note_queries(first_row, kv_head, thread);
  workgroupBarrier();
  sum_rows(first_row, kv_head, thread, true);
  var own_0: Lefts;
  var own_1: Lefts;
  for (var first = 0u; first < OWN; first += OTHER) {
    stage_queries(first, thread);
    workgroupBarrier();
    take_own(&own_0, first, subgroup, 0u);
    if (ROW_UNITS > 1u) { take_own(&own_1, first, subgroup, 1u); }
    workgroupBarrier();
  }

  // Two threads to a row, in each half.
  let row = thread % HALF_THREADS / 2u;
  let first_column = thread % 2u * (OTHER / 2u);
  let i = query_tokens[row];
  let start_of_row = query_first_keys[row];
  let log_sum = query_sums[row];
  let row_sum = query_sums[32u + row];
  let quad = first_column / 4u;
  let weight_unit = OWN_UNITS + subgroup % 2u * ROW_UNITS;
  let first_unit = subgroup / 2u * (HEAD_UNITS / 2u);

  var sums_0: Results;
  var sums_1: Results;
  for (var start = first_key(first_token); start <= last_token; start += OTHER) {
    stage_keys(start, kv_head, thread);
    workgroupBarrier();
    make_products(&own_0, subgroup, 0u);
    if (ROW_UNITS > 1u) { make_products(&own_1, subgroup, 1u); }
    workgroupBarrier();
    if (half == 0u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let j = start + first_column + 4u * n + vec4u(0u, 1u, 2u, 3u);
        let is_seen = (vec4u(start_of_row) <= j) & (j <= vec4u(i));
        let scaled = params.scale * LOG2_E * score(row, quad + n);
        put_score(row, quad + n, weigh(scaled, vec4f(log_sum), is_seen));
      }
    }
    workgroupBarrier();
    if (half == 1u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let dp = score(OWN + row, quad + n);
        let ds = f32(GRADIENT_FACTOR) * score(row, quad + n) * (dp - row_sum);
        put_weight(OWN + row, quad + n, ds);
      }
    }
    workgroupBarrier();
    add_weighted(&sums_0, HEAD_UNITS / 2u, weight_unit, first_unit);
    if (ROW_UNITS > 1u) { add_weighted(&sums_1, HEAD_UNITS / 2u, weight_unit + 1u, first_unit); }
    workgroupBarrier();
  }

  let factor = params.scale / f32(GRADIENT_FACTOR);
  for (var round = 0u; round < 2u; round++) {
    if (subgroup % 2u == round) {
      put_rows(&sums_0, HEAD_UNITS / 2u, 0u, first_unit);
      if (ROW_UNITS > 1u) { put_rows(&sums_1, HEAD_UNITS / 2u, 1u, first_unit); }
    }
    workgroupBarrier();
    for (var n = thread; n < SUBGROUP_ROWS * (HEAD_QUADS / 2u); n += THREADS) {
      let p = n % (HEAD_QUADS / 2u);
      let result_row = n / (HEAD_QUADS / 2u);
      let noted = round * SUBGROUP_ROWS + result_row;
      if (first_row + noted < query_rows()) {
        let pair = turned_back(query_tokens[noted], p, result_pair(result_row, p, factor));
        store(query_starts[noted], quads_of_pair(p), pair);
      }
    }
    workgroupBarrier();
  }
}

fn differentiate_keys(workgroup: vec3u, subgroup: u32, thread: u32) {
  let half = thread / HALF_THREADS;
  let kv_head = workgroup.y;
  let group = params.heads / params.kv_heads;
  let first_own = workgroup.x * OWN;
  let last_own = min(first_own + OWN, params.tokens) - 1u;
  let end_row = end_of_queries(last_own) * group;

  var own_0: Lefts;
  var own_1: Lefts;
  for (var first = 0u; first < OWN; first += OTHER) {
    stage_keys(first_own + first, kv_head, thread);
    workgroupBarrier();
    take_own(&own_0, first, subgroup, 0u);
    if (ROW_UNITS > 1u) { take_own(&own_1, first, subgroup, 1u); }
    workgroupBarrier();
  }

  let row = thread % HALF_THREADS / 2u;
  let first_column = thread % 2u * (OTHER / 2u);
  let j = first_own + row;
  let quad = first_column / 4u;
  let weight_unit = subgroup / 2u * OWN_UNITS + subgroup % 2u * ROW_UNITS;
  // p goes with d_o, ds with q.
  let others = (1u - subgroup / 2u) * AREA;

  var sums_0: Results;
  var sums_1: Results;
  for (var start = first_own * group; start < end_row; start += OTHER) {
    note_queries(start, kv_head, thread);
    if (thread < 32u) {
      let noted = head_row(min(start + thread, query_rows() - 1u), kv_head);
      query_sums[32u + thread] = lse[params.tokens * params.heads + noted];
    }
    workgroupBarrier();
    stage_queries(0u, thread);
    workgroupBarrier();
    make_products(&own_0, subgroup, 0u);
    if (ROW_UNITS > 1u) { make_products(&own_1, subgroup, 1u); }
    workgroupBarrier();
    if (half == 0u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let at = first_column + 4u * n;
        let i = vec4u(query_tokens[at], query_tokens[at + 1u], query_tokens[at + 2u], query_tokens[at + 3u]);
        let starts = vec4u(
          query_first_keys[at], query_first_keys[at + 1u],
          query_first_keys[at + 2u], query_first_keys[at + 3u],
        );
        let log_sums = vec4f(
          query_sums[at], query_sums[at + 1u], query_sums[at + 2u], query_sums[at + 3u],
        );
        let is_row = start + at + vec4u(0u, 1u, 2u, 3u) < vec4u(end_row);
        let is_seen = (starts <= vec4u(j)) & (vec4u(j) <= i) & is_row;
        let p = weigh(params.scale * LOG2_E * score(row, quad + n), log_sums, is_seen);
        put_score(row, quad + n, p);
        put_weight(row, quad + n, p);
      }
    }
    workgroupBarrier();
    if (half == 1u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let at = 32u + first_column + 4u * n;
        let row_sums = vec4f(
          query_sums[at], query_sums[at + 1u], query_sums[at + 2u], query_sums[at + 3u],
        );
        let dp = score(OWN + row, quad + n);
        let ds = f32(GRADIENT_FACTOR) * score(row, quad + n) * (dp - row_sums);
        put_weight(OWN + row, quad + n, ds);
      }
    }
    workgroupBarrier();
    add_weighted(&sums_0, HEAD_UNITS, weight_unit, others);
    if (ROW_UNITS > 1u) { add_weighted(&sums_1, HEAD_UNITS, weight_unit + 1u, others); }
    workgroupBarrier();
  }

  for (var round = 0u; round < 4u; round++) {
    if (subgroup == round) {
      put_rows(&sums_0, HEAD_UNITS, 0u, 0u);
      if (ROW_UNITS > 1u) { put_rows(&sums_1, HEAD_UNITS, 1u, 0u); }
    }
    workgroupBarrier();
    let is_key = round / 2u == 1u;
    let factor = select(1.0, params.scale / f32(GRADIENT_FACTOR), is_key);
    let column = select(v_column(kv_head), k_column(kv_head), is_key);
    for (var n = thread; n < SUBGROUP_ROWS * (HEAD_QUADS / 2u); n += THREADS) {
      let p = n % (HEAD_QUADS / 2u);
      let result_row = n / (HEAD_QUADS / 2u);
      let token = first_own + round % 2u * SUBGROUP_ROWS + result_row;
      if (token < params.tokens) {
        var pair = result_pair(result_row, p, factor);
        if (is_key) { pair = turned_back(token, p, pair); }
        store(column + token * (params.stride / 4u), quads_of_pair(p), pair);
      }
    }
    workgroupBarrier();
  }
}
