// Four numbers of a table stored as bfloat16, two per word, the even one in the low half.

alias Stored4 = vec2u;

// A bfloat16 is the upper half of an f32.
fn load4(stored: Stored4) -> vec4f {
  return bitcast<vec4f>(
    vec4u(stored.x << 16u, stored.x & 0xffff0000u, stored.y << 16u, stored.y & 0xffff0000u),
  );
}
