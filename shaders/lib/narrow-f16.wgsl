// Four numbers as pairs of f16 in u32. What f16 does not reach is stored as the largest it has.

fn narrow(values: vec4f) -> Quad {
  let held = clamp(values, vec4f(-65504.0), vec4f(65504.0));
  return vec2u(pack2x16float(held.xy), pack2x16float(held.zw));
}
