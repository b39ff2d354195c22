// A copy: what memory can give a shader that does nothing else.
//
//   source  vec4f  [count]
//   out     vec4f  [count]

struct Params {
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;

@compute @workgroup_size(256)
fn copy(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = flat_workgroup(workgroup, workgroups) * 256u + thread;
  if (index < params.count) {
    out[index] = source[index];
  }
}
