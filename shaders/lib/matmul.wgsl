// What every product with a frozen weight shares: parameters, operands, and how dy is read and dx stored.
// lib/matmul-y-….wgsl have y and what is added to it.
//
//   forward    y = x · Wᵀ + h · Bᵀ + bias            backward    dx = dy · W + Σ_s mask_s ∘ (dh_s · A_s)
//
//   x       In    [tokens, inputs]             dy   In   [any rows, y_stride], outputs from y_column on
//   weight  Quad  [outputs, inputs / 4]        dh   f32  [tokens, segments · rank]
//   absmax  f32   [⌈outputs · inputs / 64⌉]    a    f32  [segments · rank, inputs]
//   h       f32   [tokens, segments · rank]    dx   Out  [tokens, inputs]
//   b       f32   [outputs, rank]
//   bias    f32   [outputs]
//   y       Out   [any rows, y_stride], outputs from y_column on; residual f32, of the same shape
//
// The rows x_row … x_row + rows of x, h, dh and dx go with the rows from y_row on of y and dy. The
// outputs fall into up to four segments (q, k, v); row n of b meets its own segment's columns of h.
//
// inputs and rank are multiples of 4; segments but the last end on a multiple of 4. Rows may be ragged.
// Outputs, y_column and y_stride may be, too; the backward pass then needs RAGGED.

struct Params {
  rows: u32,
  inputs: u32,
  outputs: u32,
  x_row: u32,
  y_row: u32,
  y_column: u32,
  y_stride: u32,
  addend: u32,              // what the result is added to: 0 nothing, 1 what it holds, 2 residual
  rank: u32,
  segments: u32,
  end_0: u32,               // where the outputs of segments 0 to 2 end
  end_1: u32,
  end_2: u32,
  drop_below: u32,
  keep_scale: f32,
  module_id: u32,
  has_bias: u32,
  head_size: u32,           // these five for rotary positions: lib/matmul-y-rope.wgsl
  head_period: u32,
  turned: u32,
  pairs: u32,
  angles: u32,
  slice_steps: u32,         // outputs of a slice of the backward pass, where IN_SLICES
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<In>>;
@group(0) @binding(2) var<storage, read> weight: array<Quad>;
@group(0) @binding(3) var<storage, read> h: array<vec4f>;
@group(0) @binding(4) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read> dy: array<vec4<In>>;
@group(0) @binding(7) var<storage, read> dh: array<vec4f>;
@group(0) @binding(8) var<storage, read> a: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> dx: array<vec4<Out>>;
@group(0) @binding(12) var<storage, read> absmax: array<f32>;
@group(0) @binding(13) var<storage, read> positions: array<u32>;

const FOUR = vec4u(0u, 1u, 2u, 3u);

/// The segment of an output.
fn segment_of(output: u32) -> u32 {
  return u32(output >= params.end_0) + u32(output >= params.end_1) + u32(output >= params.end_2);
}

fn store_dx(row: u32, column: u32, values: vec4f) {
  let at = (params.x_row + row) * (params.inputs / 4u) + column;
  if (params.addend == 0u) {
    dx[at] = vec4<Out>(values);
  } else {
    dx[at] = vec4<Out>(values + vec4f(dx[at]));
  }
}

/// dy of outputs n … n + 3 of the row whose outputs start at element `start`; 0 past the last output.
fn load_dy(start: u32, n: u32) -> vec4f {
  let at = (start + n) / 4u;
  let first = vec4f(dy[at]);
  if (!RAGGED) {
    return first;
  }
  let values = straddle(first, vec4f(dy[at + 1u]), (start + n) % 4u);
  // What follows the last output may be garbage.
  return select(vec4f(), values, vec4u(n) + FOUR < vec4u(params.outputs));
}
