// The entry point of attention by matrices forward, where subgroups of several sizes are there, and those of LANES lanes are asked for.

@compute @workgroup_size(THREADS) @subgroup_size(LANES)
fn forward(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(local_invocation_index) thread: u32,
) {
  attend(workgroup, count.x, subgroup, thread);
}
