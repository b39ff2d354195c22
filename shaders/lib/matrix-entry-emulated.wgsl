// The entry points where LANES neighboring threads stand for a subgroup.

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  emulated_lane = thread % LANES;
  forward_tile(workgroup, thread / LANES, thread % LANES, thread);
}

@compute @workgroup_size(THREADS)
fn backward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  emulated_lane = thread % LANES;
  backward_tile(workgroup, thread / LANES, thread % LANES, thread);
}
