// The update of the adapter: gradient norm, clipping, loss scale and AdamW, as one recorded program.
import { type Program, Recorder } from "../gpu/program.ts";
import type { StoredTensor } from "../gpu/tensor.ts";
import { adamw } from "../kernels/adamw.ts";
import { gradNormFinish, gradNormPartialCount, gradNormPartials } from "../kernels/grad-norm.ts";
import type { Adapter } from "../model/adapter.ts";
import type { Model } from "../model/transformer.ts";

export interface OptimizerOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Gradients are scaled down to this norm; 0 leaves them. */
  readonly maxNorm: number;
  /** Scale the loss so that f16 gradients neither vanish nor overflow, by GradScaler's rules. */
  readonly dynamicLossScale: boolean;
}

/** Records the update. It leaves the gradients zero for the next step. */
export async function buildOptimizerProgram(
  model: Model,
  adapter: Adapter,
  state: StoredTensor,
  options: OptimizerOptions,
): Promise<Program> {
  const recorder = new Recorder(model.gpu, "optimizer", model.workspace, model.step);
  const counts = adapter.banks.map(({ count }) => gradNormPartialCount(count));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const partials = recorder.transient("partials", "f32", [total, 4]);
  let firstPartial = 0;
  adapter.banks.forEach(({ training }, index) => {
    if (!training) return;
    gradNormPartials(recorder, { gradients: training.gradients, partials, firstPartial });
    firstPartial += counts[index] ?? 0;
  });
  const { maxNorm, dynamicLossScale, beta1, beta2, epsilon, weightDecay } = options;
  gradNormFinish(recorder, { partials, state, maxNorm, dynamicLossScale });
  for (const { parameters, training } of adapter.banks) {
    if (!training) continue;
    adamw(recorder, { parameters, ...training, state, beta1, beta2, epsilon, weightDecay });
  }
  return recorder.build();
}
