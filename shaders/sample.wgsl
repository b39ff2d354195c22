// The next token, drawn from one row of logits as Hugging Face's processors do it, in their order:
//
//   score = logit ≥ 0 ? logit / penalty : logit · penalty   for tokens already seen; else logit
//   top-k   keeps the k best
//   top-p   keeps the fewest best whose share of Σ exp(score / temperature) over top-k's is ≥ p
//   draw    one of the kept with probability ∝ exp(score / temperature); temperature 0: the best
//
//   logits        f32  [rows, vocab]
//   seen          u32  [vocab]   1 for tokens of the prompt and those drawn
//   token         u32  [1]       the one drawn
//   drawn         u32  [slots, 2]  it again, and the bits of its probability (its softmax over the row as
//                                it is: no penalty, temperature 1), in slot step.position mod slots
//   distribution  f32  [vocab]   entry distribute: the probabilities that forward draws by
//
// One workgroup of LANES threads; thread `lane` looks after the tokens lane, lane + LANES, … The whole
// row is walked a few times only: if top_k ≤ LANES, what could be kept is listed first, and the
// thresholds are looked for in the list. Scores are compared by `key`, their bit pattern made monotone,
// so a threshold is found exactly, two bits a pass. Tokens of equal score are kept or dropped together
// (Hugging Face: the same for k; for p it depends on the sort); of equal best scores the lowest id is
// best. Shares are f32 sums: a share within about 1e-6 of p may fall on either side. Any vocab.
//
// Needs lib/step.wgsl, lib/reduce-vec4.wgsl, and LANES = LANES_ROOT². Loops over the lanes are bounded
// by a parameter: unrolled, they take Mesa's compiler a minute.

struct Params { vocab: u32, row: u32, lanes: u32, slots: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> seen: array<u32>;
@group(0) @binding(3) var<storage, read_write> token: array<u32>;
@group(0) @binding(4) var<storage, read_write> drawn: array<vec2u>;
@group(0) @binding(5) var<storage, read_write> distribution: array<f32>;

const CAPACITY = 1024u; // of the list
const LAST_ROW = 0xffffffffu;
const LOWEST = -0x1.fffffep+127;

/// What each lane has found, for the others to see.
var<workgroup> lane_keys: array<u32, LANES>;
var<workgroup> lane_ids: array<u32, LANES>;
var<workgroup> lane_counts: array<u32, LANES>;
var<workgroup> lane_masses: array<vec2f, LANES>;
var<workgroup> bound: u32;
var<workgroup> list: array<u32, CAPACITY>;

/// What is kept, and what masses are relative to.
struct Filter {
  best: u32,           // id of the best token
  best_score: f32,
  largest_logit: f32,
  lowest_key: u32,     // tokens of this key or above are kept
  candidates: u32,     // how many tokens to look at
  is_listed: bool,     // they are those in the list; else all
}

/// Sums over the tokens of the lanes before this one, of this one, and of all.
struct Shares { before: f32, own: f32, total: f32, unfiltered: f32 }

@compute @workgroup_size(LANES)
fn forward(@builtin(local_invocation_index) lane: u32) {
  let filtered = find_filter(lane);
  let shares = find_shares(filtered, lane);
  var id = filtered.best;
  var is_ours = lane == 0;
  if (step.temperature > 0) {
    // Below the total, rounding or not: then just one lane's share holds it.
    let below = bitcast<f32>(bitcast<u32>(shares.total) - 1);
    let point = min(shares.total * random(), below);
    is_ours = shares.before <= point && point < shares.before + shares.own;
    if (is_ours) { id = token_at(point - shares.before, filtered, lane); }
  }
  if (is_ours) {
    token[0] = id;
    let probability = exp(logits[row_start() + id] - filtered.largest_logit) / shares.unfiltered;
    drawn[step.position % params.slots] = vec2u(id, bitcast<u32>(probability));
    seen[id] = 1;
  }
}

@compute @workgroup_size(LANES)
fn distribute(@builtin(local_invocation_index) lane: u32) {
  let filtered = find_filter(lane);
  let total = find_shares(filtered, lane).total;
  for (var id = lane; id < params.vocab; id += LANES) {
    let is_best = select(0.0, 1.0, id == filtered.best);
    distribution[id] = select(is_best, mass_of(filtered, id) / total, step.temperature > 0);
  }
}

fn find_filter(lane: u32) -> Filter {
  var filtered = best_of_row(lane);
  if (step.temperature == 0) {
    filtered.candidates = 0; // there is nothing to draw
    return filtered;
  }
  list_candidates(&filtered, lane);
  // Top-k, then top-p, in one loop: two calls would double the time that compiling takes.
  for (var stage = 0u; stage < 2; stage++) {
    let by_mass = stage == 1;
    if (select(step.top_k > 0 && step.top_k < params.vocab, step.top_p < 1, by_mass)) {
      filtered.lowest_key = max(filtered.lowest_key, threshold(by_mass, filtered, lane));
    }
  }
  let best_key = key_of(filtered.best_score);
  filtered.lowest_key = min(filtered.lowest_key, best_key); // keeps one, whatever p is
  return filtered;
}

/// Finds the best token, and in `bound` the top_k-th best of the lanes' best: as top_k tokens are at
/// least that good, what is below it will not be kept.
fn best_of_row(lane: u32) -> Filter {
  let start = row_start();
  var own_key = 0u;
  var own = 0u;
  var largest = LOWEST;
  for (var id = lane; id < params.vocab; id += LANES) {
    largest = max(largest, logits[start + id]);
    let key = key_of(score_of(id));
    if (key > own_key) {
      own_key = key;
      own = id;
    }
  }
  lane_keys[lane] = own_key;
  lane_ids[lane] = own;
  lane_masses[lane].x = largest;
  workgroupBarrier();
  var best_key = own_key;
  var best = own;
  var better_lanes = 0u;
  for (var i = 0u; i < params.lanes; i++) {
    let key = lane_keys[i];
    let id = lane_ids[i];
    if (key > best_key || (key == best_key && id < best)) {
      best_key = key;
      best = id;
    }
    if (key > own_key || (key == own_key && i < lane)) { better_lanes++; }
    largest = max(largest, lane_masses[i].x);
  }
  if (step.top_k > 0 && better_lanes == step.top_k - 1) { bound = own_key; }
  workgroupBarrier();
  return Filter(best, score_of(best), largest, 0, params.vocab, false);
}

/// Lists the tokens of key `bound` or above, if they fit.
fn list_candidates(filtered: ptr<function, Filter>, lane: u32) {
  let lowest = select(0, bound, step.top_k > 0 && step.top_k <= LANES);
  var count = 0u;
  for (var id = lane; id < params.vocab; id += LANES) {
    if (key_of(score_of(id)) >= lowest) { count++; }
  }
  lane_counts[lane] = count;
  workgroupBarrier();
  var place = 0u;
  var total = 0u;
  for (var i = 0u; i < params.lanes; i++) {
    if (i == lane) { place = total; }
    total += lane_counts[i];
  }
  if (total <= CAPACITY) {
    filtered.candidates = total;
    filtered.is_listed = true;
    for (var id = lane; id < params.vocab; id += LANES) {
      if (key_of(score_of(id)) >= lowest) {
        list[place] = id;
        place++;
      }
    }
  }
  workgroupBarrier();
}

/// The largest key such that the tokens of this key or above are top_k in number, or by mass have the
/// share top_p of what is kept so far.
fn threshold(by_mass: bool, filtered: Filter, lane: u32) -> u32 {
  var found = 0u;
  var wanted = f32(step.top_k);
  for (var bit = 32u; bit > 0; bit -= 2) {
    let is_first = bit == 32;
    let unit = 1u << (bit - 2);
    let pivots = vec3(found) + vec3(1, 2, 3) * unit;
    var sum = vec4f();
    for (var i = lane; i < filtered.candidates; i += LANES) {
      let id = candidate(filtered, i);
      let key = key_of(score_of(id));
      if (key >= pivots.x || is_first) {
        var weight = 1.0;
        if (by_mass) { weight = mass_of(filtered, id); }
        sum += vec4(select(vec3f(), vec3(weight), vec3(key) >= pivots), weight);
      }
    }
    // Sums over fewer tokens are never larger, in f32 too: the order of the additions is the same.
    sum = sum_vec4_over_workgroup(lane, sum);
    if (by_mass && is_first) { wanted = step.top_p * sum.w; }
    found += unit * dot(select(vec3u(), vec3(1u), sum.xyz >= vec3(wanted)), vec3(1u));
  }
  return found;
}

fn find_shares(filtered: Filter, lane: u32) -> Shares {
  var own = vec2f();
  for (var i = lane; i < filtered.candidates; i += LANES) {
    own.x += mass_of(filtered, candidate(filtered, i));
  }
  let start = row_start();
  for (var id = lane; id < params.vocab; id += LANES) {
    own.y += exp(logits[start + id] - filtered.largest_logit);
  }
  lane_masses[lane] = own;
  workgroupBarrier();
  var before = 0.0;
  var total = vec2f();
  for (var i = 0u; i < params.lanes; i++) {
    if (i == lane) { before = total.x; }
    total += lane_masses[i];
  }
  return Shares(before, own.x, total.x, total.y);
}

/// The one of this lane's tokens at which the sum of their masses passes `point`.
fn token_at(point: f32, filtered: Filter, lane: u32) -> u32 {
  var left = point;
  var found = filtered.best;
  for (var i = lane; i < filtered.candidates && left >= 0; i += LANES) {
    let id = candidate(filtered, i);
    let mass = mass_of(filtered, id);
    if (mass > 0) { found = id; }
    left -= mass;
  }
  return found;
}

fn candidate(filtered: Filter, i: u32) -> u32 {
  if (filtered.is_listed) { return list[i]; }
  return i;
}

fn row_start() -> u32 {
  return select(params.row, step.rows - 1, params.row == LAST_ROW) * params.vocab;
}

fn score_of(id: u32) -> f32 {
  let logit = logits[row_start() + id];
  if (seen[id] == 0) { return logit; }
  return select(logit / step.repetition_penalty, logit * step.repetition_penalty, logit < 0);
}

/// Larger for larger scores, and equal for 0 and −0. NaN falls anywhere, but does no harm.
fn key_of(score: f32) -> u32 {
  let bits = select(bitcast<u32>(score), 0u, score == 0);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

/// exp of the score at the temperature, relative to the best's; 0 for what is not kept.
fn mass_of(filtered: Filter, id: u32) -> f32 {
  let score = score_of(id);
  let mass = exp((score - filtered.best_score) / step.temperature);
  return select(0.0, mass, key_of(score) >= filtered.lowest_key);
}

/// Uniform in [0, 1), 24 bits, the same for the same seed, step and position.
fn random() -> f32 {
  const STREAM = 0x73616d70u; // keeps apart from other uses of the seed
  let bits = hash32(hash32(hash32(step.seed ^ STREAM) ^ step.step) ^ step.position);
  return f32(bits >> 8) * 0x1p-24;
}

/// lowbias32 (Chris Wellons): a 32-bit mixing function with little bias.
fn hash32(value: u32) -> u32 {
  var x = value;
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}
