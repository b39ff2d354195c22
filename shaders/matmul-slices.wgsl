// Adds up what a product with a frozen weight has made in slices of its inner dimension: in f32, the first slice
// first, so that a second run gives the same bits. A thread adds four neighboring numbers. Needs lib/grid.wgsl.
//
//   sums  f32  [slices, 4 · quads]    what each slice came to
//   dx    Out  [any rows, …]          the result, from quad `first` on

struct Params {
  quads: u32,    // of one slice
  slices: u32,
  first: u32,
  addend: u32,   // whether the result is added to what dx holds
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<Out>>;

@compute @workgroup_size(THREADS)
fn add(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let quad = flat_workgroup(workgroup, count) * THREADS + thread;
  if (quad >= params.quads) {
    return;
  }
  var sum = sums[quad];
  for (var slice = 1u; slice < params.slices; slice++) {
    sum += sums[slice * params.quads + quad];
  }
  let at = params.first + quad;
  if (params.addend != 0u) {
    sum += vec4f(dx[at]);
  }
  dx[at] = vec4<Out>(sum);
}
