// In place of lib/matmul-y.wgsl where outputs, y_column or y_stride are no multiples of 4: stores one after the other.

@group(0) @binding(5) var<storage, read_write> y: array<Out>;
@group(0) @binding(10) var<storage, read> residual: array<f32>;
@group(0) @binding(11) var<storage, read> bias: array<f32>;

/// Where the four outputs lie that begin at `slot`, a multiple of 4: where they are counted.
fn outputs_of(slot: u32) -> vec4u {
  return vec4u(slot) + FOUR;
}

/// Where one of them lies.
fn output_at(slot: u32) -> u32 {
  return slot;
}

/// Stores the sums of the outputs `outputs_of(slot)`, those that there are.
fn store_outputs(row: u32, slot: u32, sums: vec4f) {
  store_y(row, slot, sums.x);
  if (slot + 1u < params.outputs) {
    store_y(row, slot + 1u, sums.y);
  }
  if (slot + 2u < params.outputs) {
    store_y(row, slot + 2u, sums.z);
  }
  if (slot + 3u < params.outputs) {
    store_y(row, slot + 3u, sums.w);
  }
}

fn store_y(row: u32, output: u32, sum: f32) {
  var value = sum;
  if (params.has_bias != 0u) {
    value += bias[output];
  }
  let at = (params.y_row + row) * params.y_stride + params.y_column + output;
  if (params.addend == 0u) {
    y[at] = Out(value);
  } else if (params.addend == 1u) {
    y[at] = Out(value + f32(y[at]));
  } else {
    y[at] = Out(value + residual[at]);
  }
}
