// Four neighboring elements that begin anywhere, from the two aligned vectors they lie across.

/// Elements shift … shift + 3 of `first` followed by `second`.
fn straddle(first: vec4f, second: vec4f, shift: u32) -> vec4f {
  switch (shift) {
    case 1u: { return vec4f(first.yzw, second.x); }
    case 2u: { return vec4f(first.zw, second.xy); }
    case 3u: { return vec4f(first.w, second.xyz); }
    default: { return first; }
  }
}
