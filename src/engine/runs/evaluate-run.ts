// What a run tells of itself between steps: answers to the evaluation questions, and the held-out loss.
import type { TrainConfig } from "../../config.ts";
import { createBatches } from "../../data/batches.ts";
import type { Host, Message, SamplingOptions, TrainEvent } from "../../engine.ts";
import type { Moment } from "../../train/plan.ts";
import type { MicroBatch } from "../../train/step.ts";
import { Answerer } from "../answers/chat.ts";
import type { ModelFolder } from "../model-folder.ts";
import type { Prepared } from "./prepare-run.ts";
import type { RunParts } from "./run-parts.ts";

/** Evaluates after `step` steps. False where the signal broke it off; its events are then not all there. */
export async function evaluateRun(
  host: Host,
  prepared: Prepared,
  { generator, evaluator }: Pick<RunParts, "generator" | "evaluator">,
  { step, moment }: { readonly step: number; readonly moment: Moment },
  onEvent: (event: TrainEvent) => void,
): Promise<boolean> {
  const { config, signal } = prepared.request;
  if (generator) {
    generator.reset();
    const opened = withEndsOf(config, prepared.opened);
    const answerer = new Answerer(generator, opened, prepared.chosen, host.now);
    const sampling = samplingOf(config, moment);
    for (const input of config.evaluation_inputs) {
      const messages = messagesOf(config, input);
      const { reply, sequence } = await answerer.replyWhole(messages, sampling, undefined, signal);
      if (signal?.aborted) return false;
      const whole = config.compat === "none" ? {} : { sequence };
      onEvent({ type: "sample", step, input, output: reply.text, ...whole });
    }
  }
  // Under compat the last step is evaluated twice: the adapter, and so the loss, is the same.
  const isRepeated = config.compat !== "none" && moment === "after" && config.evaluation_freq > 0;
  if (evaluator && !isRepeated) {
    const report = await evaluator.total(heldOutBatches(prepared), signal);
    if (!report) return false;
    onEvent({ type: "eval", step, ...report });
  }
  return true;
}

/** XTuner's hook knows the tokenizer's end and the template's stop words, not the ends in generation_config. */
export function withEndsOf({ compat }: TrainConfig, opened: ModelFolder): ModelFolder {
  const { eosToken } = opened.tokenizer;
  const id = eosToken === undefined ? undefined : opened.tokenizer.idOf(eosToken);
  return compat === "none" || id === undefined ? opened : { ...opened, endIds: [id] };
}

/** EvaluateChatHook's, before training too. */
const XTUNER_SAMPLING = { temperature: 0.1, topK: 40, topP: 0.75 };
const XTUNER_FIRST_TOKENS = 50;

/** Greedy, so that what is compared between steps is the adapter and not a die; XTuner draws. */
function samplingOf(config: TrainConfig, moment: Moment): SamplingOptions {
  const isXtuner = config.compat !== "none";
  const isFirst = isXtuner && moment === "before";
  const maxNewTokens = config.evaluation_max_new_tokens;
  return {
    maxNewTokens: isFirst ? Math.min(XTUNER_FIRST_TOKENS, maxNewTokens) : maxNewTokens,
    ...(isXtuner ? XTUNER_SAMPLING : { temperature: 0, topK: 0, topP: 1 }),
    repetitionPenalty: 1,
    seed: config.seed,
    stopWords: [],
  };
}

function messagesOf({ system, evaluation_system }: TrainConfig, input: string): Message[] {
  const content = evaluation_system === "" ? system : evaluation_system;
  const question: Message = { role: "user", content: input };
  return content === "" ? [question] : [{ role: "system", content }, question];
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
