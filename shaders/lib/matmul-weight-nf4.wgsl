// How a product reads a weight that is stored as NF4: unpacked where it is used. Needs lib/matmul.wgsl and
// lib/nf4.wgsl. A word of codes is two quads; a block that shares a scale, sixteen.

/// Numbers 4 · at … 4 · at + 3 of the flat weight.
fn weight_quad(at: u32) -> vec4f {
  return nf4_values(nf4_first(weight[at / 2u] >> (at % 2u * 16u))) * absmax[at / 16u];
}
