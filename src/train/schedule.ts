// The learning rate of each step.
import { UserError } from "../base/error.ts";

export interface ScheduleOptions {
  readonly kind: "cosine" | "linear" | "constant";
  /** Peak learning rate. */
  readonly lr: number;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** Share of the steps in which the rate climbs to its peak. */
  readonly warmupRatio: number;
}

/**
 * Linear warm-up to the peak, then cosine or linear to zero, or constant. In closed form, counted in
 * optimizer steps; `step` is 0-based. The first step already learns, and the last is not yet zero.
 */
export function learningRate(
  { kind, lr, steps, warmupRatio }: ScheduleOptions,
  step: number,
): number {
  const warmup = Math.round(warmupRatio * steps);
  if (step < warmup) return (lr * (step + 1)) / warmup;
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  if (kind === "cosine") return (lr * (1 + Math.cos(Math.PI * progress))) / 2;
  return kind === "linear" ? lr * (1 - progress) : lr;
}

/**
 * XTuner 0.1.17's rate at each micro-iteration (mmengine `LinearLR` from 1e-5 of the peak, then
 * `CosineAnnealingLR`), counted in micro-batches. A run so short that mmengine would train at almost no
 * rate, or fail, is refused.
 */
export function xtunerLearningRates(options: {
  readonly lr: number;
  readonly warmupRatio: number;
  readonly epochs: number;
  /** Micro-batches per epoch. */
  readonly epochLength: number;
}): number[] {
  const { lr, warmupRatio, epochs, epochLength } = options;
  const total = Math.trunc(epochs * epochLength);
  const warmEnd = Math.trunc(warmupRatio * epochs * epochLength);
  if (warmEnd < 2) {
    throw new UserError(
      `XTuner's schedule fails on ${total} iterations with warmup_ratio ${warmupRatio}: the warm-up of ${warmEnd} iterations would leave the learning rate near zero for the whole run.`,
      `Train on more data, raise warmup_ratio to ${(2 / total).toFixed(3)} or more, or leave compat off.`,
    );
  }
  return Array.from({ length: total }, (_, i) => {
    if (i < warmEnd) return lr * (1e-5 + ((1 - 1e-5) * i) / (warmEnd - 1));
    return (lr * (1 + Math.cos((Math.PI * (i - warmEnd)) / (total - warmEnd)))) / 2;
  });
}
