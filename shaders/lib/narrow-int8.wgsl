// Four numbers from −1 to 1 as bytes, to the nearest 127th.

fn narrow(values: vec4f) -> Quad {
  return pack4x8snorm(values);
}
