// The norm over all gradients, and what follows from it: clipping, skipping, the loss scale.
//
// A step records `gradNormPartials` once per bank of gradients, then `gradNormFinish`, then `adamw`.
// Everything stays on the GPU: the host reads the state when it reports, never in between.
import gradNorm from "../../shaders/grad-norm.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import optimizerState from "../../shaders/lib/optimizer-state.wgsl?raw";
import reduceVec4 from "../../shaders/lib/reduce-vec4.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

/** Indices into the optimizer's state, f32 [16]; shaders/lib/optimizer-state.wgsl says what each means. */
export const OPTIMIZER_STATE = {
  lossScale: 0,
  growthCount: 1,
  adamStep: 2,
  skippedTotal: 3,
  skippedInARow: 4,
  gradNorm: 5,
  coefficient: 6,
  finite: 7,
  lossSum: 8,
  correctSum: 9,
  usedLossScale: 10,
} as const;

const STATE_LENGTH = 16;

// Gradients that one workgroup sums: 256 threads, 16 vectors of four each.
const CHUNK = 16_384;

// torch.amp.GradScaler's first scale.
const FIRST_LOSS_SCALE = 65_536;

const shader = {
  label: "grad-norm",
  source: [optimizerState, grid, reduceVec4, gradNorm],
  bindings: { gradients: "read", partials: "read_write", state: "read_write" },
  params: { count: "u32", first_partial: "u32", partials: "u32", max_norm: "f32" },
} as const satisfies Shader<string, string>;

/** The state before the first step, f32 [16]. */
export function firstOptimizerState(dynamicLossScale: boolean): Float32Array<ArrayBuffer> {
  const state = new Float32Array(STATE_LENGTH);
  state[OPTIMIZER_STATE.lossScale] = dynamicLossScale ? FIRST_LOSS_SCALE : 1;
  return state;
}

/** How many rows of `partials` a bank of `count` gradients fills. */
export function gradNormPartialCount(count: number): number {
  return workgroups(count, CHUNK);
}

/**
 * Sums the squares of one bank of gradients, of any length, into rows of `partials`, f32 [rows, 4],
 * from `firstPartial` on. Writes `gradNormPartialCount` rows.
 */
export function gradNormPartials(
  recorder: Recorder,
  {
    gradients,
    partials,
    firstPartial,
  }: { gradients: Tensor; partials: Tensor; firstPartial: number },
): void {
  const count = elementCount(gradients.shape);
  const filled = gradNormPartialCount(count);
  const [rows = 0, columns] = partials.shape;
  invariant(
    columns === 4 && firstPartial + filled <= rows,
    () =>
      `gradNormPartials: ${gradients.label} fills rows ${firstPartial} to ${firstPartial + filled} of ${partials.label}, which is [${partials.shape.join(", ")}] and not [rows, 4]`,
  );
  recorder.dispatch(shader, {
    entry: "sum_squares",
    buffers: { gradients, partials },
    params: { count, first_partial: firstPartial, partials: 0, max_norm: 0 },
    constants: { DYNAMIC: false, CHUNK },
    grid: foldGrid(filled),
    flops: 2 * count,
  });
}

/**
 * From all rows of `partials`, f32 [rows, 4], decides on the step and writes `state`, f32 [16]: the norm,
 * whether it is finite, torch's clipping coefficient (`maxNorm` 0 is no clipping), and the counts.
 * With `dynamicLossScale` the loss scale follows torch's GradScaler; without, it stays as it is.
 */
export function gradNormFinish(
  recorder: Recorder,
  {
    partials,
    state,
    maxNorm,
    dynamicLossScale,
  }: { partials: Tensor; state: Tensor; maxNorm: number; dynamicLossScale: boolean },
): void {
  const [rows = 0, columns] = partials.shape;
  invariant(
    columns === 4 && rows > 0 && elementCount(state.shape) === STATE_LENGTH,
    () =>
      `gradNormFinish: ${partials.label} is [${partials.shape.join(", ")}], not [rows, 4], or ${state.label} [${state.shape.join(", ")}], not [16]`,
  );
  recorder.dispatch(shader, {
    entry: "finish",
    buffers: { partials, state },
    params: { count: 0, first_partial: 0, partials: rows, max_norm: maxNorm },
    constants: { DYNAMIC: dynamicLossScale, CHUNK },
    grid: [1],
    flops: 4 * rows,
  });
}
