// The entry points of attention by matrices backward, where subgroups of several sizes are there, and those of LANES lanes are asked for.

@compute @workgroup_size(THREADS) @subgroup_size(LANES)
fn backward_queries(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  differentiate_queries(workgroup, count.x, subgroup, thread);
}

@compute @workgroup_size(THREADS) @subgroup_size(LANES)
fn backward_keys(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  differentiate_keys(workgroup, subgroup, thread);
}
