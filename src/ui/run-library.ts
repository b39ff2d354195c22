// What follows from runs' records and histories alone: what can be done with a run, and its last numbers.
import type { RunHistory, RunRecord, RunStatus } from "../services/api.ts";

/** Whether it can go on from where it ended. */
export function canContinue(run: RunRecord): boolean {
  return run.status !== "finished" && !isUnderWay(run.status);
}

/** Some tab has it on its GPU. */
export function isUnderWay(status: RunStatus): boolean {
  return status === "running" || status === "paused";
}

/** Runs in which every word of `query` occurs: in the name, the model, the data or the notes. */
export function findRuns(runs: readonly RunRecord[], query: string): readonly RunRecord[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return runs;
  return runs.filter(({ name, modelName, dataName, notes }) => {
    const text = `${name}\n${modelName}\n${dataName}\n${notes}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** The numbers that a run came to. */
export interface RunResult {
  /** In nats; null where there is none. */
  readonly loss: number | null;
  readonly heldOutLoss: number | null;
  readonly perplexity: number | null;
  /** 0–1. */
  readonly tokenAccuracy: number | null;
  readonly tokens: number;
  /** Seconds of training, without evaluation and saving; from the speed that each step reported. */
  readonly trainedSeconds: number;
  readonly skipped: number;
}

export function resultOf({ steps, evals }: RunHistory): RunResult {
  const [step, held] = [steps.at(-1), evals.at(-1)];
  let [tokens, trainedSeconds] = [0, 0];
  for (const report of steps) {
    if (report.tokensPerSecond > 0)
      trainedSeconds += (report.tokens - tokens) / report.tokensPerSecond;
    tokens = report.tokens;
  }
  return {
    loss: step?.loss ?? null,
    heldOutLoss: held?.loss ?? null,
    perplexity: held?.perplexity ?? null,
    tokenAccuracy: held?.tokenAccuracy ?? null,
    tokens,
    trainedSeconds,
    skipped: step?.skipped ?? 0,
  };
}

/** Entries of a page, from 0. A page past the end is the last one. */
export function pageOf<T>(
  entries: readonly T[],
  page: number,
  size: number,
): { readonly page: number; readonly pages: number; readonly entries: readonly T[] } {
  const pages = Math.max(1, Math.ceil(entries.length / size));
  const shown = Math.min(Math.max(page, 0), pages - 1);
  return { page: shown, pages, entries: entries.slice(shown * size, (shown + 1) * size) };
}
