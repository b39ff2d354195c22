// AdamW, torch's: one dispatch over a flat bank of parameters.
import adamwShader from "../../shaders/adamw.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import optimizerState from "../../shaders/lib/optimizer-state.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

// Elements per workgroup: 256 threads, one vector of four each.
const CHUNK = 1024;

// ln β for a β of 0, where β^t is 0: far enough below 0 that e^(t · ln β) is 0 in f32.
const LOG_OF_ZERO = -200;

const shader = {
  label: "adamw",
  source: [step, grid, optimizerState, adamwShader],
  bindings: {
    state: "read",
    parameters: "read_write",
    gradients: "read_write",
    m: "read_write",
    v: "read_write",
  },
  params: {
    count: "u32",
    beta2: "f32",
    rest1: "f32",
    rest2: "f32",
    log_beta1: "f32",
    log_beta2: "f32",
    epsilon: "f32",
    weight_decay: "f32",
  },
  usesStep: true,
} as const satisfies Shader<string, string>;

/**
 * One step of AdamW on `parameters`, `gradients`, `m` and `v`, all f32 and of the same length, at
 * step.learning_rate. The state after `gradNormFinish` says by what the gradients are multiplied,
 * which step this is, and whether it is taken; a skipped step leaves parameters, m and v bit for bit.
 * Leaves the gradients zero in either case.
 */
export function adamw(
  recorder: Recorder,
  {
    parameters,
    gradients,
    m,
    v,
    state,
    beta1,
    beta2,
    epsilon,
    weightDecay,
  }: {
    parameters: Tensor;
    gradients: Tensor;
    m: Tensor;
    v: Tensor;
    state: Tensor;
    beta1: number;
    beta2: number;
    epsilon: number;
    weightDecay: number;
  },
): void {
  const count = elementCount(parameters.shape);
  for (const other of [gradients, m, v]) {
    invariant(
      elementCount(other.shape) === count,
      () =>
        `adamw: ${parameters.label} has ${count} elements, ${other.label} ${elementCount(other.shape)}`,
    );
  }
  recorder.dispatch(shader, {
    entry: "forward",
    buffers: { parameters, gradients, m, v, state },
    params: {
      count,
      beta2,
      // 1 − β and ln β are taken here in f64: from an f32 β, 1 − 0.999 would be off by 1.3e-5.
      rest1: 1 - beta1,
      rest2: 1 - beta2,
      log_beta1: Math.max(Math.log(beta1), LOG_OF_ZERO),
      log_beta2: Math.max(Math.log(beta2), LOG_OF_ZERO),
      epsilon,
      weight_decay: weightDecay,
    },
    grid: foldGrid(workgroups(count, CHUNK)),
    flops: 16 * count,
  });
}
