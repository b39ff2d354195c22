// How a product reads a weight that is stored as packed numbers. Needs lib/matmul.wgsl and one of lib/widen-….

/// Numbers 4 · at … 4 · at + 3 of the flat weight.
fn weight_quad(at: u32) -> vec4f {
  return widen(weight[at]);
}

/// The same in the type that products are made in.
fn weight_shared(at: u32) -> vec4<Shared> {
  return vec4<Shared>(widen(weight[at]));
}

/// Nothing has to be made ready, as lib/matmul-weight-nf4-table.wgsl has to.
fn prepare_weight(thread: u32) {}
