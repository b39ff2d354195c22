// The entry points where every subgroup of the adapter has LANES lanes.

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  forward_tile(workgroup, subgroup, lane, thread);
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  backward_tile(workgroup, subgroup, lane, thread);
}
