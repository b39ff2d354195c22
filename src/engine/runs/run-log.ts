// metrics.jsonl and train.log of a work directory: all that happened in a run, and a line of it for people.
//
// metrics.jsonl has every step, every held-out loss and every answer, so that a run can be shown from it
// alone. It is only ever added to, and its last line may be cut: whoever kills a process kills it anywhere.
import type { Folder } from "../../base/folder.ts";
import { formatDuration } from "../../base/format.ts";
import type { EvalReport, StepReport, TrainEvent } from "../../engine.ts";
import { AppendQueue } from "./append-queue.ts";

const METRICS = "metrics.jsonl";
const LOG = "train.log";

/** What metrics.jsonl holds, in its order. */
export interface RunMetrics {
  readonly steps: readonly StepReport[];
  readonly evals: readonly ({ readonly step: number } & EvalReport)[];
  readonly samples: readonly {
    readonly step: number;
    readonly input: string;
    readonly output: string;
  }[];
}

/** What an evaluation writes: its lines are all there, or it is not done. */
export interface EvaluationParts {
  /** Answers, of all times that the questions are asked after the step. */
  readonly questions: number;
  readonly holdsOut: boolean;
}

export interface LogOptions {
  /** Steps done before; 0 starts anew. */
  readonly firstStep: number;
  readonly loggingSteps: number;
  readonly evaluation: EvaluationParts;
  /** How many steps before the first to keep the reports of. Default 1. */
  readonly recentSteps?: number;
  /** Told once when lines cannot be written, and again only after they could. */
  readonly onFault: (message: string) => void;
}

/** Writes in the order of the events, off the training loop's path. A failure to write ends no run. */
export class RunLog {
  /** Whether the evaluation after the first step was done, and is in the log. */
  readonly isEvaluated: boolean;
  /** The reports of the last steps before the first, as many as any line needs. */
  readonly recent: readonly StepReport[];
  readonly #queue: AppendQueue;
  readonly #loggingSteps: number;

  private constructor(
    folder: Folder,
    { loggingSteps, onFault }: LogOptions,
    before: { isEvaluated: boolean; recent: readonly StepReport[] },
  ) {
    this.#queue = new AppendQueue(folder, onFault);
    this.#loggingSteps = loggingSteps;
    this.isEvaluated = before.isEvaluated;
    this.recent = before.recent;
  }

  /**
   * Starts anew at step 0; on resume drops what came after `firstStep`, which will come again, and what is
   * there of an evaluation after it that was broken off.
   */
  static async open(folder: Folder, options: LogOptions): Promise<RunLog> {
    const { firstStep, evaluation } = options;
    const text =
      firstStep > 0 && (await folder.size(METRICS)) !== undefined
        ? await folder.readText(METRICS)
        : "";
    const lines = [...readLines(text)].filter(({ step }) => step <= firstStep);
    const found = metricsOf(lines);
    const isEvaluated =
      found.samples.filter(({ step }) => step === firstStep).length >= evaluation.questions &&
      (!evaluation.holdsOut || found.evals.some(({ step }) => step === firstStep));
    const kept = lines.filter(
      ({ type, step }) => isEvaluated || type === "step" || step !== firstStep,
    );
    await folder.write(METRICS, kept.map((line) => `${textOf(line)}\n`).join(""));
    if (firstStep === 0) await folder.write(LOG, "");
    const recent = found.steps.slice(-Math.max(1, options.recentSteps ?? 1));
    return new RunLog(folder, options, { isEvaluated, recent });
  }

  take(event: TrainEvent): void {
    if (isMetric(event)) this.#queue.add(METRICS, `${textOf(event)}\n`);
    const line = lineOf(event, this.#loggingSteps);
    if (line !== undefined) this.#queue.add(LOG, `${line}\n`);
  }

  /** Waits until all that was taken is written and survives a power cut, or was tried once more. */
  flush(): Promise<void> {
    return this.#queue.flush();
  }
}

/** Reads metrics.jsonl. Lines that are cut, or that later releases may write, are left out. */
export function parseMetrics(text: string): RunMetrics {
  return metricsOf([...readLines(text)]);
}

type Metric = Extract<TrainEvent, { readonly type: "step" | "eval" | "sample" }>;

function isMetric(event: { readonly type?: unknown }): event is Metric {
  return event.type === "step" || event.type === "eval" || event.type === "sample";
}

/** What a step says of the optimizer before its first update, which under compat is after a group of them. */
const NO_UPDATE = { gradNorm: Number.NaN, lossScale: 0 };

/** A line of metrics.jsonl: what is not known yet is left out of it. */
function textOf(event: Metric): string {
  if (event.type !== "step" || !isBeforeUpdate(event)) return JSON.stringify(event);
  const { gradNorm: _, lossScale: __, ...rest } = event;
  return JSON.stringify(rest);
}

function isBeforeUpdate({ gradNorm, lossScale }: StepReport): boolean {
  return Number.isNaN(gradNorm) && lossScale === 0;
}

function metricsOf(lines: readonly Metric[]): RunMetrics {
  // Each without its type: the list that it is in says that.
  return {
    steps: lines.flatMap((line) => (line.type === "step" ? [withoutType(line)] : [])),
    evals: lines.flatMap((line) => (line.type === "eval" ? [withoutType(line)] : [])),
    samples: lines.flatMap((line) => (line.type === "sample" ? [withoutType(line)] : [])),
  };
}

function withoutType<T extends Metric>(line: T): Omit<T, "type"> {
  const { type: _, ...rest } = line;
  return rest;
}

function* readLines(text: string): Generator<Metric> {
  for (const line of text.split("\n")) {
    const read = readLine(line);
    if (read) yield read;
  }
}

function readLine(line: string): Metric | undefined {
  try {
    // JSON has no NaN: the norm of a step that was skipped is written as null.
    const value: unknown = JSON.parse(line, (_, part: unknown) =>
      part === null ? Number.NaN : part,
    );
    const isLine = typeof value === "object" && value !== null && isMetric(value);
    if (!isLine || !Number.isSafeInteger(value.step)) return undefined;
    return value.type === "step" ? { ...NO_UPDATE, ...value } : value;
  } catch {
    return undefined;
  }
}

function lineOf(event: TrainEvent, loggingSteps: number): string | undefined {
  switch (event.type) {
    case "step": {
      const { step, steps, loss, learningRate, gradNorm, tokensPerSecond, etaSeconds } = event;
      if (step % loggingSteps !== 0 && step !== steps && step !== 1) return undefined;
      const norm = isBeforeUpdate(event) ? "" : `  grad_norm ${gradNorm.toFixed(4)}`;
      return `step ${step}/${steps}  loss ${loss.toFixed(4)}  lr ${learningRate.toExponential(3)}${norm}  ${Math.round(tokensPerSecond)} tokens/s  eta ${formatDuration(etaSeconds)}`;
    }
    case "eval":
      return `step ${event.step}  held-out loss ${event.loss.toFixed(4)}  perplexity ${event.perplexity.toFixed(2)}  token accuracy ${(100 * event.tokenAccuracy).toFixed(1)}%`;
    case "sample":
      return `step ${event.step}  ${JSON.stringify(event.input)} → ${JSON.stringify(event.output)}`;
    case "checkpoint":
      return `step ${event.step}  saved ${event.name}`;
    case "paused":
    case "resumed":
      return `step ${event.step}  ${event.type}`;
    case "warning":
      return `warning: ${event.message}`;
    case "plan":
      return `${event.plan.steps} steps on ${event.plan.adapterName} in ${event.plan.computeDtype}, ${event.plan.trainableParameters} trainable parameters`;
    default:
      return undefined; // phases and progress are for the screen
  }
}
