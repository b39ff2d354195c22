// The entry point of attention by matrices forward, where every subgroup of the adapter has LANES lanes.

@compute @workgroup_size(THREADS)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  attend(workgroup, count.x, subgroup, thread);
}
