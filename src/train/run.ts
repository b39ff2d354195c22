// The loop of a run: step, report, evaluate, save, pause, stop.
import { AbortedError, UserError } from "../base/error.ts";
import type { Pausing, RunSummary, StepReport } from "../engine.ts";
import type { Moment, StepPlan } from "./plan.ts";
import {
  countLabels,
  type MicroBatch,
  type StepOutcome,
  type Stepper,
  STEPS_IN_FLIGHT,
} from "./step.ts";

export interface LoopParts {
  readonly plan: StepPlan;
  readonly stepper: Stepper;
  readonly batchAt: (index: number) => MicroBatch;
  /** What was done before, by the run that this one goes on with. */
  readonly done: {
    readonly step: number;
    readonly tokens: number;
    /** Its checkpoint, or "". */
    readonly checkpoint: string;
    /** Whether it was evaluated after the last of these steps, or need not be. */
    readonly isEvaluated: boolean;
  };
  /** Milliseconds. */
  readonly now: () => number;
  readonly signal: AbortSignal | undefined;
  readonly pausing: Pausing | undefined;
  readonly onStep: (report: StepReport) => void;
  readonly onPause: (type: "paused" | "resumed", step: number) => void;
  /**
   * Answers the evaluation questions and takes the held-out loss after `step` steps. False where the signal
   * broke it off.
   */
  readonly evaluate: (step: number, moment: Moment) => Promise<boolean>;
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
  /** What making the batches took. */
  readonly dataSeconds: number;
}

// A GPU that makes so many bad steps in a row will make no good one.
const BAD_STEPS_IN_A_ROW = 3;

/** Runs all steps that are left. Throws an AbortedError where it is stopped before any step was done. */
export function runTraining(
  parts: LoopParts,
): Promise<Omit<RunSummary, "timeToFirstStepSeconds" | "peakGpuBytes">> {
  return new Loop(parts).run();
}

/** Whatever of a step was submitted is settled before anything is saved, evaluated or waited for. */
class Loop {
  readonly #parts: LoopParts;
  readonly #reporter: Reporter;
  readonly #inFlight: Submitted[] = [];
  readonly #started: number;
  #pausedMs = 0;
  /** Steps submitted. */
  #step: number;
  #checkpoint: string;
  /** The step that `#checkpoint` is of, or −1. */
  #savedStep: number;
  #isEvaluated: boolean;

  constructor(parts: LoopParts) {
    const { done } = parts;
    this.#parts = parts;
    this.#started = parts.now();
    this.#reporter = new Reporter(parts, this.#started);
    this.#step = done.step;
    this.#checkpoint = done.checkpoint;
    this.#savedStep = done.checkpoint === "" ? -1 : done.step;
    this.#isEvaluated = done.isEvaluated;
  }

  async run() {
    const { plan } = this.#parts;
    // A run may have been broken off between the saving of a step and what follows it.
    if (!this.#isEvaluated && !this.#isStopped) {
      await this.#evaluate(plan.evaluationsAfter(this.#step));
    }
    if (!this.#isStopped) repeatOpenSteps(this.#parts, this.#step);
    while (this.#step < plan.steps && !this.#isStopped) {
      if (this.#parts.pausing?.isPaused()) {
        await this.#pause(this.#parts.pausing);
        continue;
      }
      this.#inFlight.push(submitStep(this.#parts, this.#step++));
      await this.#settle(STEPS_IN_FLIGHT);
      await this.#doWhatIsDue();
    }
    await this.#settle(0);
    if (this.#step === 0) {
      throw new AbortedError(
        "The run was stopped before its first step, so there is none to save.",
      );
    }
    await this.#save();
    return this.#summarize();
  }

  async #doWhatIsDue(): Promise<void> {
    const { plan } = this.#parts;
    const saves = plan.savesAfter(this.#step);
    const moments = plan.evaluationsAfter(this.#step);
    if (!saves && moments.length === 0) return;
    await this.#settle(0);
    const isEarly = (moment: Moment) => !plan.savesFirst && moment !== "after";
    await this.#evaluate(moments.filter(isEarly));
    if (saves) await this.#save();
    await this.#evaluate(moments.filter((moment) => !isEarly(moment)));
    this.#reporter.resumeClock();
  }

  get #isStopped(): boolean {
    return this.#parts.signal?.aborted === true;
  }

  async #settle(remaining: number): Promise<void> {
    while (this.#inFlight.length > remaining) {
      const submitted = this.#inFlight.shift();
      if (submitted) this.#reporter.report(submitted, await submitted.outcome);
    }
  }

  async #save(): Promise<void> {
    const step = this.#step;
    // To save a step again would remove its checkpoint for a moment.
    if (this.#savedStep === step) return;
    const microBatches = (this.#parts.plan.microBatchesOf(step - 1).at(-1) ?? -1) + 1;
    const { tokens } = this.#reporter;
    this.#checkpoint = await this.#parts.save({ step, microBatches, tokens });
    this.#savedStep = step;
  }

  async #evaluate(moments: readonly Moment[]): Promise<void> {
    for (const moment of moments) {
      this.#isEvaluated = await this.#parts.evaluate(this.#step, moment);
      this.#reporter.resumeClock();
      if (!this.#isEvaluated) return;
    }
  }

  /** Saves and waits. Before the first step there is nothing to save. */
  async #pause(pausing: Pausing): Promise<void> {
    const { now, onPause, signal } = this.#parts;
    await this.#settle(0);
    if (this.#step > 0) await this.#save();
    const from = now();
    onPause("paused", this.#step);
    await untilAborted(pausing.resumed(), signal);
    this.#pausedMs += now() - from;
    if (!this.#isStopped) onPause("resumed", this.#step);
    this.#reporter.resumeClock();
  }

  #summarize() {
    const { plan, now } = this.#parts;
    const isFinished = this.#step === plan.steps && this.#isEvaluated;
    return {
      endedBy: isFinished ? ("finished" as const) : ("stopped" as const),
      step: this.#step,
      steps: plan.steps,
      finalLoss: this.#reporter.lastLoss,
      skipped: this.#reporter.skipped,
      checkpoint: this.#checkpoint,
      seconds: (now() - this.#started - this.#pausedMs) / 1000,
    };
  }
}

/** Waits for the promise or the signal, whichever comes first. */
async function untilAborted(promise: Promise<void>, signal = NEVER): Promise<void> {
  const settled = new AbortController();
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { signal: settled.signal });
  });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    settled.abort(); // the listener goes
  }
}

const NEVER = new AbortController().signal;

/** The gradients of a group that was begun before are made again: no checkpoint holds them. */
function repeatOpenSteps({ plan, stepper, batchAt }: LoopParts, first: number): void {
  for (const step of plan.openBefore(first)) {
    const microBatches = plan.microBatchesOf(step).map(batchAt);
    stepper.repeat(microBatches, step, plan.lossWeight(step, countLabels(microBatches)));
  }
}

function submitStep({ plan, stepper, batchAt, now }: LoopParts, step: number): Submitted {
  const started = now();
  const microBatches = plan.microBatchesOf(step).map(batchAt);
  const dataSeconds = (now() - started) / 1000;
  const labelTokens = countLabels(microBatches);
  const rate = plan.learningRate(step);
  const outcome = stepper.run(microBatches, step, rate, {
    lossWeight: plan.lossWeight(step, labelTokens),
    updates: plan.updatesIn(step),
  });
  // If a step before it fails, nobody waits for this one any more.
  outcome.catch(() => {});
  return {
    step,
    outcome,
    tokens: microBatches.reduce((sum, { tokens }) => sum + tokens, 0),
    labelTokens,
    microBatches: microBatches.length,
    learningRate: rate,
    dataSeconds,
  };
}

/** A step that seems to have taken a smaller share of the mean step's time than this was not timed. */
const LEAST_OF_MEAN = 0.25;

/** Turns outcomes into reports, keeps the time, and ends a run that has broken down. */
class Reporter {
  tokens: number;
  lastLoss = Number.NaN;
  skipped = 0;
  readonly #parts: LoopParts;
  #clock: number;
  /** Seconds and tokens of the steps since the start, without evaluation and saving. */
  #seconds = 0;
  #tokensTimed = 0;
  #steps = 0;
  #firstSeconds = 0;

  constructor(parts: LoopParts, started: number) {
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
    if (this.#steps++ === 0) this.#firstSeconds = seconds;
    this.tokens += tokens;
    this.lastLoss = outcome.loss;
    this.skipped = outcome.skippedTotal;
    // Where the host was held up, outcomes are read one right after the other, as if a step took no time. Believed,
    // that would make one submit of whatever comes next, and drivers end those that take seconds.
    const mean = this.#meanSeconds();
    stepper.learnSpeed(Math.max(seconds, mean * LEAST_OF_MEAN), microBatches);
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
      etaSeconds: mean * (plan.steps - step - 1),
      skipped: this.skipped,
      ...(plan.unit === "iteration" && {
        iteration: { updated: plan.updatesIn(step), dataSeconds: submitted.dataSeconds },
      }),
    });
    if (outcome.skippedInARow >= BAD_STEPS_IN_A_ROW) throw brokenDown(plan.unit, step + 1, outcome);
  }

  /**
   * Of a step. The first counts only as long as it is the only one: it also waits for what drivers leave to the first
   * use of a kernel, on software a minute.
   */
  #meanSeconds(): number {
    if (this.#steps < 2) return this.#seconds;
    return (this.#seconds - this.#firstSeconds) / (this.#steps - 1);
  }
}

function brokenDown(
  unit: StepPlan["unit"],
  step: number,
  { loss, gradNorm }: StepOutcome,
): UserError {
  return new UserError(
    `The gradient was not finite in ${BAD_STEPS_IN_A_ROW} steps in a row, up to ${unit} ${step} (loss ${loss}, gradient norm ${gradNorm}). The adapter was left as it was before them.`,
    "Resume from the last checkpoint with compute_dtype: f32, or start a new run with a lower lr or a higher warmup_ratio.",
  );
}
