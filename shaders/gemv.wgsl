// lib/gemv.wgsl over a weight stored as numbers: Quad [outputs, inputs / 4].

@group(0) @binding(2) var<storage, read> weight: array<Quad>;

fn prepare(thread: u32) {}

fn pair_sums(first: u32, second: u32, lane: u32, x_at: u32) -> vec2f {
  let quads = params.inputs / 4u;
  let a_at = first * quads;
  let b_at = second * quads;
  var a = vec4f();
  var b = vec4f();
  for (var k = lane; k < quads; k += LANES) {
    let values = vec4f(x[x_at + k]);
    a = fma(values, widen(weight[a_at + k]), a);
    b = fma(values, widen(weight[b_at + k]), b);
  }
  return vec2f(dot(a, vec4f(1.0)), dot(b, vec4f(1.0)));
}
