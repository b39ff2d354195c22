// Eight neighboring f32 in memory: two vectors, the shader's `out` being an array of vec4f.

fn store_eight(eight: u32, low: vec4f, high: vec4f) {
  out[eight * 2u] = low;
  out[eight * 2u + 1u] = high;
}

/// The first four of the eight alone.
fn store_four(eight: u32, low: vec4f) {
  out[eight * 2u] = low;
}
