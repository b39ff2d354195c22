// Four numbers as f32 or f16.

fn narrow(values: vec4f) -> Quad {
  return Quad(values);
}
