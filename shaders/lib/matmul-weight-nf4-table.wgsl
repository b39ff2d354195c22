// How a product reads a weight that is stored as NF4 where it fills tiles of workgroup memory: as
// lib/matmul-weight-nf4.wgsl, with the sixteen values in a table, which is faster on GPUs than a tree of
// selections. The first barrier of the workgroup after `prepare_weight` makes the table whole.

var<workgroup> nf4_table: array<f32, 16>;

/// Every thread must call.
fn prepare_weight(thread: u32) {
  if (thread < 16u) {
    nf4_table[thread] = nf4_values(vec4u(thread)).x;
  }
}

/// Numbers 4 · at … 4 · at + 3 of the flat weight, in the type that products are made in.
fn weight_shared(at: u32) -> vec4<Shared> {
  let codes = nf4_first(weight[at / 2u] >> (at % 2u * 16u));
  let values = vec4f(
    nf4_table[codes.x], nf4_table[codes.y], nf4_table[codes.z], nf4_table[codes.w],
  );
  return vec4<Shared>(values * absmax[at / 16u]);
}
