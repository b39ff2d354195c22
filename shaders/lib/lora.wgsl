// What both ways of computing the low-rank side path share: the operands that are read, the parameters, the
// mask and where segments lie. shaders/lora.wgsl says what each operand is. Whoever uses this binds what is
// written (h, dh, da and db) in the element it writes.

struct Params {
  rows: u32,
  inputs: u32,
  outputs: u32,
  x_row: u32,
  y_row: u32,
  y_column: u32,
  y_stride: u32,
  rank: u32,
  segments: u32,
  end_0: u32,               // where the outputs of segments 0 to 2 end
  end_1: u32,
  end_2: u32,
  scale_0: f32,
  scale_1: f32,
  scale_2: f32,
  scale_3: f32,
  drop_below: u32,
  keep_scale: f32,
  module_id: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<X>>;
@group(0) @binding(2) var<storage, read> a: array<vec4f>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<Dy>>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(7) var<storage, read> made_h: array<vec4f>;
@group(0) @binding(8) var<storage, read> made_dh: array<vec4f>;

/// Vector `at` of x, with what the segment's mask drops set to 0 and the rest scaled up.
fn dropped_x(key: vec2u, at: u32) -> vec4f {
  let values = vec4f(x[at]);
  if (!HAS_DROPOUT) {
    return values;
  }
  return values * keep_factors(key, at * 4u, params.drop_below, params.keep_scale);
}

/// The segment of an output.
fn segment_of(output: u32) -> u32 {
  return u32(output >= params.end_0) + u32(output >= params.end_1) + u32(output >= params.end_2);
}

/// The first output of a segment.
fn segment_start(segment: u32) -> u32 {
  let starts = vec4u(0u, params.end_0, params.end_1, params.end_2);
  return starts[segment];
}

/// The first output past a segment.
fn segment_end(segment: u32) -> u32 {
  let ends = vec4u(params.end_0, params.end_1, params.end_2, params.outputs);
  return ends[segment];
}

fn scale_of(segment: u32) -> f32 {
  let scales = vec4f(params.scale_0, params.scale_1, params.scale_2, params.scale_3);
  return scales[segment] * step.adapter_scale;
}
