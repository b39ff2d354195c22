// The gated activation between the two matrices of a feed-forward block.
import grid from "../../shaders/lib/grid.wgsl?raw";
import swiglu from "../../shaders/swiglu.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";

const THREADS = 64;

const shader = {
  label: "swiglu",
  source: [grid, swiglu],
  bindings: { gu: "read", h: "read_write", dh: "read", dgu: "read_write" },
  params: { rows: "u32", quads: "u32" },
} as const satisfies Shader<string, string>;

/**
 * h = silu(gate) ∘ up, with silu(z) = z / (1 + e⁻ᶻ) and gu = [gate | up].
 *
 *   gu  f32 or f16  [tokens, 2 · features], features a multiple of 4
 *   h   as gu       [tokens, features]
 */
export function swigluForward(recorder: Recorder, { gu, h }: { gu: Tensor; h: Tensor }): void {
  const [rows, quads] = checkGate("swigluForward", gu, h);
  recorder.dispatch(shader, {
    entry: "forward",
    types: { Act: h.dtype },
    buffers: { gu, h },
    params: { rows, quads },
    grid: foldGrid(workgroups(rows * quads, THREADS)),
    flops: 5 * 4 * rows * quads,
  });
}

/**
 * dgu = [dgate | dup] of `swigluForward`.
 *
 *   gu   f32 or f16  [tokens, 2 · features]
 *   dh   as gu       [tokens, features]
 *   dgu  as gu       may be gu itself, which is then overwritten
 */
export function swigluBackward(
  recorder: Recorder,
  { gu, dh, dgu }: { gu: Tensor; dh: Tensor; dgu: Tensor },
): void {
  const [rows, quads] = checkGate("swigluBackward", gu, dh);
  requireShape("swigluBackward", dgu, gu.dtype, matrixShape(gu), gu);
  const inPlace = dgu === gu;
  recorder.dispatch(shader, {
    entry: inPlace ? "backward_in_place" : "backward",
    types: { Act: dh.dtype },
    buffers: inPlace ? { dh, dgu } : { gu, dh, dgu },
    params: { rows, quads },
    grid: foldGrid(workgroups(rows * quads, THREADS)),
    flops: 10 * 4 * rows * quads,
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
