// Four neighboring numbers of a tensor stored as pairs of f16 in u32, the even one in the low half.

fn widen(quad: Quad) -> vec4f {
  return vec4f(unpack2x16float(quad.x), unpack2x16float(quad.y));
}
