// What a run tells of itself between steps: answers to the evaluation questions, and the held-out loss.
import type { TrainConfig } from "../config.ts";
import { createBatches } from "../data/batches.ts";
import type { Host, TrainEvent } from "../engine.ts";
import type { MicroBatch } from "../train/step.ts";
import { Answerer } from "./chat.ts";
import type { Prepared } from "./prepare-run.ts";
import { ANSWER_TOKENS, type RunParts } from "./run-parts.ts";

/** Evaluates after `step` steps. False where the signal broke it off; its events are then not all there. */
export async function evaluateRun(
  host: Host,
  prepared: Prepared,
  { generator, evaluator }: Pick<RunParts, "generator" | "evaluator">,
  step: number,
  onEvent: (event: TrainEvent) => void,
): Promise<boolean> {
  const { config, signal } = prepared.request;
  if (generator) {
    generator.reset();
    const answerer = new Answerer(generator, prepared.opened, prepared.chosen, host.now);
    for (const input of config.evaluation_inputs) {
      const output = await answer(answerer, config, input, signal);
      if (signal?.aborted) return false;
      onEvent({ type: "sample", step, input, output });
    }
  }
  if (evaluator) {
    const report = await evaluator.total(heldOutBatches(prepared), signal);
    if (!report) return false;
    onEvent({ type: "eval", step, ...report });
  }
  return true;
}

/** Greedy, so that what is compared between steps is the adapter and not a die. */
async function answer(
  answerer: Answerer,
  config: TrainConfig,
  input: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const system = config.system === "" ? [] : [{ role: "system", content: config.system } as const];
  const messages = [...system, { role: "user", content: input } as const];
  const sampling = {
    maxNewTokens: ANSWER_TOKENS,
    temperature: 0,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    seed: config.seed,
    stopWords: [],
  };
  const { text } = await answerer.reply(messages, sampling, undefined, signal);
  return text;
}

function heldOutBatches({ request: { config }, evaluationRows }: Prepared): MicroBatch[] {
  const held = createBatches(evaluationRows, {
    rowTokens: config.max_length,
    rowsPerBatch: config.batch_size,
    seed: config.seed,
    shuffle: false,
    isolateDocuments: config.use_varlen_attn,
  });
  return Array.from({ length: held.batchesPerEpoch }, (_, index) => held.at(index));
}
