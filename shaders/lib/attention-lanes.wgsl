// Attention's scores, eight rows by eight, where lanes hand rows to each other: for adapters that pay for loads, not
// for multiplications.
//
//   rows  Quad  as qkv of lib/attention-rows.wgsl, in the type that is loaded fastest
//
// A workgroup is LANES lanes, 8 or 4, of subgroups that have as many neighboring ones or more. It owns eight rows
// of one head, queries or keys, and walks over the rows that they pair with, eight at a time. Of either side a lane
// loads one row, or where LANES is 4 two: rows `lane` and `lane + 4`. First it makes the products of its others
// with all own rows, whose numbers it gets from their lanes' registers. Then it sums, for all own rows, its quads of
// the result over all others, whose weights it gets from their lanes: SLOTS quads, LANES apart. Longer heads are cut
// into slices, each of which makes the scores again.
//
// All lanes stay together to the end: rows past the end repeat the last one, and are not stored. Sums are f32, in a
// fixed order, and have names: software adapters are slow at arrays.

const ROWS = 8u;
// The lane that has row 4 of eight; those of rows 5 to 7 follow.
const LANE_OF_4 = LANES - 4u;

// Another name for what is bound as qkv; no entry point uses both.
@group(0) @binding(1) var<storage, read> rows: array<Quad>;

/// A number for each of eight own rows.
struct Eight {
  low: vec4f,
  high: vec4f,
}

/// A quad for each of eight own rows.
struct EightQuads {
  low: mat4x4f,
  high: mat4x4f,
}

/// What a lane has made of eight own rows and its others; of `b` nobody uses anything where LANES is 8.
struct Pieces {
  a: Eight,
  b: Eight,
}

/// The tokens whose rows a lane loads, of eight from `first` on.
fn tokens_of(first: u32, lane: u32) -> vec2u {
  return min(vec2u(first + lane) + vec2u(0u, 4u), vec2u(params.tokens - 1u));
}

/// Tokens `first` to `first + 3`.
fn four_from(first: u32) -> vec4u {
  return min(first + FOUR, vec4u(params.tokens - 1u));
}

/// What the lanes of rows 0 to 3 hold.
fn of_first_four(a: vec4f) -> mat4x4f {
  return mat4x4f(
    subgroupBroadcast(a, 0u), subgroupBroadcast(a, 1u),
    subgroupBroadcast(a, 2u), subgroupBroadcast(a, 3u),
  );
}

/// What those of rows 4 to 7 do: of lanes with two rows, in the second.
fn of_last_four(a: vec4f, b: vec4f) -> mat4x4f {
  var held = b;
  if (LANES == ROWS) { held = a; }
  return mat4x4f(
    subgroupBroadcast(held, LANE_OF_4), subgroupBroadcast(held, LANE_OF_4 + 1u),
    subgroupBroadcast(held, LANE_OF_4 + 2u), subgroupBroadcast(held, LANE_OF_4 + 3u),
  );
}

/// Products of heads at own rows with those at a lane's others; quads that heads begin at.
fn dots(own: vec2u, other: vec2u) -> Pieces {
  var sums = Pieces();
  for (var quad = 0u; quad < params.head_quads; quad++) {
    sums = add_dots(
      sums, widen(rows[own.x + quad]), widen(rows[own.y + quad]),
      widen(rows[other.x + quad]), widen(rows[other.y + quad]),
    );
  }
  return sums;
}

/// The same over one quad, of a lane's own and its others.
fn add_dots(sums: Pieces, own_a: vec4f, own_b: vec4f, other_a: vec4f, other_b: vec4f) -> Pieces {
  let low = of_first_four(own_a);
  let high = of_last_four(own_a, own_b);
  return Pieces(
    Eight(sums.a.low + other_a * low, sums.a.high + other_a * high),
    Eight(sums.b.low + other_b * low, sums.b.high + other_b * high),
  );
}

/// One quad of each of four rows of heads.
fn quads_at(at: vec4u) -> mat4x4f {
  return mat4x4f(widen(rows[at.x]), widen(rows[at.y]), widen(rows[at.z]), widen(rows[at.w]));
}

/// What the first four others weigh in each own row.
fn first_weights(weights: Pieces) -> EightQuads {
  return EightQuads(
    transpose(of_first_four(weights.a.low)), transpose(of_first_four(weights.a.high)),
  );
}

/// What the last four do.
fn last_weights(weights: Pieces) -> EightQuads {
  return EightQuads(
    transpose(of_last_four(weights.a.low, weights.b.low)),
    transpose(of_last_four(weights.a.high, weights.b.high)),
  );
}

/// Adds a quad of four others, weighted, to that quad of each own row.
fn add_weighted(sums: EightQuads, weights: EightQuads, values: mat4x4f) -> EightQuads {
  return EightQuads(sums.low + values * weights.low, sums.high + values * weights.high);
}

/// Scores of four queries with a key, and LOWEST where they do not see it.
fn masked(scores: vec4f, key: u32, queries: vec4u, starts: vec4u) -> vec4f {
  let is_seen = (starts <= vec4u(key)) & (vec4u(key) <= queries);
  return select(vec4f(LOWEST), params.scale * scores, is_seen);
}

/// exp(scores − reference), and 0 for what is masked.
fn weigh(scores: vec4f, reference: vec4f) -> vec4f {
  return select(vec4f(), exp(scores - reference), scores > vec4f(LOWEST));
}
