// norm = √Σ g², over all gradients of the model, and the decision about the step that follows from it.
//
//   gradients  f32   [count]      one bank; its last vector may be partly padding
//   partials   vec4  [partials]   per chunk: sums of squares of small, middling and large gradients,
//                                 and how many gradients are not finite
//   state      f32   [16]         lib/optimizer-state.wgsl
//
// sum_squares: a workgroup takes CHUNK gradients into one row of partials, from row first_partial on.
// finish:      one workgroup adds all rows in a fixed order; its first thread decides.
//
// Squares leave the range of f32 long before gradients do, so there are three sums, by size, as in
// Blue's algorithm (ACM TOMS 4, 1978). The norm is right to 1e-5 (a generous bound for the f32 sums)
// from 1e-36 up, subnormal gradients counting as 0; one beyond f32 counts as not finite.
// "Finite" is told by bit pattern: compilers may assume that NaN and infinity do not occur.

struct Params { count: u32, first_partial: u32, partials: u32, max_norm: f32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;

const LANES = 256u;
const LANES_ROOT = 16u;

// Below SMALL squares underflow; above LARGE, sums of 2^36 of them overflow. Scaled, neither does.
const SMALL = 0x1p-63;
const LARGE = 0x1p46;
const RAISE = 0x1p75;
const LOWER = 0x1p-90;

// torch's: clip_grad_norm_ and GradScaler.
const CLIP_EPSILON = 1e-6;
const GROWTH_INTERVAL = 2000.0;
const GROWTH = 2.0;
const BACKOFF = 0.5;
const LARGEST_LOSS_SCALE = 0x1p100;

@compute @workgroup_size(LANES)
fn sum_squares(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let chunk = flat_workgroup(workgroup, count);
  let start = chunk * (CHUNK / 4);
  let end = min(start + CHUNK / 4, (params.count + 3) / 4);
  var sum = vec4f();
  for (var i = start + lane; i < end; i += LANES) {
    let is_real = vec4(4 * i) + vec4(0, 1, 2, 3) < vec4(params.count);
    sum += squares(select(vec4f(), gradients[i], is_real));
  }
  let total = sum_vec4_over_workgroup(lane, sum);
  if (lane == 0 && start < end) { partials[params.first_partial + chunk] = total; }
}

/// What four gradients add to the row of their chunk.
fn squares(g: vec4f) -> vec4f {
  let is_broken = (bitcast<vec4u>(g) & vec4(0x7f800000u)) == vec4(0x7f800000u);
  let size = select(abs(g), vec4f(), is_broken);
  let is_small = size < vec4(SMALL);
  let is_large = size > vec4(LARGE);
  let raised = select(vec4f(), size * RAISE, is_small);
  let lowered = select(vec4f(), size * LOWER, is_large);
  let middling = select(size, vec4f(), is_small | is_large);
  let broken = select(vec4f(), vec4(1.0), is_broken);
  return vec4(
    dot(raised, raised),
    dot(middling, middling),
    dot(lowered, lowered),
    dot(broken, vec4(1.0)),
  );
}

@compute @workgroup_size(LANES)
fn finish(@builtin(local_invocation_index) lane: u32) {
  var sum = vec4f();
  for (var i = lane; i < params.partials; i += LANES) { sum += partials[i]; }
  let total = sum_vec4_over_workgroup(lane, sum);
  if (lane == 0) { decide(norm_of(total), total.w == 0); }
}

fn norm_of(sum: vec4f) -> f32 {
  let parts = sqrt(sum.xyz) / vec3(RAISE, 1.0, LOWER);
  return hypotenuse(hypotenuse(parts.x, parts.y), parts.z);
}

/// √(a² + b²) without the squares of large or small numbers.
fn hypotenuse(a: f32, b: f32) -> f32 {
  let larger = max(a, b);
  if (larger == 0) { return 0; }
  let ratio = min(a, b) / larger;
  return larger * sqrt(1 + ratio * ratio);
}

fn decide(stored_norm: f32, all_finite: bool) {
  let scale = state[LOSS_SCALE];
  state[USED_LOSS_SCALE] = scale;
  if (!all_finite || !is_finite(stored_norm)) {
    skip(scale);
    return;
  }
  let norm = stored_norm / scale;
  var clip = 1.0;
  if (params.max_norm > 0) { clip = min(1.0, params.max_norm / (norm + CLIP_EPSILON)); }
  state[GRAD_NORM] = norm;
  state[COEFFICIENT] = clip / scale;
  state[FINITE] = 1;
  state[ADAM_STEP] += 1;
  state[SKIPPED_IN_A_ROW] = 0;
  if (DYNAMIC) {
    let good_steps = state[GROWTH_COUNT] + 1;
    let grows = good_steps >= GROWTH_INTERVAL;
    state[GROWTH_COUNT] = select(good_steps, 0, grows);
    if (grows) { state[LOSS_SCALE] = min(scale * GROWTH, LARGEST_LOSS_SCALE); }
  }
}

fn skip(scale: f32) {
  state[GRAD_NORM] = 0;
  state[COEFFICIENT] = 0;
  state[FINITE] = 0;
  state[SKIPPED_TOTAL] += 1;
  // A scale that was too high overflows gradients, not the loss: that mends itself and raises no alarm.
  let is_back_off = DYNAMIC && scale > 1 && is_finite(state[LOSS_SUM]);
  if (!is_back_off) { state[SKIPPED_IN_A_ROW] += 1; }
  if (DYNAMIC) {
    state[LOSS_SCALE] = max(scale * BACKOFF, 1);
    state[GROWTH_COUNT] = 0;
  }
}

fn is_finite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}
