// What the variants of the low-rank side path have in common: their bindings and parameters.

/** Parts of a Shader; shaders/lora.wgsl says what each operand is. */
export const LORA_OPERANDS = {
  bindings: {
    x: "read",
    a: "read",
    h: "read_write",
    dy: "read",
    b: "read",
    dh: "read_write",
    made_h: "read",
    made_dh: "read",
    da: "read_write",
    db: "read_write",
  },
  params: {
    rows: "u32",
    inputs: "u32",
    outputs: "u32",
    x_row: "u32",
    y_row: "u32",
    y_column: "u32",
    y_stride: "u32",
    rank: "u32",
    segments: "u32",
    end_0: "u32",
    end_1: "u32",
    end_2: "u32",
    scale_0: "f32",
    scale_1: "f32",
    scale_2: "f32",
    scale_3: "f32",
    drop_below: "u32",
    keep_scale: "f32",
    module_id: "u32",
  },
  usesStep: true,
} as const;
