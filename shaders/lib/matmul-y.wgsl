// How a product stores four neighboring outputs of a row of y at once: outputs, y_column and y_stride are multiples
// of 4. Needs lib/matmul.wgsl; lib/matmul-y-ragged.wgsl is for others.

@group(0) @binding(5) var<storage, read_write> y: array<vec4<Out>>;
@group(0) @binding(10) var<storage, read> residual: array<vec4f>;
@group(0) @binding(11) var<storage, read> bias: array<vec4f>;

/// Where the four outputs lie that begin at `slot`, a multiple of 4: where they are counted.
fn outputs_of(slot: u32) -> vec4u {
  return vec4u(slot) + FOUR;
}

/// Where one of them lies.
fn output_at(slot: u32) -> u32 {
  return slot;
}

/// Stores the sums of the outputs `outputs_of(slot)`.
fn store_outputs(row: u32, slot: u32, sums: vec4f) {
  var values = sums;
  if (params.has_bias != 0u) {
    values += bias[slot / 4u];
  }
  let at = ((params.y_row + row) * params.y_stride + params.y_column + slot) / 4u;
  if (params.addend == 1u) {
    values += vec4f(y[at]);
  } else if (params.addend == 2u) {
    values += residual[at];
  }
  y[at] = vec4<Out>(values);
}
