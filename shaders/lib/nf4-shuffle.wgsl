// Numbers of NF4 codes from the registers of a subgroup of 8 threads or more: thread l holds the numbers of
// codes l mod 8 and l mod 8 + 8. Every thread of a subgroup must call together. Needs lib/nf4.wgsl.

var<private> low_value: f32;
var<private> high_value: f32;

fn prepare_look_up(thread: u32) {
  // How many come before it: its number in the subgroup, as all are active.
  let slot = subgroupExclusiveAdd(1u) % 8u;
  let values = nf4_values(vec4u(slot, slot + 8u, 0u, 0u));
  low_value = values.x;
  high_value = values.y;
}

fn look_up(codes: vec4u) -> vec4f {
  let slots = codes & vec4u(7u);
  let low = vec4f(
    subgroupShuffle(low_value, slots.x), subgroupShuffle(low_value, slots.y),
    subgroupShuffle(low_value, slots.z), subgroupShuffle(low_value, slots.w),
  );
  let high = vec4f(
    subgroupShuffle(high_value, slots.x), subgroupShuffle(high_value, slots.y),
    subgroupShuffle(high_value, slots.z), subgroupShuffle(high_value, slots.w),
  );
  return select(low, high, codes > vec4u(7u));
}
