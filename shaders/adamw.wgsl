// One step of AdamW (Loshchilov and Hutter 2019), in torch's order of operations:
//
//   g  = gradient · coefficient           clipping and the loss scale, in one factor
//   p ← p · (1 − rate · weight_decay)
//   m ← m + (g − m) · (1 − β1)
//   v ← v · β2 + g² · (1 − β2)
//   p ← p − rate / (1 − β1^t) · m / (√v / √(1 − β2^t) + ε)
//
//   state       f32  [16]      lib/optimizer-state.wgsl, as grad-norm left it for this step
//   parameters  f32  [count]   as are gradients, m and v; their last vectors may be partly padding
//
// One thread per vector of four. A step that is not finite changes no bit of parameters, m and v.
// The gradients are zero afterwards in either case: the next step adds into them.

struct Params {
  count: u32,
  beta2: f32,
  rest1: f32,      // 1 − β1
  rest2: f32,      // 1 − β2
  log_beta1: f32,  // ln β1
  log_beta2: f32,
  epsilon: f32,
  weight_decay: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> parameters: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> gradients: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>;

const LANES = 256u;

@compute @workgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = flat_workgroup(workgroup, count) * LANES + lane;
  if (4 * i >= params.count) { return; }
  // Padding is left as it is: it may be another's memory.
  let is_real = vec4(4 * i) + vec4(0, 1, 2, 3) < vec4(params.count);
  let gradient = gradients[i];
  gradients[i] = select(gradient, vec4f(), is_real);
  if (state[FINITE] == 0) { return; }

  let g = gradient * state[COEFFICIENT];
  let old_m = m[i];
  let old_v = v[i];
  let new_m = old_m + (g - old_m) * params.rest1;
  let new_v = old_v * params.beta2 + g * g * params.rest2;
  m[i] = select(old_m, new_m, is_real);
  v[i] = select(old_v, new_v, is_real);

  let t = state[ADAM_STEP];
  let rate = step.learning_rate / one_minus_exp(t * params.log_beta1);
  let deviation = sqrt(new_v) / sqrt(one_minus_exp(t * params.log_beta2)) + params.epsilon;
  let old = parameters[i];
  let decayed = old * (1 - step.learning_rate * params.weight_decay);
  parameters[i] = select(old, decayed - rate * new_m / deviation, is_real);
}

/// 1 − e^x for x ≤ 0, which is 1 − β^t for x = t · ln β: t is exact in f32 to 2^24, and relative to
/// the result an error of x in its last bit is never more than that. Near 0, where the difference would
/// cancel, by the series to x⁹ / 9!; what that leaves out is below 2^-32 of the result.
fn one_minus_exp(x: f32) -> f32 {
  if (x < -0.5) { return 1 - exp(x); }
  var sum = 1.0;
  for (var n = 9.0; n > 1; n -= 1) { sum = 1 + sum * x / n; }
  return -x * sum;
}
