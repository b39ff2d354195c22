// The learning rate of each step.
import { UserError } from "../base/error.ts";

type Kind = "cosine" | "linear" | "constant";

export interface ScheduleOptions {
  readonly kind: Kind;
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

export interface XtunerScheduleOptions {
  readonly kind: Kind;
  readonly lr: number;
  readonly warmupRatio: number;
  /** Iterations of the whole run. */
  readonly total: number;
  /** What `total` and the end of warm-up are cut down from: epochs × iterations of one. */
  readonly exactTotal: number;
}

// LinearLR's start_factor in XTuner's configs.
const START_FACTOR = 1e-5;

/**
 * XTuner 0.1.17's rate at each iteration, 0-based: mmengine's `LinearLR` from 1e-5 of the peak, then its
 * `CosineAnnealingLR`, `LinearLR` or nothing. In closed form, where mmengine goes from each rate to the
 * next: 1.1e-15 apart. A run so short that mmengine would fail, or train at almost no rate, is refused.
 * Without a warm-up (a share of 0) there is nothing to fail.
 */
export function xtunerSchedule(options: XtunerScheduleOptions): (iteration: number) => number {
  const { kind, lr, warmupRatio, total, exactTotal } = options;
  const warmEnd = Math.trunc(warmupRatio * exactTotal);
  refuseTraps(options, warmEnd);
  return (i) => {
    if (i < warmEnd) return lr * (START_FACTOR + ((1 - START_FACTOR) * i) / (warmEnd - 1));
    if (kind === "cosine") {
      return (lr * (1 + Math.cos((Math.PI * (i - warmEnd)) / (total - warmEnd)))) / 2;
    }
    if (kind === "constant") return lr;
    return lr * (1 - (i - warmEnd) / Math.max(1, total - warmEnd - 1));
  };
}

function refuseTraps(
  { kind, warmupRatio, total, exactTotal }: XtunerScheduleOptions,
  warmEnd: number,
): void {
  if (warmupRatio === 0) return;
  const what = `XTuner's schedule fails on ${total} iterations with warmup_ratio ${warmupRatio}`;
  if (warmEnd >= total && kind !== "constant") {
    throw new UserError(
      `${what}: the warm-up of ${warmEnd} iterations leaves none for the fall that follows.`,
      "Lower warmup_ratio, or leave compat off (--set compat=none).",
    );
  }
  if (warmEnd >= 2) return;
  const consequence =
    warmEnd === 0
      ? `the warm-up would end before it begins, and mmengine stops with "end should be larger than begin"`
      : `in a warm-up of one iteration the learning rate never rises, and stays near zero for the whole run`;
  const least = Math.ceil((2 / exactTotal) * 1000) / 1000;
  const raise = least < 1 ? `raise warmup_ratio to ${least} or more, ` : "";
  throw new UserError(
    `${what}: ${consequence}.`,
    `Train on more data, ${raise}set warmup_ratio to 0 for no warm-up, or leave compat off (--set compat=none).`,
  );
}
