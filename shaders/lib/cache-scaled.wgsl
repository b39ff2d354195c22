// A cache of keys and values that holds shares of a scale: one for every token and head.

@group(0) @binding(5) var<storage, read> key_scales: array<f32>;
@group(0) @binding(6) var<storage, read> value_scales: array<f32>;

fn key_scale(at: u32) -> f32 {
  return key_scales[at];
}

fn value_scale(at: u32) -> f32 {
  return value_scales[at];
}
