// A run's log as XTuner 0.1.17 writes it over mmengine: the same lines, at the same iterations, in the same
// files. Two clocks are given, one for durations and one for the time of day, so that tests are exact.
import type { Folder } from "../../base/folder.ts";
import type { StepReport, TrainEvent } from "../../engine.ts";
import type { Moment } from "../../train/plan.ts";
import { AppendQueue } from "./append-queue.ts";
import {
  formatIteration,
  formatLine,
  formatScalars,
  formatStamp,
  formatTime,
  type IterationFigures,
  type Level,
} from "./xtuner-format.ts";

/** LoggerHook's interval and interval_exp_name, and LogProcessor's window_size. */
const INTERVAL = 10;
const NAME_INTERVAL = 1000;
const WINDOW = 10;

/** What mmengine's loop warns of before the first iteration of every epoch but the first. */
const EPOCH_ENDED =
  "Reach the end of the dataloader, it will be restarted and continue to iterate. It is recommended to use `mmengine.dataset.InfiniteSampler` to enable the dataloader to iterate infinitely.";

export interface XtunerLogOptions {
  readonly workDir: Folder;
  /** The config's name without its ending. */
  readonly name: string;
  /** Iterations of the whole run, of an epoch, and those done before. */
  readonly total: number;
  readonly epochLength: number;
  readonly firstStep: number;
  readonly accumulativeCounts: number;
  /** Reports from before the first iteration: the means go back to them. */
  readonly recent: readonly StepReport[];
  /** The time of day. */
  readonly clock: () => Date;
  /** Milliseconds from any fixed point. */
  readonly now: () => number;
  /** The most memory that was taken so far. */
  readonly memoryBytes: () => number;
  /** Takes every line of the console. */
  readonly onLine: (event: Extract<TrainEvent, { readonly type: "log" }>) => void;
  readonly onFault: (message: string) => void;
}

/** What is told before training. */
export interface Opening {
  readonly environment: readonly string[];
  readonly seed: number;
  /** The config's file, as it was written. */
  readonly config: { readonly name: string; readonly text: string };
  readonly samples: number;
  /** The first training row, decoded. */
  readonly example: string;
}

/** Reports that the means of a line can go back to. */
export function recentSteps(accumulativeCounts: number): number {
  return WINDOW * accumulativeCounts;
}

export class XtunerLog {
  readonly #options: XtunerLogOptions;
  readonly #queue: AppendQueue;
  readonly #stamp: string;
  readonly #losses: number[] = [];
  readonly #norms: number[] = [];
  readonly #times: number[] = [];
  readonly #dataTimes: number[] = [];
  /** When the last iteration ended, and how long all since the first took. */
  #endedMs: number;
  #totalSeconds = 0;
  #hasBegun = false;
  #isAnnounced = false;
  /** Outputs of the evaluation under way. */
  #outputs: string[] = [];

  constructor(options: XtunerLogOptions) {
    this.#options = options;
    this.#queue = new AppendQueue(options.workDir, options.onFault);
    this.#stamp = formatStamp(options.clock());
    this.#endedMs = options.now();
    for (const report of options.recent) this.#remember(report);
  }

  /** Writes the config beside the log, and tells what the run is made of. */
  async open(opening: Opening): Promise<void> {
    const { config, environment, seed } = opening;
    const ending = config.name.endsWith(".py") ? "py" : "yaml";
    await this.#options.workDir.write(this.#visData(`config.${ending}`), config.text);
    const line = "-".repeat(60);
    const system = ["System environment:", ...environment.map((text) => `    ${text}`)];
    const runtime = ["Runtime environment:", `    seed: ${seed}`];
    this.#info(["", line, ...system, "", ...runtime, line, ""].join("\n"));
    this.#info(`Config:\n${config.text}`);
    if (this.#options.firstStep > 0) {
      this.#info(`resumed epoch: 0, iter: ${this.#options.firstStep}`);
    }
    this.#info(`Num train samples ${opening.samples}`);
    this.#info("train example:");
    this.#info(opening.example);
  }

  take(event: TrainEvent): void {
    if (event.type === "step") this.#step(event);
    if (event.type === "warning") this.#write("WARNING", event.message, false);
    if (event.type === "sample") {
      const sequence = event.sequence ?? event.output;
      this.#outputs.push(sequence);
      this.#info(`Sample output:\n${sequence}\n`);
    }
  }

  /** EvaluateChatHook's first line. */
  evaluating(moment: Moment): void {
    const hook = { before: "before_train", during: "after_train_iter", after: "after_train" };
    this.#outputs = [];
    this.#info(`${hook[moment]} in EvaluateChatHook.`);
  }

  /** The outputs as a file, where a checkpoint is saved after the same `step` iterations. */
  async evaluated(moment: Moment, step: number, saves: boolean): Promise<void> {
    if (moment === "before") this.#announce();
    if (moment !== "during" || !saves) return;
    // The hook keeps each output with a newline at its end, and puts three behind that.
    const text = this.#outputs
      .map((output, i) => `Eval output ${i + 1}:\n${output}\n\n\n\n`)
      .join("");
    const file = this.#visData(`eval_outputs_iter_${step - 1}.txt`);
    await this.#options.workDir.write(file, text);
  }

  saving(step: number): void {
    this.#info(`Saving checkpoint at ${step} iterations`);
  }

  flush(): Promise<void> {
    return this.#queue.flush();
  }

  #step(report: StepReport): void {
    const { total, epochLength, firstStep, now, name } = this.#options;
    this.#hasBegun = true;
    this.#announce();
    const time = now();
    const seconds = (time - this.#endedMs) / 1000;
    this.#endedMs = time;
    this.#totalSeconds += seconds;
    push(this.#times, seconds);
    push(this.#dataTimes, report.iteration?.dataSeconds ?? 0);
    this.#remember(report);
    const { step } = report;
    if (step > 1 && (step - 1) % epochLength === 0) this.#write("WARNING", EPOCH_ENDED, true);
    const endsFirstEpoch = step === epochLength;
    if (step % NAME_INTERVAL === 0 || endsFirstEpoch) {
      this.#info(`Exp name: ${name}_${this.#stamp}`);
    }
    if (step % INTERVAL !== 0 && !(endsFirstEpoch && epochLength <= INTERVAL)) return;
    const eta = (this.#totalSeconds / (step - firstStep)) * (total - step);
    this.#tell(this.#figuresOf(report, eta));
  }

  #figuresOf({ step, learningRate }: StepReport, etaSeconds: number): IterationFigures {
    const { total, accumulativeCounts, memoryBytes } = this.#options;
    return {
      iteration: step,
      total,
      learningRate,
      etaSeconds,
      time: mean(this.#times),
      dataTime: mean(this.#dataTimes),
      memoryMib: Math.trunc(memoryBytes() / 2 ** 20),
      loss: mean(this.#losses),
      gradNorm: this.#norms.length > 0 ? mean(this.#norms) : undefined,
      normFirst: accumulativeCounts === 1,
    };
  }

  #tell(figures: IterationFigures): void {
    this.#info(formatIteration(figures));
    const line = `${formatScalars(figures)}\n`;
    this.#queue.add(this.#visData(`${this.#stamp}.json`), line);
    this.#queue.add(this.#visData("scalars.json"), line);
  }

  /** A norm for each optimizer step, so that their mean spans as many groups of iterations. */
  #remember(report: StepReport): void {
    push(this.#losses, report.loss);
    if (report.iteration?.updated) push(this.#norms, report.gradNorm);
  }

  #announce(): void {
    if (this.#isAnnounced) return;
    this.#isAnnounced = true;
    this.#info(`Checkpoints will be saved to ${this.#options.workDir.path}.`);
  }

  #info(message: string): void {
    this.#write("INFO", message, true);
    // An iteration's time has in it what came after the one before; that of the first begins with training.
    if (!this.#hasBegun) this.#endedMs = this.#options.now();
  }

  #write(level: Level, message: string, onConsole: boolean): void {
    const time = this.#options.clock();
    const file = `${this.#stamp}/${this.#stamp}.log`;
    this.#queue.add(file, `${formatLine(level, message, formatTime(time, "file"))}\n`);
    if (!onConsole) return;
    const line = formatLine(level, message, formatTime(time, "console"));
    this.#options.onLine({ type: "log", level, message, line });
  }

  #visData(file: string): string {
    return `${this.#stamp}/vis_data/${file}`;
  }
}

function push(window: number[], value: number): void {
  window.push(value);
  if (window.length > WINDOW) window.shift();
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
