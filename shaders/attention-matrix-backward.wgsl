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
// Matrices of queries and of sums lie in arrays that loops of constant length index. A compiler has to unroll them
// all to keep the matrices in registers, as matmul's blocks, named by numbers, are kept; whether drivers do is
// unproven.

const OWN = 32u;
const SUBGROUP_ROWS = 16u;
const THREADS = 4u * LANES;
const HALF_THREADS = 2u * LANES;

const ROW_UNITS = SUBGROUP_ROWS / UNIT_ROWS;
const OTHER_UNITS = OTHER / UNIT_COLUMNS;
const OTHER_STEPS = OTHER / UNIT_DEPTH;
const HEAD_STEPS = COLUMNS / UNIT_DEPTH;
const HEAD_UNITS = COLUMNS / UNIT_COLUMNS;
const HEAD_QUADS = COLUMNS / 4u;
// Columns of scores that a thread has, in quads.
const THREAD_QUADS = OTHER / 8u;

const ROW_STRIDE = HEAD_QUADS + PADDING_QUADS;
const AREA = OTHER * ROW_STRIDE;
const SCORE_STRIDE = OTHER / 4u + 1u;
const WEIGHT_STRIDE = OTHER / 4u + PADDING_QUADS;
const RESULT_STRIDE = HEAD_QUADS + 1u;

// OTHER rows of q (or k), then of d_o (or v).
var<workgroup> staged: array<vec4<Shared>, 2u * AREA>;
// p and ds, of each own row.
var<workgroup> weights: array<vec4<Shared>, 2u * OWN * WEIGHT_STRIDE>;
// q · k, then p; d_o · v. At the end 16 rows of the result.
var<workgroup> scores:
  array<vec4f, max(2u * OWN * SCORE_STRIDE, SUBGROUP_ROWS * RESULT_STRIDE)>;

alias Own = array<Left, ROW_UNITS * HEAD_STEPS>;
alias Sums = array<Result, ROW_UNITS * HEAD_UNITS>;
alias HalfSums = array<Result, ROW_UNITS * HEAD_UNITS / 2u>;

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
    staged[row * ROW_STRIDE + quad] = query;
    staged[AREA + row * ROW_STRIDE + quad] = gradient;
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
    staged[row * ROW_STRIDE + quad] = key;
    staged[AREA + row * ROW_STRIDE + quad] = value;
  }
}

/// Takes a subgroup's own rows, if they are among the OTHER from `first` on that are staged.
fn take_own(own: ptr<function, Own>, first: u32, subgroup: u32) {
  let first_row = subgroup % 2u * SUBGROUP_ROWS;
  if (first_row / OTHER == first / OTHER) {
    for (var row = 0u; row < ROW_UNITS; row++) {
      let at = subgroup / 2u * AREA + (first_row + row * UNIT_ROWS - first) * ROW_STRIDE;
      for (var k = 0u; k < HEAD_STEPS; k++) {
        (*own)[row * HEAD_STEPS + k] = left_of_rows(at + k * (UNIT_DEPTH / 4u));
      }
    }
  }
}

/// Products of own rows with those staged: the scores of one half, d_o · v of the other.
fn make_products(own: ptr<function, Own>, subgroup: u32) {
  let half = subgroup / 2u;
  for (var row = 0u; row < ROW_UNITS; row++) {
    for (var column = 0u; column < OTHER_UNITS; column++) {
      // Not left to WGSL's zero: in a loop, dawn.node 0.6.2 keeps what an array without initializer held before.
      var sum = Result();
      let others = half * AREA + column * UNIT_COLUMNS * ROW_STRIDE;
      for (var k = 0u; k < HEAD_STEPS; k++) {
        let right = right_of_columns(others + k * (UNIT_DEPTH / 4u));
        sum = multiply_add((*own)[row * HEAD_STEPS + k], right, sum);
      }
      let at = half * OWN + subgroup % 2u * SUBGROUP_ROWS + row * UNIT_ROWS;
      store_result(at * SCORE_STRIDE + column * (UNIT_COLUMNS / 4u), SCORE_STRIDE, sum);
    }
  }
}

/// Writes a unit of the sums to the rows of the result in scores.
fn put_unit(unit: Result, row: u32, column: u32) {
  let at = row * UNIT_ROWS * RESULT_STRIDE + column * (UNIT_COLUMNS / 4u);
  store_result(at, RESULT_STRIDE, unit);
}

/// Pair p of row `row` of the result.
fn result_pair(row: u32, p: u32, factor: f32) -> mat2x4f {
  let quads = min(quads_of_pair(p), vec2u(HEAD_QUADS - 1u));
  let at = row * RESULT_STRIDE;
  return mat2x4f(factor * scores[at + quads.x], factor * scores[at + quads.y]);
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
  var own: Own;
  for (var first = 0u; first < OWN; first += OTHER) {
    stage_queries(first, thread);
    workgroupBarrier();
    take_own(&own, first, subgroup);
    workgroupBarrier();
  }

  // Two threads to a row, in each half.
  let row = thread % HALF_THREADS / 2u;
  let first_column = thread % 2u * (OTHER / 2u);
  let i = query_tokens[row];
  let start_of_row = query_first_keys[row];
  let log_sum = query_sums[row];
  let row_sum = query_sums[32u + row];
  let scores_at = row * SCORE_STRIDE + first_column / 4u;
  let weights_at = (OWN + row) * WEIGHT_STRIDE + first_column / 4u;
  let own_row = subgroup % 2u * SUBGROUP_ROWS;
  let first_unit = subgroup / 2u * (HEAD_UNITS / 2u);

  var sums: HalfSums;
  for (var start = first_key(first_token); start <= last_token; start += OTHER) {
    stage_keys(start, kv_head, thread);
    workgroupBarrier();
    make_products(&own, subgroup);
    workgroupBarrier();
    if (half == 0u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let j = start + first_column + 4u * n + vec4u(0u, 1u, 2u, 3u);
        let is_seen = (vec4u(start_of_row) <= j) & (j <= vec4u(i));
        let score = params.scale * LOG2_E * scores[scores_at + n];
        scores[scores_at + n] = weigh(score, vec4f(log_sum), is_seen);
      }
    }
    workgroupBarrier();
    if (half == 1u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let dp = scores[OWN * SCORE_STRIDE + scores_at + n];
        let ds = f32(GRADIENT_FACTOR) * scores[scores_at + n] * (dp - row_sum);
        weights[weights_at + n] = vec4<Shared>(ds);
      }
    }
    workgroupBarrier();
    for (var unit = 0u; unit < ROW_UNITS; unit++) {
      for (var k = 0u; k < OTHER_STEPS; k++) {
        let at = (OWN + own_row + unit * UNIT_ROWS) * WEIGHT_STRIDE + k * (UNIT_DEPTH / 4u);
        let ds = left_of_weights(at);
        for (var column = 0u; column < HEAD_UNITS / 2u; column++) {
          let keys_at = k * UNIT_DEPTH * ROW_STRIDE + (first_unit + column) * (UNIT_COLUMNS / 4u);
          let sum = sums[unit * (HEAD_UNITS / 2u) + column];
          sums[unit * (HEAD_UNITS / 2u) + column] = multiply_add(ds, right_of_rows(keys_at), sum);
        }
      }
    }
    workgroupBarrier();
  }

  let factor = params.scale / f32(GRADIENT_FACTOR);
  for (var round = 0u; round < 2u; round++) {
    if (subgroup % 2u == round) {
      for (var unit = 0u; unit < ROW_UNITS; unit++) {
        for (var column = 0u; column < HEAD_UNITS / 2u; column++) {
          put_unit(sums[unit * (HEAD_UNITS / 2u) + column], unit, first_unit + column);
        }
      }
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

  var own: Own;
  for (var first = 0u; first < OWN; first += OTHER) {
    stage_keys(first_own + first, kv_head, thread);
    workgroupBarrier();
    take_own(&own, first, subgroup);
    workgroupBarrier();
  }

  let row = thread % HALF_THREADS / 2u;
  let first_column = thread % 2u * (OTHER / 2u);
  let j = first_own + row;
  let scores_at = row * SCORE_STRIDE + first_column / 4u;
  let weights_at = row * WEIGHT_STRIDE + first_column / 4u;
  let own_row = subgroup / 2u * OWN + subgroup % 2u * SUBGROUP_ROWS;
  // p goes with d_o, ds with q.
  let others = (1u - subgroup / 2u) * AREA;

  var sums: Sums;
  for (var start = first_own * group; start < end_row; start += OTHER) {
    note_queries(start, kv_head, thread);
    if (thread < 32u) {
      let noted = head_row(min(start + thread, query_rows() - 1u), kv_head);
      query_sums[32u + thread] = lse[params.tokens * params.heads + noted];
    }
    workgroupBarrier();
    stage_queries(0u, thread);
    workgroupBarrier();
    make_products(&own, subgroup);
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
        let p = weigh(params.scale * LOG2_E * scores[scores_at + n], log_sums, is_seen);
        scores[scores_at + n] = p;
        weights[weights_at + n] = vec4<Shared>(p);
      }
    }
    workgroupBarrier();
    if (half == 1u) {
      for (var n = 0u; n < THREAD_QUADS; n++) {
        let at = 32u + first_column + 4u * n;
        let row_sums = vec4f(
          query_sums[at], query_sums[at + 1u], query_sums[at + 2u], query_sums[at + 3u],
        );
        let dp = scores[OWN * SCORE_STRIDE + scores_at + n];
        let ds = f32(GRADIENT_FACTOR) * scores[scores_at + n] * (dp - row_sums);
        weights[OWN * WEIGHT_STRIDE + weights_at + n] = vec4<Shared>(ds);
      }
    }
    workgroupBarrier();
    for (var unit = 0u; unit < ROW_UNITS; unit++) {
      for (var k = 0u; k < OTHER_STEPS; k++) {
        let at = (own_row + unit * UNIT_ROWS) * WEIGHT_STRIDE + k * (UNIT_DEPTH / 4u);
        let weight = left_of_weights(at);
        for (var column = 0u; column < HEAD_UNITS; column++) {
          let right_at = others + k * UNIT_DEPTH * ROW_STRIDE + column * (UNIT_COLUMNS / 4u);
          let sum = sums[unit * HEAD_UNITS + column];
          sums[unit * HEAD_UNITS + column] = multiply_add(weight, right_of_rows(right_at), sum);
        }
      }
    }
    workgroupBarrier();
  }

  for (var round = 0u; round < 4u; round++) {
    if (subgroup == round) {
      for (var unit = 0u; unit < ROW_UNITS; unit++) {
        for (var column = 0u; column < HEAD_UNITS; column++) {
          put_unit(sums[unit * HEAD_UNITS + column], unit, column);
        }
      }
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
