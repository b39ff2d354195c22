// Four numbers of a table stored as f32.

alias Stored4 = vec4f;

fn load4(stored: Stored4) -> vec4f {
  return stored;
}
