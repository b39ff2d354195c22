// Numbers of NF4 codes from a table in workgroup memory, whose 16 words lie in 16 banks: threads never wait
// for each other there. Needs lib/nf4.wgsl.

var<workgroup> nf4_table: array<f32, 16>;

/// Every thread of the workgroup must call.
fn prepare_look_up(thread: u32) {
  if (thread < 16u) {
    nf4_table[thread] = nf4_values(vec4u(thread)).x;
  }
  workgroupBarrier();
}

fn look_up(codes: vec4u) -> vec4f {
  return vec4f(
    nf4_table[codes.x], nf4_table[codes.y], nf4_table[codes.z], nf4_table[codes.w],
  );
}
