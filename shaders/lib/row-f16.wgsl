// Four numbers of a table stored as IEEE half floats, two per word, the even one in the low half.

alias Stored4 = vec2u;

fn load4(stored: Stored4) -> vec4f {
  return vec4f(unpack2x16float(stored.x), unpack2x16float(stored.y));
}
