// metrics.jsonl and train.log of a work directory: one line per step, and one per event for people.
import type { Folder } from "../base/folder.ts";
import { formatDuration } from "../base/format.ts";
import type { TrainEvent } from "../engine.ts";

const METRICS = "metrics.jsonl";
const LOG = "train.log";

/** Writes in the order of the events, off the training loop's path. A failure is told at `flush`. */
export class RunLog {
  readonly #folder: Folder;
  readonly #loggingSteps: number;
  #writing: Promise<void> = Promise.resolve();

  private constructor(folder: Folder, loggingSteps: number) {
    this.#folder = folder;
    this.#loggingSteps = loggingSteps;
  }

  /** Starts anew at step 0; on resume drops what came after `firstStep`, which will come again. */
  static async open(folder: Folder, firstStep: number, loggingSteps: number): Promise<RunLog> {
    const lines =
      firstStep > 0 && (await folder.size(METRICS)) !== undefined
        ? (await folder.readText(METRICS)).split("\n").filter((line) => isKept(line, firstStep))
        : [];
    await folder.write(METRICS, lines.map((line) => `${line}\n`).join(""));
    if (firstStep === 0) await folder.write(LOG, "");
    return new RunLog(folder, loggingSteps);
  }

  take(event: TrainEvent): void {
    if (event.type === "step" || event.type === "eval") this.#add(METRICS, JSON.stringify(event));
    const line = lineOf(event, this.#loggingSteps);
    if (line !== undefined) this.#add(LOG, line);
  }

  /** Waits until all that was taken is written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  #add(file: string, line: string): void {
    this.#writing = this.#writing.then(() => this.#folder.append(file, `${line}\n`));
    this.#writing.catch(() => {}); // told by `flush`, which awaits the same promise
  }
}

function isKept(line: string, firstStep: number): boolean {
  try {
    return Number((JSON.parse(line) as { step?: unknown }).step) <= firstStep;
  } catch {
    return false; // the last line of a killed process may be cut
  }
}

function lineOf(event: TrainEvent, loggingSteps: number): string | undefined {
  switch (event.type) {
    case "step": {
      const { step, steps, loss, learningRate, gradNorm, tokensPerSecond, etaSeconds } = event;
      if (step % loggingSteps !== 0 && step !== steps && step !== 1) return undefined;
      return `step ${step}/${steps}  loss ${loss.toFixed(4)}  lr ${learningRate.toExponential(3)}  grad_norm ${gradNorm.toFixed(4)}  ${Math.round(tokensPerSecond)} tokens/s  eta ${formatDuration(etaSeconds)}`;
    }
    case "eval":
      return `step ${event.step}  held-out loss ${event.loss.toFixed(4)}  perplexity ${event.perplexity.toFixed(2)}  token accuracy ${(100 * event.tokenAccuracy).toFixed(1)}%`;
    case "sample":
      return `step ${event.step}  ${JSON.stringify(event.input)} → ${JSON.stringify(event.output)}`;
    case "checkpoint":
      return `step ${event.step}  saved ${event.name}`;
    case "warning":
      return `warning: ${event.message}`;
    case "plan":
      return `${event.plan.steps} steps on ${event.plan.adapterName} in ${event.plan.computeDtype}, ${event.plan.trainableParameters} trainable parameters`;
    default:
      return undefined; // phases and progress are for the screen
  }
}
