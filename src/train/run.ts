// The loop of a run: step, report, evaluate, save, stop.
import { UserError } from "../base/error.ts";
import type { TrainConfig } from "../config.ts";
import type { RunSummary, StepReport } from "../engine.ts";
import { learningRate } from "./schedule.ts";
import { type MicroBatch, type StepOutcome, type Stepper, STEPS_IN_FLIGHT } from "./step.ts";

/** How many optimizer steps there are, and which micro-batches belong to each. */
export interface StepPlan {
  readonly steps: number;
  readonly batchesPerEpoch: number;
  /** Micro-batches of the step, as indices counted through all epochs. */
  readonly microBatchesOf: (step: number) => number[];
}

/** Plans by epochs, or by `max_steps` where it is set; then the data is repeated as often as needed. */
export function planSteps(config: TrainConfig, batchesPerEpoch: number): StepPlan {
  const { accumulative_counts: group, max_epochs: epochs, max_steps: maxSteps } = config;
  const total = maxSteps > 0 ? maxSteps * group : batchesPerEpoch * epochs;
  return {
    steps: Math.ceil(total / group),
    batchesPerEpoch,
    // The last group of a run by epochs may be short; it is weighed by its own label tokens.
    microBatchesOf: (step) => {
      const first = step * group;
      return Array.from({ length: Math.min(group, total - first) }, (_, i) => first + i);
    },
  };
}

export interface RunParts {
  readonly config: TrainConfig;
  readonly plan: StepPlan;
  readonly stepper: Stepper;
  readonly batchAt: (index: number) => MicroBatch;
  /** Steps and tokens done before, by the run that this one goes on with, and its checkpoint or "". */
  readonly done: { readonly step: number; readonly tokens: number; readonly checkpoint: string };
  /** Milliseconds. */
  readonly now: () => number;
  readonly signal: AbortSignal | undefined;
  readonly onStep: (report: StepReport) => void;
  /** Answers the evaluation questions and takes the held-out loss after `step` steps. */
  readonly evaluate: (step: number) => Promise<void>;
  /** Saves a checkpoint after `step` steps; returns its name. */
  readonly save: (progress: {
    step: number;
    microBatches: number;
    tokens: number;
  }) => Promise<string>;
}

interface Submitted {
  readonly step: number;
  readonly outcome: Promise<StepOutcome>;
  readonly tokens: number;
  readonly labelTokens: number;
  readonly microBatches: number;
  readonly learningRate: number;
}

// A GPU that makes so many bad steps in a row will make no good one.
const BAD_STEPS_IN_A_ROW = 3;

export async function runTraining(
  parts: RunParts,
): Promise<Omit<RunSummary, "timeToFirstStepSeconds" | "peakGpuBytes">> {
  const { config, plan, done, signal } = parts;
  const started = parts.now();
  const reporter = new Reporter(parts, started);
  const inFlight: Submitted[] = [];
  const settle = async (remaining: number) => {
    while (inFlight.length > remaining) {
      const submitted = inFlight.shift();
      if (submitted) reporter.report(submitted, await submitted.outcome);
    }
  };
  const save = async (step: number) => {
    const microBatches = step === 0 ? 0 : (plan.microBatchesOf(step - 1).at(-1) ?? -1) + 1;
    return parts.save({ step, microBatches, tokens: reporter.tokens });
  };

  if (done.step === 0 && !signal?.aborted) await parts.evaluate(0);
  reporter.resumeClock();
  let step = done.step;
  let { checkpoint } = done;
  let savedStep = checkpoint === "" ? -1 : step;
  while (step < plan.steps && !signal?.aborted) {
    inFlight.push(submitStep(parts, step));
    step++;
    await settle(STEPS_IN_FLIGHT);
    const isLast = step === plan.steps;
    const evaluates = isLast || (config.evaluation_freq > 0 && step % config.evaluation_freq === 0);
    const saves = isLast || step % config.save_steps === 0;
    if (!saves && !evaluates) continue;
    await settle(0);
    // Saved first: whatever happens while the questions are answered, the step is not lost.
    if (saves) {
      checkpoint = await save(step);
      savedStep = step;
    }
    if (evaluates) await parts.evaluate(step);
    reporter.resumeClock();
  }
  await settle(0);
  // To save a step again would remove its checkpoint for a moment.
  if (savedStep !== step) checkpoint = await save(step);
  return {
    endedBy: step < plan.steps ? "stopped" : "finished",
    step,
    steps: plan.steps,
    finalLoss: reporter.lastLoss,
    skipped: reporter.skipped,
    checkpoint,
    seconds: (parts.now() - started) / 1000,
  };
}

function submitStep({ config, plan, stepper, batchAt }: RunParts, step: number): Submitted {
  const microBatches = plan.microBatchesOf(step).map(batchAt);
  const rate = learningRate(
    {
      kind: config.lr_scheduler,
      lr: config.lr,
      steps: plan.steps,
      warmupRatio: config.warmup_ratio,
    },
    step,
  );
  const outcome = stepper.run(microBatches, step, rate);
  // If a step before it fails, nobody waits for this one any more.
  outcome.catch(() => {});
  return {
    step,
    outcome,
    tokens: microBatches.reduce((sum, { tokens }) => sum + tokens, 0),
    labelTokens: microBatches.reduce((sum, { labelTokens }) => sum + labelTokens, 0),
    microBatches: microBatches.length,
    learningRate: rate,
  };
}

/** Turns outcomes into reports, keeps the time, and ends a run that has broken down. */
class Reporter {
  tokens: number;
  lastLoss = Number.NaN;
  skipped = 0;
  readonly #parts: RunParts;
  #clock: number;
  /** Seconds and tokens of the steps since the start, without evaluation and saving. */
  #seconds = 0;
  #tokensTimed = 0;
  #steps = 0;

  constructor(parts: RunParts, started: number) {
    this.#parts = parts;
    this.#clock = started;
    this.tokens = parts.done.tokens;
  }

  /** Begins to count time for the next step: what came before was no training. */
  resumeClock(): void {
    this.#clock = this.#parts.now();
  }

  report(submitted: Submitted, outcome: StepOutcome): void {
    const { plan, stepper, onStep, now } = this.#parts;
    const { step, tokens, labelTokens, microBatches } = submitted;
    const time = now();
    const seconds = (time - this.#clock) / 1000;
    this.#clock = time;
    this.#seconds += seconds;
    this.#tokensTimed += tokens;
    this.#steps++;
    this.tokens += tokens;
    this.lastLoss = outcome.loss;
    this.skipped = outcome.skippedTotal;
    stepper.learnSpeed(seconds, microBatches);
    onStep({
      step: step + 1,
      steps: plan.steps,
      epoch: ((plan.microBatchesOf(step).at(-1) ?? -1) + 1) / plan.batchesPerEpoch,
      loss: outcome.loss,
      learningRate: submitted.learningRate,
      gradNorm: outcome.gradNorm,
      lossScale: outcome.lossScale,
      tokens: this.tokens,
      labelTokens,
      tokensPerSecond: this.#tokensTimed / this.#seconds,
      etaSeconds: (this.#seconds / this.#steps) * (plan.steps - step - 1),
      skipped: this.skipped,
    });
    if (outcome.skippedInARow >= BAD_STEPS_IN_A_ROW) throw brokenDown(step + 1, outcome);
  }
}

function brokenDown(step: number, { loss, gradNorm }: StepOutcome): UserError {
  return new UserError(
    `The gradient was not finite in ${BAD_STEPS_IN_A_ROW} steps in a row, up to step ${step} (loss ${loss}, gradient norm ${gradNorm}). The adapter was left as it was before them.`,
    "Lower lr, raise warmup_ratio, or set compute_dtype: f32; then continue from the last checkpoint with --resume.",
  );
}
