// y = x · Wᵀ + h · Bᵀ + bias for few rows of x, with W frozen: what a token costs to make. With GATED, the
// rows of W are those of a gate, then those of what it gates, and y = act(gate) ∘ up has half as many columns.
//
//   x  In   [tokens, inputs]                     h  f32  [tokens, segments · rank]
//   y  Out  [any rows, y_stride], columns from y_column on       b  f32  [outputs, rank]
//   residual  f32, of y's shape                  bias  f32  [outputs]
//
// The rows x_row … x_row + rows of x and h go with the rows from y_row on of y. A team of LANES threads makes
// two outputs, so that what is read of x serves twice: neighbors, or with GATED a gate and its up. Each
// thread takes its share of the inner dimension, and the shares meet once in workgroup memory; with one lane,
// as suits software adapters, nothing has to meet. Workgroups lie along the outputs, folded into x and z, and
// along the rows in y.
// Sums are f32, in a fixed order. SCALED, as an adapter's way down wants it, multiplies y by its segment's
// scale and the step's, before anything is added. Needs lib/gate.wgsl and lib/step.wgsl.
//
// The includer binds W and defines `prepare`, which every thread calls first, and `pair_sums`: a lane's share
// of x · w for two rows of W. inputs and rank are multiples of 4; segments but the last end on one.

struct Params {
  rows: u32,
  inputs: u32,
  outputs: u32,             // rows of W
  x_row: u32,
  y_row: u32,
  y_column: u32,
  y_stride: u32,
  addend: u32,              // what the result is added to: 0 nothing, 1 what y holds, 2 residual
  rank: u32,
  segments: u32,
  end_0: u32,               // where the outputs of segments 0 to 2 end
  end_1: u32,
  end_2: u32,
  has_bias: u32,
  lanes: u32,               // LANES, as a bound that compilers do not unroll: that takes Mesa's some seconds
  scaled_rank: u32,         // columns of y that share a scale
  scale_0: f32,
  scale_1: f32,
  scale_2: f32,
  scale_3: f32,
}

const THREADS = 64u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<In>>;
@group(0) @binding(4) var<storage, read> h: array<vec4f>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> y: array<Out>;
@group(0) @binding(7) var<storage, read> residual: array<f32>;
@group(0) @binding(8) var<storage, read> bias: array<f32>;

var<workgroup> shares: array<vec2f, THREADS>;

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  prepare(thread);
  let row = workgroup.y;
  let lane = thread % LANES;
  let pairs = select((params.outputs + 1u) / 2u, params.outputs / 2u, GATED);
  let team = (workgroup.z * count.x + workgroup.x) * (THREADS / LANES);
  let pair = team + thread / LANES;
  // Past the edge a team repeats the last pair, and does not store it.
  let own = min(pair, pairs - 1u);
  let first = select(own * 2u, own, GATED);
  let second = min(select(own * 2u + 1u, own + pairs, GATED), params.outputs - 1u);

  var sums = pair_sums(first, second, lane, (params.x_row + row) * (params.inputs / 4u));
  if (HAS_LORA) {
    sums += vec2f(lora_share(row, first, lane), lora_share(row, second, lane));
  }
  if (LANES > 1u) {
    shares[thread] = sums;
    workgroupBarrier();
    sums = vec2f();
    for (var i = 0u; i < params.lanes; i++) {
      sums += shares[thread - lane + i];
    }
  }
  if (lane > 0u || pair >= pairs) {
    return;
  }
  if (params.has_bias != 0u) {
    sums += vec2f(bias[first], bias[second]);
  }
  if (SCALED) {
    sums *= vec2f(scale_of(first), scale_of(second)) * step.adapter_scale;
  }
  if (GATED) {
    let gate = vec4f(sums.x);
    store(row, own, (gate * sigmoid(steepened(gate))).x * sums.y);
    return;
  }
  store(row, first, sums.x);
  if (second > first) {
    store(row, second, sums.y);
  }
}

/// A lane's share of what the adapter adds to an output.
fn lora_share(row: u32, output: u32, lane: u32) -> f32 {
  let ranks = params.rank / 4u;
  let segment = u32(output >= params.end_0) + u32(output >= params.end_1)
    + u32(output >= params.end_2);
  let h_at = ((params.x_row + row) * params.segments + segment) * ranks;
  var sums = vec4f();
  for (var j = lane; j < ranks; j += LANES) {
    sums = fma(h[h_at + j], b[output * ranks + j], sums);
  }
  return dot(sums, vec4f(1.0));
}

/// Of a column of y.
fn scale_of(column: u32) -> f32 {
  let segment = column / params.scaled_rank;
  let scales = vec4f(params.scale_0, params.scale_1, params.scale_2, params.scale_3);
  return scales[segment];
}

fn store(row: u32, column: u32, value: f32) {
  let at = (params.y_row + row) * params.y_stride + params.y_column + column;
  if (params.addend == 0u) {
    y[at] = Out(value);
  } else if (params.addend == 1u) {
    y[at] = Out(value + f32(y[at]));
  } else {
    y[at] = Out(value + residual[at]);
  }
}
