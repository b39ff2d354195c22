// Eight neighboring f16 in memory: one store of 16 bytes, the shader's `out` being an array of vec4u.

fn store_eight(eight: u32, low: vec4f, high: vec4f) {
  out[eight] = vec4u(bitcast<vec2u>(vec4<Out>(low)), bitcast<vec2u>(vec4<Out>(high)));
}

/// The first four of the eight alone: what lies behind them stays.
fn store_four(eight: u32, low: vec4f) {
  out[eight] = vec4u(bitcast<vec2u>(vec4<Out>(low)), out[eight].zw);
}
