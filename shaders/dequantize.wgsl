// A frozen weight as plain numbers, for one product to read: out[i] = W.flat[start + i].
//
//   nf4    codes   u32   [⌈weights / 8⌉]      eight codes a word, even elements in the high nibbles
//          absmax  f32   [⌈weights / 64⌉]     scale of each block of the flat weight
//   plain  source  Quad  [weights / 4]        f32, f16, or packed pairs, as lib/widen-….wgsl reads them
//   both   out     Stored  [≥ count]          f32 or f16, as lib/store-eight-….wgsl writes them
//
// A thread makes EIGHTS times eight weights, one eight in every THREADS: at each step the threads of a
// workgroup read and write side by side, and all that a thread reads it can ask for at once. Codes become
// numbers as lib/nf4-….wgsl does it. Computed in f32 and rounded once, to Out.
// start is a multiple of 64, count of 4.

struct Params {
  start: u32,
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> absmax: array<f32>;
@group(0) @binding(3) var<storage, read> source: array<Quad>;
@group(0) @binding(4) var<storage, read_write> out: array<Stored>;

@compute @workgroup_size(THREADS)
fn nf4(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  prepare_look_up(thread);
  let first = flat_workgroup(workgroup, workgroups) * (THREADS * EIGHTS) + thread;
  for (var i = 0u; i < EIGHTS; i++) {
    let eight = first + i * THREADS;
    if (eight * 8u < params.count) {
      let word = codes[params.start / 8u + eight];
      let scale = absmax[(params.start + eight * 8u) / 64u];
      let low = look_up(nf4_first(word)) * scale;
      if (eight * 8u + 4u < params.count) {
        store_eight(eight, low, look_up(nf4_second(word)) * scale);
      } else {
        store_four(eight, low);
      }
    }
  }
}

@compute @workgroup_size(THREADS)
fn plain(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let first = flat_workgroup(workgroup, workgroups) * (THREADS * EIGHTS) + thread;
  for (var i = 0u; i < EIGHTS; i++) {
    let eight = first + i * THREADS;
    if (eight * 8u < params.count) {
      let at = params.start / 4u + eight * 2u;
      let low = widen(source[at]);
      if (eight * 8u + 4u < params.count) {
        store_eight(eight, low, widen(source[at + 1u]));
      } else {
        store_four(eight, low);
      }
    }
  }
}
