// What a run has come to so far: history and events put together, each step once.
//
// It grows in place, for a run may have many thousands of steps; whoever shows it is told when it has grown.
import { ALL_OPTIONS } from "../config.ts";
import type { EvalReport, LiveEvent, RunHistory, RunPlan, StepReport } from "../services/api.ts";

export type Phase = "start" | "data" | "tune" | "load" | "compile" | "train";

export type CurveAxis = "step" | "tokens" | "seconds";

export interface Answer {
  readonly step: number;
  readonly input: string;
  readonly output: string;
}

export interface Warning {
  /** The step before it. */
  readonly step: number;
  readonly message: string;
}

export class LiveReport {
  readonly curves = new Curves();
  evals: ({ readonly step: number } & EvalReport)[] = [];
  answers: Answer[] = [];
  warnings: Warning[] = [];
  checkpoints: { readonly step: number; readonly name: string }[] = [];
  phase: Phase = "start";
  loading: { readonly bytes: number; readonly totalBytes: number } | undefined;
  /** Kernels whose variants were tried, of those to be. */
  tuning: { readonly done: number; readonly total: number; readonly share: number } | undefined;
  plan: RunPlan | undefined;
  rows: { readonly train: number; readonly heldOut: number } | undefined;
  /** The newest step of all; `isFresh` once one came from this start of the run. */
  latest: StepReport | undefined;
  isFresh = false;
  /** The GPU was lost, and the run is on its way back. */
  recovering: { readonly attempt: number; readonly reason: string } | undefined;

  /** Takes in what happened before this page was opened. */
  join({ steps, evals, samples }: RunHistory): void {
    for (const report of steps) this.#step(report);
    for (const report of evals) this.#evaluate(report);
    for (const answer of samples) this.#answer(answer);
    this.isFresh = false;
  }

  take(event: LiveEvent): void {
    switch (event.type) {
      case "phase":
        this.phase = event.phase;
        break;
      case "loading":
        this.loading = { bytes: event.bytes, totalBytes: event.totalBytes };
        break;
      case "tuning":
        this.tuning = { done: event.done, total: event.total, share: event.share ?? 0 };
        break;
      case "data":
        this.rows = { train: event.rows, heldOut: event.evalRows };
        break;
      case "plan":
        this.plan = event.plan;
        this.recovering = undefined;
        this.curves.beginSession(event.plan.firstStep);
        break;
      case "step":
        this.#step(event);
        break;
      case "sample":
        this.#answer({ step: event.step, input: event.input, output: event.output });
        break;
      case "eval":
        this.#evaluate(event);
        break;
      case "checkpoint":
        this.checkpoints = [
          ...this.checkpoints.filter(({ step }) => step < event.step),
          { step: event.step, name: event.name },
        ];
        break;
      case "warning":
        this.warnings.push({ step: this.latest?.step ?? 0, message: event.message });
        break;
      case "recovering":
        this.phase = "start";
        this.isFresh = false;
        this.recovering = { attempt: event.attempt, reason: event.reason };
        this.warnings.push({ step: this.latest?.step ?? 0, message: event.reason });
        break;
      case "status":
      case "paused":
      case "resumed":
        break; // the record's
      case "log":
        break; // the lines of XTuner's log; the curves say the same
    }
  }

  #step(report: StepReport): void {
    this.curves.add(report);
    this.latest = report;
    this.isFresh = true;
  }

  #evaluate(report: { readonly step: number } & EvalReport): void {
    this.evals = [...this.evals.filter(({ step }) => step < report.step), report];
  }

  /** A question answered again at a step was answered by a resumed run: the later answer counts. */
  #answer(answer: Answer): void {
    this.answers = [
      ...this.answers.filter(
        ({ step, input }) => step < answer.step || (step === answer.step && input !== answer.input),
      ),
      answer,
    ];
  }
}

/** One value for each step, in columns as charts want them. */
export class Curves {
  readonly step: number[] = [];
  readonly tokens: number[] = [];
  /** Of training, without evaluation, saving and pauses. */
  readonly seconds: number[] = [];
  readonly loss: (number | null)[] = [];
  readonly gradNorm: (number | null)[] = [];
  readonly learningRate: number[] = [];
  /** Tokens and seconds before this session's first step: speeds are told for a session. */
  #before = { tokens: 0, seconds: 0 };

  /** Steps after `step` are about to come, be it for the second time. */
  beginSession(step: number): void {
    const last = this.#indexOf(step + 1) - 1;
    this.#before = { tokens: this.tokens[last] ?? 0, seconds: this.seconds[last] ?? 0 };
  }

  add(report: StepReport): void {
    this.#forget(this.#indexOf(report.step));
    this.seconds.push(this.#secondsAt(report));
    this.step.push(report.step);
    this.tokens.push(report.tokens);
    this.loss.push(orNull(report.loss));
    this.gradNorm.push(orNull(report.gradNorm));
    this.learningRate.push(report.learningRate);
  }

  /** Where a step is on an axis; the last one before it, if it is not there. */
  at(axis: CurveAxis, step: number): number {
    return axis === "step" ? step : (this[axis][this.#indexOf(step + 1) - 1] ?? 0);
  }

  #secondsAt({ tokens, tokensPerSecond }: StepReport): number {
    const last = this.seconds.at(-1) ?? 0;
    const since = (tokens - this.#before.tokens) / tokensPerSecond;
    const seconds = this.#before.seconds + since;
    if (seconds > last) return seconds;
    // A history does not say where a session began; its clock going back does.
    this.#before = { tokens: this.tokens.at(-1) ?? 0, seconds: last };
    const step = (tokens - this.#before.tokens) / tokensPerSecond;
    return last + (Number.isFinite(step) ? step : 0);
  }

  #forget(from: number): void {
    const { step, tokens, seconds, loss, gradNorm, learningRate } = this;
    for (const column of [step, tokens, seconds, loss, gradNorm, learningRate]) {
      if (column.length > from) column.length = from;
    }
  }

  /** The first index whose step is not before `step`. */
  #indexOf(step: number): number {
    let [low, high] = [0, this.step.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.step[middle] ?? 0) < step) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** One row of the table of answers: a step, and what each question got there. */
export interface AnswerRow {
  readonly step: number;
  readonly cells: readonly AnswerCell[];
}

export interface AnswerCell {
  readonly output: string | undefined;
  /** Of the same question at the step before; undefined for the first. */
  readonly previous: string | undefined;
}

/** Questions in the order asked, and rows newest first. */
export function tabulateAnswers(answers: readonly Answer[]): {
  readonly questions: readonly string[];
  readonly rows: readonly AnswerRow[];
} {
  const questions = [...new Set(answers.map(({ input }) => input))];
  const steps = [...new Set(answers.map(({ step }) => step))].toSorted((a, b) => a - b);
  const previous = new Map<string, string>();
  const rows = steps.map((step) => ({
    step,
    cells: questions.map((input) => {
      const output = answers.find(
        (answer) => answer.step === step && answer.input === input,
      )?.output;
      const cell = { output, previous: previous.get(input) };
      if (output !== undefined) previous.set(input, output);
      return cell;
    }),
  }));
  return { questions, rows: rows.toReversed() };
}

/** "lora.r=8" texts in an error's remedy, as settings that a recipe can take. */
export function settingsIn(message: string): { readonly path: string; readonly value: string }[] {
  const known = new Set(ALL_OPTIONS.map(({ path }) => path));
  return [...message.matchAll(/\b([a-z_]+(?:\.[a-z_]+)?)=([\w.+-]*\w)/g)].flatMap(
    ([, path = "", value = ""]) => (known.has(path) ? [{ path, value }] : []),
  );
}

function orNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
