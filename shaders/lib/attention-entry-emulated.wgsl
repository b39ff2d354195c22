// The entry point of attention by matrices forward, where LANES neighboring threads stand for a subgroup.

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  emulated_lane = thread % LANES;
  attend(workgroup, count.x, thread / LANES, thread);
}
