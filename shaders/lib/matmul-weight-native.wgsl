// How a product reads a weight that is stored as f32 or f16. Needs lib/matmul.wgsl.

/// Numbers 4 · at … 4 · at + 3 of the flat weight.
fn weight_quad(at: u32) -> vec4f {
  return vec4f(weight[at]);
}

/// The same in the type that products are made in: what is f16 already is not widened on the way.
fn weight_shared(at: u32) -> vec4<Shared> {
  return vec4<Shared>(weight[at]);
}

/// Nothing has to be made ready, as lib/matmul-weight-nf4-table.wgsl has to.
fn prepare_weight(thread: u32) {}
