// y = x + addend · SCALE: the smallest kernel there is, for tests of what is around kernels.
import type { Shader } from "../../src/gpu/kernel.ts";
import type { Recorder } from "../../src/gpu/program.ts";
import { elementCount, type Tensor } from "../../src/gpu/tensor.ts";

const source = `
struct Params { count: u32, addend: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = x[id.x] + params.addend * f32(SCALE); }
}
`;

export const addShader = {
  label: "add",
  source: [source],
  bindings: { x: "read", y: "read_write" },
  params: { count: "u32", addend: "f32" },
} as const satisfies Shader<string, string>;

export function add(recorder: Recorder, { x, y, addend, scale = 1, flops }: AddOperands): void {
  const count = elementCount(x.shape);
  recorder.dispatch(addShader, {
    entry: "forward",
    buffers: { x, y },
    params: { count, addend },
    constants: { SCALE: scale },
    grid: [Math.ceil(count / 64)],
    flops: flops ?? count,
  });
}

interface AddOperands {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly addend: number;
  readonly scale?: number;
  readonly flops?: number;
}
