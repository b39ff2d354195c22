// Four neighboring numbers of a tensor stored as f32 or f16, as f32.

fn widen(quad: Quad) -> vec4f {
  return vec4f(quad);
}
