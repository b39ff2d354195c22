// The entry points of attention by matrices backward, where every subgroup of the adapter has LANES lanes.

@compute @workgroup_size(THREADS)
fn backward_queries(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  differentiate_queries(workgroup, count.x, subgroup, thread);
}

@compute @workgroup_size(THREADS)
fn backward_keys(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  differentiate_keys(workgroup, subgroup, thread);
}
