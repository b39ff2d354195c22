// The same functions as turn-back.wgsl where a head's gradient is stored as it is.

fn quads_of_pair(p: u32) -> vec2u {
  return vec2u(2u * p, 2u * p + 1u);
}

fn turned_back(token: u32, p: u32, pair: mat2x4f) -> mat2x4f {
  return pair;
}
