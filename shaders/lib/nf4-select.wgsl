// Numbers of NF4 codes by selection: no memory, and some fifteen instructions each. Needs lib/nf4.wgsl.

fn prepare_look_up(thread: u32) {}

fn look_up(codes: vec4u) -> vec4f {
  return nf4_values(codes);
}
