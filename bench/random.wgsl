// Made-up weights, made where they are needed: no file is read, and nothing is uploaded.
//
//   out  vec4u  [count]    each word by the hash of its index and a seed
//
//   codes   32 random bits: eight NF4 codes
//   halves  two bf16, each in [low, high)
//   floats  one f32 in [low, high)

struct Params {
  count: u32,               // in fours
  seed: u32,
  low: f32,
  high: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4u>;

/// PCG's output function over a step of its generator, four at a time.
fn hash(index: u32, salt: u32) -> vec4u {
  let state = (vec4u(index * 4u) + vec4u(0u, 1u, 2u, 3u) + params.seed * 0x9e3779b9u + salt)
    * 747796405u + 2891336453u;
  let word = ((state >> ((state >> vec4u(28u)) + vec4u(4u))) ^ state) * 277803737u;
  return (word >> vec4u(22u)) ^ word;
}

fn uniform_floats(index: u32, salt: u32) -> vec4f {
  let unit = vec4f(hash(index, salt) >> vec4u(8u)) / 16777216.0;
  return params.low + unit * (params.high - params.low);
}

@compute @workgroup_size(64)
fn codes(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = flat_workgroup(workgroup, workgroups) * 64u + thread;
  if (index < params.count) {
    out[index] = hash(index, 0u);
  }
}

@compute @workgroup_size(64)
fn halves(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = flat_workgroup(workgroup, workgroups) * 64u + thread;
  if (index < params.count) {
    let low = bitcast<vec4u>(uniform_floats(index, 0u)) >> vec4u(16u);
    let high = bitcast<vec4u>(uniform_floats(index, 0x632be5abu)) & vec4u(0xffff0000u);
    out[index] = low | high;
  }
}

@compute @workgroup_size(64)
fn floats(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = flat_workgroup(workgroup, workgroups) * 64u + thread;
  if (index < params.count) {
    out[index] = bitcast<vec4u>(uniform_floats(index, 0u));
  }
}
