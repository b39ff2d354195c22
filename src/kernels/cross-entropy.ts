// Token losses and the gradient of the logits, a chunk of rows at a time.
import crossEntropy from "../../shaders/cross-entropy.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import optimizerState from "../../shaders/lib/optimizer-state.wgsl?raw";
import reduce from "../../shaders/lib/reduce.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import { OPTIMIZER_STATE } from "./grad-norm.ts";

const shader = {
  label: "cross-entropy",
  source: [grid, step, optimizerState, reduce, crossEntropy],
  bindings: {
    targets: "read",
    logits: "read_write",
    loss: "read_write",
    correct: "read_write",
    state: "read_write",
    summands: "read",
  },
  params: { rows: "u32", vocabulary: "u32", first_row: "u32", element: "u32" },
  usesStep: true,
} as const satisfies Shader<string, string>;

interface CrossEntropyOperands {
  /** f32 [rows, vocabulary]: of the tokens firstRow … firstRow + rows − 1. */
  readonly logits: Tensor;
  /** u32 [tokens]: the id each token must predict, or 0xffffffff for none. */
  readonly targets: Tensor;
  /** f32 [tokens], in nats; 0 where there is no target. Only this chunk's rows are written. */
  readonly loss: Tensor;
  readonly firstRow?: number;
  /** How many rows of logits are used; all, if not given. */
  readonly rows?: number;
}

/**
 * Writes losses, and replaces the logits by their gradient,
 * (softmax − onehot(target)) · step.loss_weight · loss scale. Rows without a target become zero.
 *
 *   state  f32 [16], the optimizer's, of which the loss scale is read
 */
export function crossEntropyForwardBackward(
  recorder: Recorder,
  operands: CrossEntropyOperands & { readonly state: Tensor },
): void {
  const { logits, targets, loss, state } = operands;
  const { rows, vocabulary, firstRow } = checkChunk("crossEntropyForwardBackward", operands);
  recorder.dispatch(shader, {
    entry: "forward_backward",
    constants: lanesFor(vocabulary),
    buffers: { targets, logits, loss, state },
    params: { rows, vocabulary, first_row: firstRow, element: 0 },
    grid: foldGrid(rows),
    flops: 8 * rows * vocabulary,
  });
}

/**
 * Writes losses and whether the largest logit is the target's; leaves the logits alone.
 *
 *   correct  f32 [tokens]; 1 or 0, and 0 where there is no target. Of equal logits the first counts.
 */
export function crossEntropyEvaluate(
  recorder: Recorder,
  operands: CrossEntropyOperands & { readonly correct: Tensor },
): void {
  const { logits, targets, loss, correct } = operands;
  const { rows, vocabulary, firstRow } = checkChunk("crossEntropyEvaluate", operands);
  requireShape("crossEntropyEvaluate", correct, "f32", matrixShape(loss), loss);
  recorder.dispatch(shader, {
    entry: "evaluate",
    constants: lanesFor(vocabulary),
    buffers: { targets, logits, loss, correct },
    params: { rows, vocabulary, first_row: firstRow, element: 0 },
    grid: foldGrid(rows),
    flops: 5 * rows * vocabulary,
  });
}

/**
 * state[into] += Σ values over all tokens with a target, in a fixed order.
 *
 *   values   f32 [tokens]: losses or correctness
 *   targets  u32 [tokens]
 *   state    f32 [16], the optimizer's; its lossSum or correctSum is added to
 */
export function crossEntropySum(
  recorder: Recorder,
  {
    values,
    targets,
    state,
    into,
  }: { values: Tensor; targets: Tensor; state: Tensor; into: "loss" | "correct" },
): void {
  const rows = elementCount(values.shape);
  const element = into === "loss" ? OPTIMIZER_STATE.lossSum : OPTIMIZER_STATE.correctSum;
  invariant(
    values.dtype === "f32" && elementCount(state.shape) > element,
    () =>
      `crossEntropySum: ${values.label} is ${values.dtype}, ${state.label} [${state.shape.join(", ")}]`,
  );
  requireShape("crossEntropySum", targets, "u32", [1, rows], values);
  recorder.dispatch(shader, {
    entry: "sum",
    constants: lanesFor(rows),
    buffers: { targets, summands: values, state },
    params: { rows, vocabulary: 0, first_row: 0, element },
    grid: [1],
    flops: rows,
  });
}

/** Threads of a row's workgroup: more only where there is work for them, since each costs at barriers. */
function lanesFor(count: number) {
  return count < 16_384 ? { LANES: 64, LANES_ROOT: 8 } : { LANES: 256, LANES_ROOT: 16 };
}

function checkChunk(
  kernel: string,
  { logits, targets, loss, firstRow = 0, rows }: CrossEntropyOperands,
): { rows: number; vocabulary: number; firstRow: number } {
  const [chunkRows, vocabulary] = matrixShape(logits);
  const tokens = elementCount(targets.shape);
  requireShape(kernel, logits, "f32", [chunkRows, vocabulary], logits);
  requireShape(kernel, targets, "u32", [1, tokens], targets);
  requireShape(kernel, loss, "f32", [1, tokens], targets);
  const used = rows ?? chunkRows;
  invariant(
    used <= chunkRows && firstRow + used <= tokens,
    () =>
      `${kernel}: ${used} rows from ${firstRow} on; ` +
      `${logits.label} has ${chunkRows}, ${targets.label} ${tokens}`,
  );
  return { rows: used, vocabulary, firstRow };
}
