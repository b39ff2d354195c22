// The gated activation between the two matrices of a feed-forward block.
import glu from "../../shaders/glu.wgsl?raw";
import gate from "../../shaders/lib/gate.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";

const THREADS = 64;

/** What the gate passes through: z · σ(z), or z · ½ (1 + tanh(√(2/π) (z + 0.044715 z³))). */
export type GluActivation = "silu" | "gelu_tanh";

const shader = {
  label: "glu",
  source: [grid, gate, glu],
  bindings: { gu: "read", h: "read_write", dh: "read_write", dgu: "read_write" },
  params: { rows: "u32", quads: "u32" },
} as const satisfies Shader<string, string>;

/**
 * h = activation(gate) ∘ up, with gu = [gate | up].
 *
 *   gu  f32 or f16  [tokens, 2 · features], features a multiple of 4
 *   h   as gu       [tokens, features]
 */
export function gluForward(
  recorder: Recorder,
  { gu, h, activation }: { gu: Tensor; h: Tensor; activation: GluActivation },
): void {
  const [rows, quads] = checkGate("gluForward", gu, h);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: h.dtype },
    constants: { GELU: activation === "gelu_tanh" },
    buffers: { gu, h },
    params: { rows, quads },
    grid: foldGrid(workgroups(rows * quads, THREADS)),
    flops: 5 * 4 * rows * quads,
  });
}

/**
 * Goes back over `gluForward`, in place: gu becomes [dgate | dup], and dh becomes h, which whoever comes next
 * wants and nobody need have kept.
 *
 *   gu  f32 or f16  [tokens, 2 · features]
 *   dh  as gu       [tokens, features]
 */
export function gluBackward(
  recorder: Recorder,
  { gu, dh, activation }: { gu: Tensor; dh: Tensor; activation: GluActivation },
): void {
  const [rows, quads] = checkGate("gluBackward", gu, dh);
  recorder.dispatch(shader, {
    entry: "backward",
    types: { Act: dh.dtype },
    constants: { GELU: activation === "gelu_tanh" },
    buffers: { dgu: gu, dh },
    params: { rows, quads },
    grid: foldGrid(workgroups(rows * quads, THREADS)),
    flops: 15 * 4 * rows * quads,
  });
}

function checkGate(kernel: string, gu: Tensor, part: Tensor): [rows: number, quads: number] {
  const [rows, features] = matrixShape(part);
  invariant(
    features % 4 === 0,
    () => `${kernel}: ${part.label} has ${features} columns, no multiple of 4`,
  );
  requireShape(kernel, gu, part.dtype, [rows, 2 * features], part);
  return [rows, features / 4];
}
