// y = x · Wᵀ + h · Bᵀ + bias for few rows of x, with W frozen and stored as NF4: what a token costs to make.
//
//   x       In   [tokens, inputs]                h  f32  [tokens, segments · rank]
//   codes   u32  [⌈outputs · inputs / 8⌉]        b  f32  [outputs, rank]
//   absmax  f32  [⌈outputs · inputs / 64⌉]       residual  f32, of y's shape
//   y       Out  [any rows, y_stride], outputs from y_column on          bias  f32  [outputs]
//
// The rows x_row … x_row + rows of x and h go with the rows from y_row on of y. Every weight is unpacked
// where it is used. LANES threads share an output, each taking every LANES-th word of its codes, and their
// sums meet once in workgroup memory; with one lane, as suits software adapters, nothing has to meet.
// Workgroups lie along the outputs, then along the rows. Sums are f32, in a fixed order.
//
// inputs and rank are multiples of 4; segments but the last end on a multiple of 4.

struct Params {
  rows: u32,
  inputs: u32,
  outputs: u32,
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
}

const OUTPUTS = 64u / LANES;             // of one workgroup

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<In>>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> absmax: array<f32>;
@group(0) @binding(4) var<storage, read> h: array<vec4f>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> y: array<Out>;
@group(0) @binding(7) var<storage, read> residual: array<f32>;
@group(0) @binding(8) var<storage, read> bias: array<f32>;

var<workgroup> partial_sums: array<f32, 64>;

@compute @workgroup_size(64)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = workgroup.y;
  let lane = thread % LANES;
  // Past the edge a thread repeats the last output, and does not store it.
  let output = min(workgroup.x * OUTPUTS + thread / LANES, params.outputs - 1u);

  var sums = vec4f();
  // All in fours. A word is two, and lies in one block; where inputs are not a multiple of 8, half of a
  // row's first or last word belongs to its neighbor.
  let start = output * (params.inputs / 4u);
  let end = start + params.inputs / 4u;
  let x_at = (params.x_row + row) * (params.inputs / 4u);
  for (var word = start / 2u + lane; word * 2u < end; word += LANES) {
    let at = word * 2u;
    let bits = codes[word];
    var part = vec4f();
    if (at >= start) {
      part = vec4f(x[x_at + at - start]) * nf4_values(nf4_first(bits));
    }
    if (at + 1u < end) {
      part = fma(vec4f(x[x_at + at + 1u - start]), nf4_values(nf4_second(bits)), part);
    }
    sums = fma(part, vec4f(absmax[at / 16u]), sums);
  }
  if (HAS_LORA) {
    let ranks = params.rank / 4u;
    let segment = u32(output >= params.end_0) + u32(output >= params.end_1)
      + u32(output >= params.end_2);
    let h_at = ((params.x_row + row) * params.segments + segment) * ranks;
    for (var j = lane; j < ranks; j += LANES) {
      sums = fma(h[h_at + j], b[output * ranks + j], sums);
    }
  }
  var total = dot(sums, vec4f(1.0));
  if (LANES > 1u) {
    partial_sums[thread] = total;
    workgroupBarrier();
    total = 0.0;
    for (var i = 0u; i < LANES; i++) {
      total += partial_sums[(thread - lane) + i];
    }
  }

  if (lane > 0u || workgroup.x * OUTPUTS + thread / LANES >= params.outputs) {
    return;
  }
  if (params.has_bias != 0u) {
    total += bias[output];
  }
  let at = (params.y_row + row) * params.y_stride + params.y_column + output;
  if (params.addend == 0u) {
    y[at] = Out(total);
  } else if (params.addend == 1u) {
    y[at] = Out(total + f32(y[at]));
  } else {
    y[at] = Out(total + residual[at]);
  }
}
