// h = silu(gate) ∘ up with silu(z) = z · σ(z), and its gradient.
//
//   gu   Act  [rows, 2, features]    a row is gate, then up
//   h    Act  [rows, features]
//   dh   Act  [rows, features]
//   dgu  Act  [rows, 2, features]    may be gu itself: then only dgu is bound
//
//   dgate = dh · up · σ · (1 + gate · (1 − σ)),  dup = dh · gate · σ,  σ = σ(gate)
//
// One thread makes four columns. Requires features % 4 == 0.

const THREADS = 64u;

struct Params {
  rows: u32,
  quads: u32,       // features / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gu: array<vec4<Act>>;
@group(0) @binding(2) var<storage, read_write> h: array<vec4<Act>>;
@group(0) @binding(3) var<storage, read> dh: array<vec4<Act>>;
@group(0) @binding(4) var<storage, read_write> dgu: array<vec4<Act>>;

/// Index of a gate; its up is `quads` further.
fn gate_index(quad: u32) -> u32 {
  return quad + (quad / params.quads) * params.quads;
}

// Written so that the exponential never overflows: exp(−|z|) ≤ 1.
fn sigmoid(z: vec4f) -> vec4f {
  let e = exp(-abs(z));
  return select(e, vec4f(1.0), z >= vec4f(0.0)) / (1.0 + e);
}

fn write_gradient(quad: u32, gate: vec4f, up: vec4f) {
  let s = sigmoid(gate);
  let dout = vec4f(dh[quad]);
  let at = gate_index(quad);
  dgu[at] = vec4<Act>(dout * up * s * (1.0 + gate * (1.0 - s)));
  dgu[at + params.quads] = vec4<Act>(dout * gate * s);
}

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = flat_workgroup(workgroup, count) * THREADS + lane;
  if (quad < params.rows * params.quads) {
    let at = gate_index(quad);
    let gate = vec4f(gu[at]);
    h[quad] = vec4<Act>(gate * sigmoid(gate) * vec4f(gu[at + params.quads]));
  }
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = flat_workgroup(workgroup, count) * THREADS + lane;
  if (quad < params.rows * params.quads) {
    let at = gate_index(quad);
    write_gradient(quad, vec4f(gu[at]), vec4f(gu[at + params.quads]));
  }
}

@compute @workgroup_size(THREADS)
fn backward_in_place(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let quad = flat_workgroup(workgroup, count) * THREADS + lane;
  if (quad < params.rows * params.quads) {
    let at = gate_index(quad);
    write_gradient(quad, vec4f(dgu[at]), vec4f(dgu[at + params.quads]));
  }
}
