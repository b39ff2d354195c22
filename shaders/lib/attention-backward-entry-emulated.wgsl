// The entry points of attention by matrices backward, where LANES neighboring threads stand for a subgroup.

@compute @workgroup_size(THREADS)
fn backward_queries(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  emulated_lane = thread % LANES;
  differentiate_queries(workgroup, count.x, thread / LANES, thread);
}

@compute @workgroup_size(THREADS)
fn backward_keys(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  emulated_lane = thread % LANES;
  differentiate_keys(workgroup, thread / LANES, thread);
}
