// One optimizer step: micro-batches forward and backward, then the update. Waits for nothing.
import { invariant } from "../base/error.ts";
import type { Program } from "../gpu/program.ts";
import { ReportRing } from "../gpu/report-ring.ts";
import { type StoredTensor, write } from "../gpu/tensor.ts";
import { firstOptimizerState, OPTIMIZER_STATE } from "../kernels/grad-norm.ts";
import { allocateBatch, type BatchArrays, type BatchTensors, writeBatch } from "../model/batch.ts";
import type { Checkpointing } from "../model/keeping.ts";
import { buildTrainProgram, type Model } from "../model/transformer.ts";
import { buildOptimizerProgram, type OptimizerOptions } from "./optimizer.ts";

/** The arrays of one micro-batch, as data/batches.ts makes them. */
export interface MicroBatch extends BatchArrays {
  readonly labelTokens: number;
  readonly tokens: number;
}

export interface StepperOptions extends OptimizerOptions {
  /** Tokens of a micro-batch, padding included. */
  readonly tokens: number;
  readonly checkpointing: Checkpointing;
  readonly dropout: number;
  readonly seed: number;
  /** The loss scale where it is not dynamic. Default 1. */
  readonly fixedLossScale?: number;
}

/** What the GPU says of a finished step. */
export interface StepOutcome {
  /** Mean loss over the step's label tokens, in nats. */
  readonly loss: number;
  /** Of the last optimizer step, before clipping; NaN where it was not finite and the step was skipped. */
  readonly gradNorm: number;
  readonly lossScale: number;
  readonly finite: boolean;
  readonly skippedTotal: number;
  readonly skippedInARow: number;
}

/** How a step differs from the plain one. */
export interface StepWays {
  /** Of each token's loss. */
  readonly lossWeight?: number;
  /** Whether the optimizer steps; the gradients wait where it does not. */
  readonly updates?: boolean;
}

/** Steps whose outcome may be outstanding while the next is submitted. */
export const STEPS_IN_FLIGHT = 2;

export class Stepper {
  /** The optimizer's state on the GPU, f32 [16]: see kernels/grad-norm.ts. */
  readonly state: StoredTensor;
  readonly #model: Model;
  readonly #batch: BatchTensors;
  readonly #train: Program;
  readonly #optimizer: Program;
  readonly #ring: ReportRing;
  readonly #seed: number;

  private constructor(
    model: Model,
    batch: BatchTensors,
    state: StoredTensor,
    programs: { train: Program; optimizer: Program },
    seed: number,
  ) {
    this.#model = model;
    this.#batch = batch;
    this.state = state;
    this.#train = programs.train;
    this.#optimizer = programs.optimizer;
    this.#ring = new ReportRing(model.gpu, state, STEPS_IN_FLIGHT + 2);
    this.#seed = seed;
  }

  /** Allocates and records. The model must have an adapter made for training. */
  static async create(model: Model, options: StepperOptions): Promise<Stepper> {
    const { adapter, gpu } = model;
    invariant(adapter !== undefined, () => "a model without an adapter has nothing to train");
    const { checkpointing, dropout } = options;
    const batch = allocateBatch(gpu, options.tokens);
    const state = gpu.allocate("optimizer.state", "f32", [16]);
    const first = firstOptimizerState(options.dynamicLossScale);
    if (!options.dynamicLossScale) first[OPTIMIZER_STATE.lossScale] = options.fixedLossScale ?? 1;
    write(gpu, state, first);
    let train: Program | undefined;
    try {
      train = await buildTrainProgram(model, { batch, state, checkpointing, dropout });
      const optimizer = await buildOptimizerProgram(model, adapter, state, options);
      return new Stepper(model, batch, state, { train, optimizer }, options.seed);
    } catch (error) {
      train?.free();
      for (const tensor of [state, batch.whole]) gpu.free(tensor);
      throw error;
    }
  }

  get trainProgram(): Program {
    return this.#train;
  }

  get optimizerProgram(): Program {
    return this.#optimizer;
  }

  /**
   * Submits a whole step, and resolves once its outcome is read back. By default every label token of the
   * group weighs the same, in whichever micro-batch it lies, and the optimizer steps.
   */
  async run(
    microBatches: readonly MicroBatch[],
    step: number,
    learningRate: number,
    { lossWeight = equalWeight(microBatches), updates = true }: StepWays = {},
  ): Promise<StepOutcome> {
    const labelTokens = countLabels(microBatches);
    this.#accumulate(microBatches, { step, learningRate, lossWeight });
    if (updates) this.#optimizer.run();
    const state = await this.#ring.capture();
    const at = (name: keyof typeof OPTIMIZER_STATE) => state[OPTIMIZER_STATE[name]] ?? Number.NaN;
    return {
      loss: labelTokens > 0 ? at("lossSum") / labelTokens : 0,
      gradNorm: at("finite") === 1 ? at("gradNorm") : Number.NaN,
      lossScale: at("usedLossScale"),
      finite: at("finite") === 1,
      skippedTotal: at("skippedTotal"),
      skippedInARow: at("skippedInARow"),
    };
  }

  /** Adds the gradients of micro-batches once more, for an optimizer step that a later `run` takes. */
  repeat(microBatches: readonly MicroBatch[], step: number, lossWeight: number): void {
    this.#accumulate(microBatches, { step, lossWeight, learningRate: 0 });
  }

  #accumulate(
    microBatches: readonly MicroBatch[],
    values: { step: number; learningRate: number; lossWeight: number },
  ): void {
    const { gpu, step: scalars } = this.#model;
    // The loss sum starts anew; the rest of the state carries over.
    write(gpu, this.state, new Float32Array(2), OPTIMIZER_STATE.lossSum * 4);
    microBatches.forEach((microBatch, micro) => {
      const rows = writeBatch(gpu, this.#batch, microBatch);
      scalars.set({ seed: this.#seed, micro, adapterScale: 1, ...values });
      this.#train.run({ rows });
    });
  }

  /** Tells how long the last step took, so that submits get the right length. */
  learnSpeed(seconds: number, microBatches: number): void {
    this.#train.learnSpeed(seconds / microBatches);
  }

  free(): void {
    for (const tensor of [this.state, this.#batch.whole]) this.#model.gpu.free(tensor);
    this.#ring.free();
    this.#train.free();
    this.#optimizer.free();
  }
}

function equalWeight(microBatches: readonly MicroBatch[]): number {
  const labelTokens = countLabels(microBatches);
  return labelTokens > 0 ? 1 / labelTokens : 0;
}

/** Label tokens of micro-batches together. */
export function countLabels(microBatches: readonly MicroBatch[]): number {
  return microBatches.reduce((sum, { labelTokens }) => sum + labelTokens, 0);
}
