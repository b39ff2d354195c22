// Four neighboring numbers of a tensor stored as pairs of bf16 in u32, the even one in the low half.
// A bf16 is the upper half of an f32.

fn widen(quad: Quad) -> vec4f {
  return bitcast<vec4f>(vec4u(
    quad.x << 16u, quad.x & 0xffff0000u,
    quad.y << 16u, quad.y & 0xffff0000u,
  ));
}
