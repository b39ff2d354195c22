// Loss, perplexity and token accuracy of a model on data it is not trained on.
import type { EvalReport } from "../../engine.ts";
import type { Program } from "../../gpu/program.ts";
import { readF32, type StoredTensor, write } from "../../gpu/tensor.ts";
import { firstOptimizerState } from "../../kernels/grad-norm.ts";
import { allocateBatch, type BatchTensors, spread, writeBatch } from "../../model/batch.ts";
import { buildEvaluateProgram, type Model } from "../../model/transformer.ts";
import type { MicroBatch } from "../../train/step.ts";

/** Sums over label tokens. */
interface Sums {
  readonly loss: number;
  readonly correct: number;
  readonly labelTokens: number;
}

export class Evaluator {
  readonly #model: Model;
  readonly #batch: BatchTensors;
  readonly #state: StoredTensor;
  readonly #program: Program;
  readonly #losses: StoredTensor;
  readonly #correct: StoredTensor;

  private constructor(
    model: Model,
    batch: BatchTensors,
    state: StoredTensor,
    built: { program: Program; losses: StoredTensor; correct: StoredTensor },
  ) {
    this.#model = model;
    this.#batch = batch;
    this.#state = state;
    this.#program = built.program;
    this.#losses = built.losses;
    this.#correct = built.correct;
  }

  /** Records the forward pass over `tokens` tokens at a time. */
  static async create(model: Model, tokens: number): Promise<Evaluator> {
    const batch = allocateBatch(model.gpu, tokens);
    const state = model.gpu.allocate("evaluate.state", "f32", [16]);
    write(model.gpu, state, firstOptimizerState(false));
    try {
      const built = await buildEvaluateProgram(model, { batch, state });
      return new Evaluator(model, batch, state, built);
    } catch (error) {
      for (const tensor of [state, batch.whole]) model.gpu.free(tensor);
      throw error;
    }
  }

  /** Per token: the loss in nats and 1 where the target was ranked first; 0 where there is no target. */
  async tokens(batch: MicroBatch): Promise<{ losses: Float32Array; correct: Float32Array }> {
    const { gpu, step } = this.#model;
    const rows = writeBatch(gpu, this.#batch, batch);
    step.set({ adapterScale: 1 });
    this.#program.run({ rows });
    return {
      losses: spread(await readF32(gpu, this.#losses), batch),
      correct: spread(await readF32(gpu, this.#correct), batch),
    };
  }

  /** Over all batches together, every label token weighing the same. Undefined where it was aborted. */
  async total(
    batches: readonly MicroBatch[],
    signal?: AbortSignal,
  ): Promise<EvalReport | undefined> {
    let sums: Sums = { loss: 0, correct: 0, labelTokens: 0 };
    for (const batch of batches) {
      if (signal?.aborted) return undefined;
      const { losses, correct } = await this.tokens(batch);
      sums = {
        loss: sums.loss + sumOf(losses),
        correct: sums.correct + sumOf(correct),
        labelTokens: sums.labelTokens + batch.labelTokens,
      };
    }
    return reportOf(sums);
  }

  free(): void {
    const { gpu } = this.#model;
    const tensors = [this.#batch.whole, this.#state, this.#losses, this.#correct];
    for (const tensor of tensors) gpu.free(tensor);
    this.#program.free();
  }
}

/** Means over label tokens; not numbers where there is none. */
export function reportOf({ loss, correct, labelTokens }: Sums): EvalReport {
  const mean = loss / labelTokens;
  return {
    loss: mean,
    perplexity: Math.exp(mean),
    tokenAccuracy: correct / labelTokens,
    labelTokens,
  };
}

export function sumOf(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}
