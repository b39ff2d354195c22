// Attention over lanes: what attention.wgsl makes, shared out as lib/attention-lanes.wgsl says.
//
//   o    Act  [tokens, heads, head size]
//   lse  f32  [2, tokens, heads]           its first half: log Σ exp(scores)
//
// A workgroup owns eight queries of one head. The largest score so far is kept by row, and what was summed before is
// scaled down where a larger one turns up. Each lane sums the weights of its own keys; they meet at the end.

@group(0) @binding(4) var<storage, read_write> o: array<vec4<Act>>;

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) lane: u32) {
  let head = workgroup.y;
  let kv_head = head / (params.heads / params.kv_heads);
  let stride = params.stride / 4u;
  let first = workgroup.x * ROWS;
  let last_query = min(first + ROWS, params.tokens) - 1u;

  let i = first + FOUR;
  let starts = Starts(first_keys(four_from(first)), first_keys(four_from(first + 4u)));
  let q_rows = tokens_of(first, lane) * stride + q_column(head);
  let quad = workgroup.z * SLOTS * LANES + lane;
  // Lanes without a quad of the head sum its last one in vain.
  let v_quads = v_column(kv_head) + min(quad + FOUR * LANES, vec4u(params.head_quads - 1u));

  var largest = Eight(vec4f(LOWEST), vec4f(LOWEST));
  var sum = Eight();
  var out_0 = EightQuads();
  var out_1 = EightQuads();
  var out_2 = EightQuads();
  var out_3 = EightQuads();
  for (var start = first_key(first); start <= last_query; start += ROWS) {
    let key = start + lane;
    let scores = dots(q_rows, tokens_of(start, lane) * stride + k_column(kv_head));
    let seen = Pieces(
      Eight(
        masked(scores.a.low, key, i, starts.low), masked(scores.a.high, key, i + 4u, starts.high),
      ),
      Eight(
        masked(scores.b.low, key + 4u, i, starts.low),
        masked(scores.b.high, key + 4u, i + 4u, starts.high),
      ),
    );
    let higher = Eight(
      max(largest.low, largest_of(seen.a.low, seen.b.low)),
      max(largest.high, largest_of(seen.a.high, seen.b.high)),
    );
    let weights = Pieces(
      Eight(weigh(seen.a.low, higher.low), weigh(seen.a.high, higher.high)),
      Eight(weigh(seen.b.low, higher.low), weigh(seen.b.high, higher.high)),
    );

    let kept = Eight(exp(largest.low - higher.low), exp(largest.high - higher.high));
    largest = higher;
    sum = Eight(sum.low * kept.low + weights.a.low, sum.high * kept.high + weights.a.high);
    if (LANES < ROWS) {
      sum = Eight(sum.low + weights.b.low, sum.high + weights.b.high);
    }
    out_0 = scaled(out_0, kept);
    if (SLOTS > 1u) { out_1 = scaled(out_1, kept); }
    if (SLOTS > 2u) {
      out_2 = scaled(out_2, kept);
      out_3 = scaled(out_3, kept);
    }

    // A loop, since software adapters take long to compile loads.
    let of_first = first_weights(weights);
    let of_last = last_weights(weights);
    for (var four = 0u; four < ROWS; four += 4u) {
      var w = of_first;
      if (four > 0u) { w = of_last; }
      let at = four_from(start + four) * stride;
      out_0 = add_weighted(out_0, w, quads_at(at + v_quads.x));
      if (SLOTS > 1u) { out_1 = add_weighted(out_1, w, quads_at(at + v_quads.y)); }
      if (SLOTS > 2u) {
        out_2 = add_weighted(out_2, w, quads_at(at + v_quads.z));
        out_3 = add_weighted(out_3, w, quads_at(at + v_quads.w));
      }
    }
  }

  let total = Eight(sum_of_lanes(sum.low), sum_of_lanes(sum.high));
  let share = Eight(1.0 / total.low, 1.0 / total.high);
  write_o(i, head, quad, scaled(out_0, share));
  if (SLOTS > 1u) { write_o(i, head, quad + LANES, scaled(out_1, share)); }
  if (SLOTS > 2u) {
    write_o(i, head, quad + 2u * LANES, scaled(out_2, share));
    write_o(i, head, quad + 3u * LANES, scaled(out_3, share));
  }
  if (quad == 0u) {
    write_lse(i, head, largest.low + log(total.low));
    write_lse(i + 4u, head, largest.high + log(total.high));
  }
}

/// First keys of eight queries.
struct Starts {
  low: vec4u,
  high: vec4u,
}

/// Of four rows, the largest number that any lane has.
fn largest_of(a: vec4f, b: vec4f) -> vec4f {
  let first = of_first_four(a);
  let last = of_last_four(a, b);
  return max(
    max(max(first[0], first[1]), max(first[2], first[3])),
    max(max(last[0], last[1]), max(last[2], last[3])),
  );
}

/// Of four rows, the sum of what lanes have.
fn sum_of_lanes(a: vec4f) -> vec4f {
  let first = of_first_four(a);
  let sum = (first[0] + first[1]) + (first[2] + first[3]);
  if (LANES < ROWS) { return sum; }
  let last = of_last_four(a, a);
  return sum + ((last[0] + last[1]) + (last[2] + last[3]));
}

fn scaled(rows: EightQuads, factor: Eight) -> EightQuads {
  return EightQuads(scaled_four(rows.low, factor.low), scaled_four(rows.high, factor.high));
}

fn scaled_four(rows: mat4x4f, factor: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * factor.x, rows[1] * factor.y, rows[2] * factor.z, rows[3] * factor.w);
}

fn write_o(i: vec4u, head: u32, quad: u32, rows: EightQuads) {
  if (quad < params.head_quads) {
    write_four(i, head, quad, rows.low);
    write_four(i + 4u, head, quad, rows.high);
  }
}

fn write_four(tokens: vec4u, head: u32, quad: u32, rows: mat4x4f) {
  let at = (tokens * params.heads + head) * params.head_quads + quad;
  if (tokens.x < params.tokens) { o[at.x] = vec4<Act>(rows[0]); }
  if (tokens.y < params.tokens) { o[at.y] = vec4<Act>(rows[1]); }
  if (tokens.z < params.tokens) { o[at.z] = vec4<Act>(rows[2]); }
  if (tokens.w < params.tokens) { o[at.w] = vec4<Act>(rows[3]); }
}

fn write_lse(tokens: vec4u, head: u32, log_sums: vec4f) {
  let at = tokens * params.heads + head;
  if (tokens.x < params.tokens) { lse[at.x] = log_sums.x; }
  if (tokens.y < params.tokens) { lse[at.y] = log_sums.y; }
  if (tokens.z < params.tokens) { lse[at.z] = log_sums.z; }
  if (tokens.w < params.tokens) { lse[at.w] = log_sums.w; }
}
