// Two NF4 weights as plain numbers in one dispatch: each as shaders/dequantize.wgsl makes it.
//
//   first_codes,  second_codes   u32  [⌈weights / 8⌉]    eight codes a word, even elements in the high nibbles
//   first_absmax, second_absmax  f32  [⌈weights / 64⌉]   scale of each block of the flat weight
//   first_out,    second_out     Out  [≥ count]
//
// A thread makes eight weights; the workgroups from second_workgroup on make the second. Computed in f32 and
// rounded once, to Out. Counts are multiples of 8.

const THREADS = 64u;

struct Params {
  first_count: u32,
  second_count: u32,
  second_workgroup: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first_codes: array<u32>;
@group(0) @binding(2) var<storage, read> first_absmax: array<f32>;
@group(0) @binding(3) var<storage, read_write> first_out: array<vec4<Out>>;
@group(0) @binding(4) var<storage, read> second_codes: array<u32>;
@group(0) @binding(5) var<storage, read> second_absmax: array<f32>;
@group(0) @binding(6) var<storage, read_write> second_out: array<vec4<Out>>;

@compute @workgroup_size(THREADS)
fn expand(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = flat_workgroup(workgroup, workgroups);
  if (group < params.second_workgroup) {
    let eight = group * THREADS + thread;
    if (eight * 8u < params.first_count) {
      let word = first_codes[eight];
      let scale = first_absmax[eight / 8u];
      first_out[2u * eight] = vec4<Out>(nf4_values(nf4_first(word)) * scale);
      first_out[2u * eight + 1u] = vec4<Out>(nf4_values(nf4_second(word)) * scale);
    }
  } else {
    let eight = (group - params.second_workgroup) * THREADS + thread;
    if (eight * 8u < params.second_count) {
      let word = second_codes[eight];
      let scale = second_absmax[eight / 8u];
      second_out[2u * eight] = vec4<Out>(nf4_values(nf4_first(word)) * scale);
      second_out[2u * eight + 1u] = vec4<Out>(nf4_values(nf4_second(word)) * scale);
    }
  }
}
