// Four neighboring numbers stored as bytes: shares of their head's largest magnitude, in 127ths.

fn widen(quad: Quad) -> vec4f {
  return unpack4x8snorm(quad);
}
