// What a run is made of: units of progress, the micro-batches of each, and what is due after it.
//
// A unit is an optimizer step. Under `compat: xtuner-0.1.17` it is an iteration, as mmengine counts: one
// micro-batch, and an optimizer step after every group of them.
import type { TrainConfig } from "../config.ts";
import { learningRate, xtunerSchedule } from "./schedule.ts";

/** When questions are answered: before the first unit, between two, and after the last. */
export type Moment = "before" | "during" | "after";

/** Units are 0-based; "after `step`" is after so many of them. */
export interface StepPlan {
  readonly unit: "step" | "iteration";
  /** Units in the whole run. */
  readonly steps: number;
  readonly batchesPerEpoch: number;
  /** Micro-batches of a unit, as indices counted through all epochs. */
  readonly microBatchesOf: (step: number) => number[];
  /** Whether the optimizer steps at the end of the unit. */
  readonly updatesIn: (step: number) => boolean;
  /** Units before `step` whose gradients no optimizer step has used yet. */
  readonly openBefore: (step: number) => number[];
  readonly learningRate: (step: number) => number;
  /** The weight of each token's loss in a unit with so many label tokens. */
  readonly lossWeight: (step: number, labelTokens: number) => number;
  readonly savesAfter: (step: number) => boolean;
  /** When, after so many units, the questions are answered and the held-out loss is taken; often never. */
  readonly evaluationsAfter: (step: number) => readonly Moment[];
  /** Whether a checkpoint is saved before the questions are answered that are due at the same time. */
  readonly savesFirst: boolean;
}

/** Plans by epochs, or by `max_steps` where it is set; then the data is repeated as often as needed. */
export function planSteps(config: TrainConfig, batchesPerEpoch: number): StepPlan {
  return config.compat === "none"
    ? planOptimizerSteps(config, batchesPerEpoch)
    : planIterations(config, batchesPerEpoch);
}

function planOptimizerSteps(config: TrainConfig, batchesPerEpoch: number): StepPlan {
  const { accumulative_counts: group, max_epochs: epochs, max_steps: maxSteps } = config;
  const total = maxSteps > 0 ? maxSteps * group : batchesPerEpoch * epochs;
  const steps = Math.ceil(total / group);
  const schedule = {
    kind: config.lr_scheduler,
    lr: config.lr,
    steps,
    warmupRatio: config.warmup_ratio,
  };
  return {
    unit: "step",
    steps,
    batchesPerEpoch,
    // The last group of a run by epochs may be short; it is weighed by its own label tokens.
    microBatchesOf: (step) => {
      const first = step * group;
      return Array.from({ length: Math.min(group, total - first) }, (_, i) => first + i);
    },
    updatesIn: () => true,
    openBefore: () => [],
    learningRate: (step) => learningRate(schedule, step),
    // Every label token of the group weighs the same, in whichever micro-batch it lies.
    lossWeight: (_, labelTokens) => (labelTokens > 0 ? 1 / labelTokens : 0),
    savesAfter: (step) => step === steps || step % config.save_steps === 0,
    evaluationsAfter: (step) => {
      if (step === 0) return ["before"];
      if (step === steps) return ["after"];
      return isMultiple(step, config.evaluation_freq) ? ["during"] : [];
    },
    // Whatever happens while the questions are answered, the step is not lost.
    savesFirst: true,
  };
}

/**
 * XTuner 0.1.17's run over mmengine's `IterBasedTrainLoop` and `OptimWrapper`. Refuses a run on which its
 * schedule fails.
 */
function planIterations(config: TrainConfig, batchesPerEpoch: number): StepPlan {
  const { accumulative_counts: group, max_epochs: epochs, max_steps: maxIterations } = config;
  const exactTotal = maxIterations > 0 ? maxIterations : epochs * batchesPerEpoch;
  const total = Math.trunc(exactTotal);
  const rest = total % group;
  const savesAfter = (step: number) => step === total || step % config.save_steps === 0;
  return {
    unit: "iteration",
    steps: total,
    batchesPerEpoch,
    microBatchesOf: (step) => [step],
    updatesIn: (step) => (step + 1) % group === 0 || step + 1 === total,
    openBefore: (step) =>
      step === total
        ? []
        : Array.from({ length: step % group }, (_, i) => step - (step % group) + i),
    learningRate: xtunerSchedule({
      kind: config.lr_scheduler,
      lr: config.lr,
      warmupRatio: config.warmup_ratio,
      total,
      exactTotal,
    }),
    // The mean over each chunk's own labels, so that one with few of them weighs as much as a full one.
    lossWeight: (step, labelTokens) => {
      const chunks = step < total - rest ? group : rest;
      return labelTokens > 0 ? 1 / (labelTokens * chunks) : 0;
    },
    savesAfter,
    evaluationsAfter: (step) => {
      if (step === 0) return ["before"];
      const { evaluation_freq: every } = config;
      const isDue = every > 0 && (isMultiple(step, every) || savesAfter(step));
      return [
        ...(isDue ? (["during"] as const) : []),
        ...(step === total ? (["after"] as const) : []),
      ];
    },
    savesFirst: false,
  };
}

function isMultiple(step: number, every: number): boolean {
  return every > 0 && step % every === 0;
}
