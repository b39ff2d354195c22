// Conversations to token ids and labels: what is shown, and which of it is learned.
// Each text is encoded by itself, so no token spans the border between what is learned and what is not;
// at inference the prompt is encoded by itself too.

import { UserError } from "../base/error.ts";
import type { ChatMessage, ChatTemplate } from "../formats/chat-template.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import type { Conversation } from "./conversation.ts";
import { IGNORE_INDEX } from "./pack.ts";
import type { Example } from "./pack.ts";

export interface EncodedExample extends Example {
  /** Whether tokens past the limit were cut off. */
  truncated: boolean;
  /**
   * Whether the last learned answer keeps its end: EOS, or the suffix or special token that stands
   * for it. An answer without one teaches the model not to stop.
   */
  eosSupervised: boolean;
  labelTokens: number;
}

export interface EncodeOptions {
  /** Longest example, in tokens. The rest is cut off on the right. */
  maxLength: number;
}

/**
 * Encodes a templated conversation, as XTuner's `encode_fn`: BOS before the first turn and again after
 * each EOS; the output and its EOS are learned; input, BOS and separator are not.
 *
 * `inputIdsWithOutput: false` leaves the answers out, for asking a question instead of teaching one.
 */
export function encodeExample(
  conversation: Conversation,
  tokenizer: Pick<Tokenizer, "encode" | "bosId" | "eosIds">,
  options: EncodeOptions & { inputIdsWithOutput?: boolean },
): EncodedExample {
  const builder = createExampleBuilder();
  const withOutput = options.inputIdsWithOutput ?? true;
  let needsBos = true;
  for (const turn of conversation) {
    if (needsBos && tokenizer.bosId !== undefined) builder.show([tokenizer.bosId]);
    builder.show(tokenizer.encode(turn.input));
    if (!withOutput) continue;
    const answer = tokenizer.encode(turn.output);
    needsBos = turn.needEosToken ?? true;
    if (needsBos) answer.push(eosOf(tokenizer));
    if (turn.outputWithLoss ?? true) builder.learn(answer, true);
    else builder.show(answer);
    if (turn.sep !== undefined && turn.sep !== "") builder.show(tokenizer.encode(turn.sep));
  }
  return builder.finish(options.maxLength);
}

function eosOf(tokenizer: Pick<Tokenizer, "eosIds">): number {
  const eosId = tokenizer.eosIds[0];
  if (eosId !== undefined) return eosId;
  throw new UserError(
    "The tokenizer names no EOS token, and this prompt template ends each answer with it.",
    "Add eos_token to tokenizer_config.json, or choose a template with its own end mark.",
  );
}

/**
 * Encodes a conversation by the model's own chat template.
 *
 * What is learned is found by rendering prefixes: the answer is what the text gains from the prompt
 * with its generation prompt to the prompt with the answer. In it, everything up to the last special
 * token (the end of the turn) is learned, and the white space after that is not.
 */
export function encodeByChatTemplate(
  conversation: Conversation,
  tokenizer: Pick<
    Tokenizer,
    "encode" | "decode" | "isSpecial" | "eosIds" | "bosToken" | "eosToken"
  >,
  template: ChatTemplate,
  options: EncodeOptions,
): EncodedExample {
  const builder = createExampleBuilder();
  const messages: ChatMessage[] = [];
  const { bosToken, eosToken } = tokenizer;
  let text = ""; // all that is encoded so far, a prefix of every later rendering
  const advance = (addGenerationPrompt: boolean): number[] => {
    const longer = template.render(messages, { bosToken, eosToken, addGenerationPrompt });
    if (!longer.startsWith(text)) throw unstable(text, longer, messages.length);
    const fresh = tokenizer.encode(longer.slice(text.length));
    text = longer;
    return fresh;
  };
  for (const turn of conversation) {
    const { system = "", input, output } = turn;
    if (system !== "") messages.push({ role: "system", content: system });
    if (input !== "") messages.push({ role: "user", content: input });
    builder.show(advance(true));
    messages.push({ role: "assistant", content: output });
    const answer = advance(false);
    if (turn.outputWithLoss === false) {
      builder.show(answer);
      continue;
    }
    const end = endOfTurn(answer, tokenizer);
    builder.learn(end === undefined ? answer : answer.slice(0, end), end !== undefined);
    if (end !== undefined) builder.show(answer.slice(end));
  }
  return builder.finish(options.maxLength);
}

/** One past the special token that, but for white space, ends an answer; undefined if none does. */
function endOfTurn(
  answer: readonly number[],
  tokenizer: Pick<Tokenizer, "decode" | "isSpecial" | "eosIds">,
): number | undefined {
  for (let i = answer.length - 1; i >= 0; i--) {
    const id = answer[i] as number;
    if (tokenizer.isSpecial(id) || tokenizer.eosIds.includes(id)) return i + 1;
    if (tokenizer.decode([id]).trim() !== "") return undefined;
  }
  return undefined;
}

function unstable(before: string, after: string, messages: number): UserError {
  let same = 0;
  while (before[same] === after[same]) same++;
  const excerpt = (text: string) => JSON.stringify(text.slice(Math.max(0, same - 20), same + 20));
  return new UserError(
    `The model's chat template rewrites earlier text when message ${messages} is added: ${excerpt(before)} becomes ${excerpt(after)}. So it cannot be told which tokens are the answer.`,
    "Choose one of the named prompt templates instead.",
  );
}

/** Collects tokens, keeping ids and labels in step. */
function createExampleBuilder() {
  const ids: number[] = [];
  const labels: number[] = [];
  let lastEnd: number | undefined; // index of the last learned answer's end mark
  return {
    show(tokens: readonly number[]): void {
      for (const id of tokens) {
        ids.push(id);
        labels.push(IGNORE_INDEX);
      }
    },
    learn(tokens: readonly number[], endsTurn: boolean): void {
      for (const id of tokens) {
        ids.push(id);
        labels.push(id);
      }
      lastEnd = endsTurn && tokens.length > 0 ? ids.length - 1 : undefined;
    },
    finish(maxLength: number): EncodedExample {
      const kept = labels.slice(0, maxLength);
      return {
        inputIds: Uint32Array.from(ids.slice(0, maxLength)),
        labels: Int32Array.from(kept),
        truncated: ids.length > maxLength,
        eosSupervised: lastEnd !== undefined && lastEnd < maxLength,
        labelTokens: kept.filter((label) => label >= 0).length,
      };
    },
  };
}
