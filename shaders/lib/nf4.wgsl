// The 4-bit NormalFloat: 16 values chosen so that each is as likely for normally distributed weights
// (QLoRA, appendix E), to the last digit of bitsandbytes.

/// The numbers of four codes, before the scale of their block.
fn nf4_values(codes: vec4u) -> vec4f {
  // A tree of selections: an array in registers may not be indexed, and elsewhere it is slow.
  let bit_0 = (codes & vec4u(1u)) != vec4u();
  let bit_1 = (codes & vec4u(2u)) != vec4u();
  let bit_2 = (codes & vec4u(4u)) != vec4u();
  let bit_3 = (codes & vec4u(8u)) != vec4u();
  let v0 = select(vec4f(-1.0), vec4f(-0.6961928009986877), bit_0);
  let v2 = select(vec4f(-0.5250730514526367), vec4f(-0.39491748809814453), bit_0);
  let v4 = select(vec4f(-0.28444138169288635), vec4f(-0.18477343022823334), bit_0);
  let v6 = select(vec4f(-0.09105003625154495), vec4f(0.0), bit_0);
  let v8 = select(vec4f(0.07958029955625534), vec4f(0.16093020141124725), bit_0);
  let v10 = select(vec4f(0.24611230194568634), vec4f(0.33791524171829224), bit_0);
  let v12 = select(vec4f(0.44070982933044434), vec4f(0.5626170039176941), bit_0);
  let v14 = select(vec4f(0.7229568362236023), vec4f(1.0), bit_0);
  let low = select(select(v0, v2, bit_1), select(v4, v6, bit_1), bit_2);
  let high = select(select(v8, v10, bit_1), select(v12, v14, bit_1), bit_2);
  return select(low, high, bit_3);
}

/// The codes of elements 0 to 3 of a word of eight. Even elements are in the high nibbles.
fn nf4_first(word: u32) -> vec4u {
  return (vec4u(word) >> vec4u(4u, 0u, 12u, 8u)) & vec4u(15u);
}

/// The codes of elements 4 to 7.
fn nf4_second(word: u32) -> vec4u {
  return (vec4u(word) >> vec4u(20u, 16u, 28u, 24u)) & vec4u(15u);
}

/// The codes of four numbers in [-1, 1]. Thresholds are the f32 midpoints of neighboring values; a number
/// on one takes the lower code.
fn nf4_codes(x: vec4f) -> vec4u {
  var codes = vec4u();
  codes += vec4u(x > vec4f(-0.8480963706970215));
  codes += vec4u(x > vec4f(-0.6106328964233398));
  codes += vec4u(x > vec4f(-0.4599952697753906));
  codes += vec4u(x > vec4f(-0.33967941999435425));
  codes += vec4u(x > vec4f(-0.23460739850997925));
  codes += vec4u(x > vec4f(-0.13791173696517944));
  codes += vec4u(x > vec4f(-0.045525018125772476));
  codes += vec4u(x > vec4f(0.03979014977812767));
  codes += vec4u(x > vec4f(0.120255246758461));
  codes += vec4u(x > vec4f(0.2035212516784668));
  codes += vec4u(x > vec4f(0.2920137643814087));
  codes += vec4u(x > vec4f(0.3893125355243683));
  codes += vec4u(x > vec4f(0.5016634464263916));
  codes += vec4u(x > vec4f(0.6427869200706482));
  codes += vec4u(x > vec4f(0.8614784479141235));
  return codes;
}
