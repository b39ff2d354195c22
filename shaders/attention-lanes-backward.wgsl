// The gradient of attention over lanes: what attention-backward.wgsl makes, shared out as lib/attention-lanes.wgsl
// says.
//
//   d_o    Quad  [tokens, heads, head size]
//   o      Quad  [tokens, heads, head size]
//   d_qkv  Act   as qkv
//
// A workgroup owns eight queries of one head, or in backward_keys eight keys of one key head, over all query heads of
// which it adds up. backward_queries runs first and leaves Σ d_o ∘ o to backward_keys. Slots are filled with the first
// quads of pairs, then with the second: two lanes may hold a pair of lib/turn-back.wgsl, which meets in workgroup
// memory when it is stored.

@group(0) @binding(3) var<storage, read> d_o: array<Quad>;
@group(0) @binding(4) var<storage, read> o: array<Quad>;
@group(0) @binding(6) var<storage, read_write> d_qkv: array<vec4<Act>>;

const PAIRS = SLOTS * LANES / 2u; // of a slice of a head

// [own row][quad of the slice]
var<workgroup> gradients: array<vec4f, ROWS * 2u * PAIRS>;

/// As dots(), with own rows of d_o.
fn d_o_dots(own: vec2u, other: vec2u) -> Pieces {
  var sums = Pieces();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums = add_dots(
      sums, widen(d_o[own.x + quad]), widen(d_o[own.y + quad]),
      widen(rows[other.x + quad]), widen(rows[other.y + quad]),
    );
  }
  return sums;
}

/// The same with other rows of d_o.
fn dots_d_o(own: vec2u, other: vec2u) -> Pieces {
  var sums = Pieces();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums = add_dots(
      sums, widen(rows[own.x + quad]), widen(rows[own.y + quad]),
      widen(d_o[other.x + quad]), widen(d_o[other.y + quad]),
    );
  }
  return sums;
}

fn d_o_quads_at(at: vec4u) -> mat4x4f {
  return mat4x4f(widen(d_o[at.x]), widen(d_o[at.y]), widen(d_o[at.z]), widen(d_o[at.w]));
}

@compute @workgroup_size(LANES)
fn backward_queries(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let head = workgroup.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let stride = params.stride / 4u;
  let first = workgroup.x * ROWS;
  let last_query = min(first + ROWS, params.tokens) - 1u;

  let i = first + FOUR;
  let low = four_from(first);
  let high = four_from(first + 4u);
  let starts_low = first_keys(low);
  let starts_high = first_keys(high);
  let log_sums = Eight(numbers_at(low * params.heads + head), numbers_at(high * params.heads + head));
  let own = tokens_of(first, lane);
  let q_rows = own * stride + q_column(head);
  let d_o_rows = (own * params.heads + head) * params.head_quads;
  let own_sums = vec2f(row_sum(d_o_rows.x), row_sum(d_o_rows.y));
  let row_sums = Eight(numbers_of_first_four(own_sums.x), numbers_of_last_four(own_sums));
  if (workgroup.z == 0u) {
    let at = (params.tokens + first + lane) * params.heads + head;
    if (first + lane < params.tokens) { lse[at] = own_sums.x; }
    if (LANES < ROWS && first + lane + 4u < params.tokens) {
      lse[at + 4u * params.heads] = own_sums.y;
    }
  }
  let k_quads = k_column(kv_head) + min(quads_of(workgroup.z, lane), vec4u(params.head_quads - 1u));

  var dq_0 = EightQuads();
  var dq_1 = EightQuads();
  var dq_2 = EightQuads();
  var dq_3 = EightQuads();
  for (var start = first_key(first); start <= last_query; start += ROWS) {
    let key = start + lane;
    let others = tokens_of(start, lane) * stride;
    let scores = dots(q_rows, others + k_column(kv_head));
    let dp = d_o_dots(d_o_rows, others + v_column(kv_head));
    let ds = Pieces(
      Eight(
        params.scale * weigh(masked(scores.a.low, key, i, starts_low), log_sums.low)
          * (dp.a.low - row_sums.low),
        params.scale * weigh(masked(scores.a.high, key, i + 4u, starts_high), log_sums.high)
          * (dp.a.high - row_sums.high),
      ),
      Eight(
        params.scale * weigh(masked(scores.b.low, key + 4u, i, starts_low), log_sums.low)
          * (dp.b.low - row_sums.low),
        params.scale * weigh(masked(scores.b.high, key + 4u, i + 4u, starts_high), log_sums.high)
          * (dp.b.high - row_sums.high),
      ),
    );

    // A loop, since software adapters take long to compile loads.
    let of_first = first_weights(ds);
    let of_last = last_weights(ds);
    for (var four = 0u; four < ROWS; four += 4u) {
      var w = of_first;
      if (four > 0u) { w = of_last; }
      let at = four_from(start + four) * stride;
      dq_0 = add_weighted(dq_0, w, quads_at(at + k_quads.x));
      if (SLOTS > 1u) { dq_1 = add_weighted(dq_1, w, quads_at(at + k_quads.y)); }
      if (SLOTS > 2u) {
        dq_2 = add_weighted(dq_2, w, quads_at(at + k_quads.z));
        dq_3 = add_weighted(dq_3, w, quads_at(at + k_quads.w));
      }
    }
  }

  hold(lane, dq_0);
  if (SLOTS > 1u) { hold(lane + LANES, dq_1); }
  if (SLOTS > 2u) {
    hold(lane + 2u * LANES, dq_2);
    hold(lane + 3u * LANES, dq_3);
  }
  workgroupBarrier();
  write_turned(first, q_column(head), workgroup.z, lane);
}

@compute @workgroup_size(LANES)
fn backward_keys(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_head = workgroup.y;
  let group = params.heads / params.kv_heads;
  let stride = params.stride / 4u;
  let first = workgroup.x * ROWS;

  let j = first + FOUR;
  let own = tokens_of(first, lane) * stride;
  let quads = min(quads_of(workgroup.z, lane), vec4u(params.head_quads - 1u));
  let end = end_of_queries(min(first + ROWS, params.tokens) - 1u);

  var dk_0 = EightQuads();
  var dk_1 = EightQuads();
  var dk_2 = EightQuads();
  var dk_3 = EightQuads();
  var dv_0 = EightQuads();
  var dv_1 = EightQuads();
  var dv_2 = EightQuads();
  var dv_3 = EightQuads();
  for (var head = kv_head * group; head < (kv_head + 1u) * group; head++) {
    for (var start = first; start < end; start += ROWS) {
      let i = start + lane;
      let token = tokens_of(start, lane);
      let heads = token * params.heads + head;
      let sums = params.tokens * params.heads + heads;
      let scores = dots(own + k_column(kv_head), token * stride + q_column(head));
      let dp = dots_d_o(own + v_column(kv_head), heads * params.head_quads);
      let start_a = first_key(token.x);
      let start_b = first_key(token.y);
      let p = Pieces(
        Eight(
          weigh_keys(scores.a.low, i, j, start_a, lse[heads.x]),
          weigh_keys(scores.a.high, i, j + 4u, start_a, lse[heads.x]),
        ),
        Eight(
          weigh_keys(scores.b.low, i + 4u, j, start_b, lse[heads.y]),
          weigh_keys(scores.b.high, i + 4u, j + 4u, start_b, lse[heads.y]),
        ),
      );
      let ds = Pieces(
        Eight(
          params.scale * p.a.low * (dp.a.low - lse[sums.x]),
          params.scale * p.a.high * (dp.a.high - lse[sums.x]),
        ),
        Eight(
          params.scale * p.b.low * (dp.b.low - lse[sums.y]),
          params.scale * p.b.high * (dp.b.high - lse[sums.y]),
        ),
      );

      let ds_first = first_weights(ds);
      let ds_last = last_weights(ds);
      let p_first = first_weights(p);
      let p_last = last_weights(p);
      for (var four = 0u; four < ROWS; four += 4u) {
        var of_ds = ds_first;
        var of_p = p_first;
        if (four > 0u) {
          of_ds = ds_last;
          of_p = p_last;
        }
        let tokens = four_from(start + four);
        let q_at = tokens * stride + q_column(head);
        let d_o_at = (tokens * params.heads + head) * params.head_quads;
        dk_0 = add_weighted(dk_0, of_ds, quads_at(q_at + quads.x));
        dv_0 = add_weighted(dv_0, of_p, d_o_quads_at(d_o_at + quads.x));
        if (SLOTS > 1u) {
          dk_1 = add_weighted(dk_1, of_ds, quads_at(q_at + quads.y));
          dv_1 = add_weighted(dv_1, of_p, d_o_quads_at(d_o_at + quads.y));
        }
        if (SLOTS > 2u) {
          dk_2 = add_weighted(dk_2, of_ds, quads_at(q_at + quads.z));
          dv_2 = add_weighted(dv_2, of_p, d_o_quads_at(d_o_at + quads.z));
          dk_3 = add_weighted(dk_3, of_ds, quads_at(q_at + quads.w));
          dv_3 = add_weighted(dv_3, of_p, d_o_quads_at(d_o_at + quads.w));
        }
      }
    }
  }

  hold(lane, dk_0);
  if (SLOTS > 1u) { hold(lane + LANES, dk_1); }
  if (SLOTS > 2u) {
    hold(lane + 2u * LANES, dk_2);
    hold(lane + 3u * LANES, dk_3);
  }
  workgroupBarrier();
  write_turned(first, k_column(kv_head), workgroup.z, lane);
  workgroupBarrier();
  hold(lane, dv_0);
  if (SLOTS > 1u) { hold(lane + LANES, dv_1); }
  if (SLOTS > 2u) {
    hold(lane + 2u * LANES, dv_2);
    hold(lane + 3u * LANES, dv_3);
  }
  workgroupBarrier();
  write_plain(first, v_column(kv_head), workgroup.z, lane);
}

/// The quads of a head that a lane sums in its slots.
fn quads_of(slice: u32, lane: u32) -> vec4u {
  return vec4u(
    quad_of(slice, lane), quad_of(slice, lane + LANES),
    quad_of(slice, lane + 2u * LANES), quad_of(slice, lane + 3u * LANES),
  );
}

/// The first quads of a slice's pairs, then the second ones.
fn quad_of(slice: u32, place: u32) -> u32 {
  let quads = quads_of_pair(slice * PAIRS + place % PAIRS);
  return select(quads.x, quads.y, place / PAIRS % 2u == 1u);
}

fn numbers_at(at: vec4u) -> vec4f {
  return vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
}

fn numbers_of_first_four(a: f32) -> vec4f {
  return vec4f(
    subgroupBroadcast(a, 0u), subgroupBroadcast(a, 1u),
    subgroupBroadcast(a, 2u), subgroupBroadcast(a, 3u),
  );
}

fn numbers_of_last_four(held: vec2f) -> vec4f {
  var a = held.y;
  if (LANES == ROWS) { a = held.x; }
  return vec4f(
    subgroupBroadcast(a, LANE_OF_4), subgroupBroadcast(a, LANE_OF_4 + 1u),
    subgroupBroadcast(a, LANE_OF_4 + 2u), subgroupBroadcast(a, LANE_OF_4 + 3u),
  );
}

/// Σ d_o ∘ o of one row.
fn row_sum(row: u32) -> f32 {
  var sum = 0.0;
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sum += dot(widen(d_o[row + quad]), widen(o[row + quad]));
  }
  return sum;
}

/// What query i gives to four keys: exp(scale · scores − log_sum), and 0 where it does not see them.
fn weigh_keys(scores: vec4f, i: u32, keys: vec4u, start: u32, log_sum: f32) -> vec4f {
  let is_seen = (vec4u(start) <= keys) & (keys <= vec4u(i)) & vec4<bool>(i < params.tokens);
  return select(vec4f(), exp(params.scale * scores - log_sum), is_seen);
}

/// Leaves one quad of eight rows where those that store it find it.
fn hold(place: u32, rows: EightQuads) {
  gradients[place] = rows.low[0];
  gradients[place + 2u * PAIRS] = rows.low[1];
  gradients[place + 4u * PAIRS] = rows.low[2];
  gradients[place + 6u * PAIRS] = rows.low[3];
  gradients[place + 8u * PAIRS] = rows.high[0];
  gradients[place + 10u * PAIRS] = rows.high[1];
  gradients[place + 12u * PAIRS] = rows.high[2];
  gradients[place + 14u * PAIRS] = rows.high[3];
}

/// Stores what is held of a query or key head.
fn write_turned(first: u32, column: u32, slice: u32, lane: u32) {
  for (var at = lane; at < ROWS * PAIRS; at += LANES) {
    let token = first + at / PAIRS;
    let p = slice * PAIRS + at % PAIRS;
    write_pair(token, column, quads_of_pair(p), turned_back(token, p, pair_at(at)));
  }
}

/// The same of a value head.
fn write_plain(first: u32, column: u32, slice: u32, lane: u32) {
  for (var at = lane; at < ROWS * PAIRS; at += LANES) {
    let p = slice * PAIRS + at % PAIRS;
    write_pair(first + at / PAIRS, column, quads_of_pair(p), pair_at(at));
  }
}

fn pair_at(at: u32) -> mat2x4f {
  let place = at / PAIRS * 2u * PAIRS + at % PAIRS;
  return mat2x4f(gradients[place], gradients[place + PAIRS]);
}

fn write_pair(token: u32, column: u32, quads: vec2u, pair: mat2x4f) {
  if (token < params.tokens) {
    let at = token * (params.stride / 4u) + column;
    if (quads.x < params.head_quads) { d_qkv[at + quads.x] = vec4<Act>(pair[0]); }
    if (quads.y < params.head_quads) { d_qkv[at + quads.y] = vec4<Act>(pair[1]); }
  }
}
