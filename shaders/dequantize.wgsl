// A frozen weight as plain numbers, for one product to read: out[i] = W.flat[start + i].
//
//   nf4    codes   u32   [⌈weights / 8⌉]      eight codes a word, even elements in the high nibbles
//          absmax  f32   [⌈weights / 64⌉]     scale of each block of the flat weight
//   plain  source  Quad  [weights / 4]        f32, f16, or packed pairs, as lib/widen-….wgsl reads them
//   both   out     Out   [≥ count]
//
// A thread makes eight weights. Computed in f32 and rounded once, to Out.
// start is a multiple of 64, count of 4.

struct Params {
  start: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> absmax: array<f32>;
@group(0) @binding(3) var<storage, read> source: array<Quad>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<Out>>;

@compute @workgroup_size(64)
fn nf4(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let element = (flat_workgroup(workgroup, workgroups) * 64u + thread) * 8u;
  if (element >= params.count) {
    return;
  }
  let word = codes[(params.start + element) / 8u];
  let scale = absmax[(params.start + element) / 64u];
  out[element / 4u] = vec4<Out>(nf4_values(nf4_first(word)) * scale);
  if (element + 4u < params.count) {
    out[element / 4u + 1u] = vec4<Out>(nf4_values(nf4_second(word)) * scale);
  }
}

@compute @workgroup_size(64)
fn plain(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let element = (flat_workgroup(workgroup, workgroups) * 64u + thread) * 8u;
  if (element >= params.count) {
    return;
  }
  out[element / 4u] = vec4<Out>(widen(source[(params.start + element) / 4u]));
  if (element + 4u < params.count) {
    out[element / 4u + 1u] = vec4<Out>(widen(source[(params.start + element) / 4u + 1u]));
  }
}
