// Which inputs an adapter drops: a pure function of the step and the place, so that nothing is stored
// and the backward pass sees the mask of the forward pass. Needs lib/step.wgsl.
//
// Elements 2i and 2i + 1 share one hash of 32 bits and take half of it each. The counter passes through
// two keyed rounds: with one, the masks of two modules would be shifted copies of each other.

/// lowbias32 (Chris Wellons), of two counters at a time.
fn hash32(value: vec2u) -> vec2u {
  var x = value;
  x = (x ^ (x >> vec2u(16u))) * 0x7feb352du;
  x = (x ^ (x >> vec2u(15u))) * 0x846ca68bu;
  return x ^ (x >> vec2u(16u));
}

/// The two keys of one module's mask in this micro-batch.
fn dropout_key(module_id: u32) -> vec2u {
  var key = hash32(vec2u(step.seed, step.seed ^ 0x9e3779b9u));
  key = hash32(key ^ vec2u(step.step));
  key = hash32(key ^ vec2u(step.micro));
  return hash32(key ^ vec2u(module_id));
}

/// 0 or keep_scale for the elements from `element` on, a multiple of 4. Each is dropped with
/// probability drop_below / 65536.
fn keep_factors(key: vec2u, element: u32, drop_below: u32, keep_scale: f32) -> vec4f {
  let pair = element / 2u;
  let bits = hash32(hash32(vec2u(pair, pair + 1u) + vec2u(key.x)) ^ vec2u(key.y));
  let draws = vec4u(bits.x & 0xffffu, bits.x >> 16u, bits.y & 0xffffu, bits.y >> 16u);
  return select(vec4f(), vec4f(keep_scale), draws >= vec4u(drop_below));
}
