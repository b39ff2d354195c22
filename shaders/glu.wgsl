// h = act(gate) ∘ up and its gradient, with act(z) = z · s: of SiLU, s = σ(z); of GELU as its tanh says,
// s = ½ (1 + tanh(u)) = σ(2u) with u = √(2/π) (z + 0.044715 z³). GELU selects.
//
//   gu   Act  [rows, 2, features]    a row is gate, then up
//   h    Act  [rows, features]
//   dh   Act  [rows, features]       in: the gradient of h; out: h
//   dgu  Act  [rows, 2, features]    in: gu; out: its gradient
//
//   dgate = dh · up · s · (1 + gate · (1 − s) · t'),  dup = dh · gate · s
//
// where s = σ(t): t = z and t' = 1, or t = 2u and t' = 2u'.
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
@group(0) @binding(3) var<storage, read_write> dh: array<vec4<Act>>;
@group(0) @binding(4) var<storage, read_write> dgu: array<vec4<Act>>;

/// Index of a gate; its up is `quads` further.
fn gate_index(quad: u32) -> u32 {
  return quad + (quad / params.quads) * params.quads;
}

/// t'.
fn steepness(gate: vec4f) -> vec4f {
  if (GELU) {
    let z = clamp(gate, -GELU_REACH, GELU_REACH);
    return GELU_LINEAR + (3.0 * GELU_CUBIC) * z * z;
  }
  return vec4f(1.0);
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
    h[quad] = vec4<Act>(gate * sigmoid(steepened(gate)) * vec4f(gu[at + params.quads]));
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
    let gate = vec4f(dgu[at]);
    let up = vec4f(dgu[at + params.quads]);
    let t = steepened(gate);
    let s = sigmoid(t);
    let dout = vec4f(dh[quad]);
    dgu[at] = vec4<Act>(dout * up * s * (1.0 + gate * sigmoid(-t) * steepness(gate)));
    dgu[at + params.quads] = vec4<Act>(dout * gate * s);
    dh[quad] = vec4<Act>(gate * s * up);
  }
}
