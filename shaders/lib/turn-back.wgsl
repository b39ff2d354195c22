// Turns the gradient of a query or key head back by its rotary angle, before it is stored.
//
//   positions  u32  [tokens]
//   table      f32  [angles, 8 · half_quads]  a row is its cosines, then as many sines
//
// Dimension i turned with dimension i + half, so one thread has to hold quads p and p + half_quads: heads are
// handed out by pairs of quads. What is past the dimensions that turned is paired as it lies.

@group(0) @binding(7) var<storage, read> positions: array<u32>;
@group(0) @binding(8) var<storage, read> table: array<vec4f>;

/// The quads of a head that make pair p.
fn quads_of_pair(p: u32) -> vec2u {
  return select(vec2u(2u * p, 2u * p + 1u), vec2u(p, p + params.half_quads), p < params.half_quads);
}

fn turned_back(token: u32, p: u32, pair: mat2x4f) -> mat2x4f {
  if (p >= params.half_quads || token >= params.tokens) {
    return pair;
  }
  let row = min(positions[token], params.angles - 1u) * 2u * params.half_quads;
  let cosine = table[row + p];
  let sine = table[row + params.half_quads + p];
  return mat2x4f(pair[0] * cosine + pair[1] * sine, pair[1] * cosine - pair[0] * sine);
}
