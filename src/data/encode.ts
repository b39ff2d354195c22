// Conversations to token ids and labels: what is shown, and which of it is learned.
// By a named template each text is encoded by itself, as XTuner does; by the model's own, the whole text at
// once, as transformers does: a token may then hold the end of the prompt and the start of an answer.
import { UserError } from "../base/error.ts";
import type { ChatTemplate } from "../formats/chat-template.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import type { EncodedText } from "../formats/tokenizer-pipeline.ts";
import type { Answer } from "./answers.ts";
import type { Conversation } from "./conversation.ts";
import { type Example, IGNORE_INDEX } from "./pack.ts";
import { renderConversation } from "./render-chat.ts";

export interface EncodedExample extends Example {
  /** Whether tokens past the limit were cut off, and how many. */
  truncated: boolean;
  tokensLost: number;
  /**
   * Whether the last learned answer keeps its end: EOS, or the suffix or special token that stands
   * for it. An answer without one teaches the model not to stop.
   */
  eosSupervised: boolean;
  labelTokens: number;
}

/** Examples that are made when they are asked for: an array, or a TokenStore. */
export interface ExampleList {
  readonly length: number;
  at(index: number): EncodedExample | undefined;
  /** Tokens of an example, where that is known without making it. */
  lengthOf?(index: number): number;
  /** Copies some of its tokens into a row, where that takes no example to be made. */
  copy?(index: number, from: number, row: Example, at: number, count: number): void;
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
    const isRaw = turn.isRaw === true;
    if (needsBos && !isRaw && tokenizer.bosId !== undefined) builder.show([tokenizer.bosId]);
    builder.show(tokenizer.encode(turn.input));
    if (!withOutput) continue;
    const answer = tokenizer.encode(turn.output);
    needsBos = !isRaw && (turn.needEosToken ?? true);
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
 * Encodes a conversation by the model's own chat template: the whole text at once, as transformers does.
 *
 * Learned is each token with a part of an answer in it, from where the prompt ends to the special token
 * that ends the turn; an answer that calls tools is what the template writes of the calls. White space
 * after that is not. Plain text is encoded as it is.
 *
 * `inputIdsWithOutput: false` leaves the answers out, and what follows the last one.
 */
export function encodeByChatTemplate(
  conversation: Conversation,
  tokenizer: Pick<
    Tokenizer,
    "encode" | "encodeWithSpans" | "isSpecial" | "bosId" | "eosIds" | "bosToken" | "eosToken"
  >,
  template: ChatTemplate,
  options: EncodeOptions & { inputIdsWithOutput?: boolean },
): EncodedExample {
  const [{ isRaw = false, isText = false } = {}] = conversation;
  if (isRaw || isText) return encodeExample(conversation, tokenizer, options);
  const { bosToken, eosToken } = tokenizer;
  const { text, answers } = renderConversation(template, conversation, { bosToken, eosToken });
  const encoded = tokenizer.encodeWithSpans(text);
  const builder = createExampleBuilder();
  const withOutput = options.inputIdsWithOutput ?? true;
  let done = 0;
  for (const [k, answer] of answers.entries()) {
    const first = tokenAt(encoded, answer.start, done);
    const turn = endOfTurn(text, encoded, answer, first, tokenizer);
    builder.show(encoded.ids.slice(done, first));
    const ids = encoded.ids.slice(first, turn.end);
    done = turn.end;
    if (!withOutput) continue;
    if (conversation[k]?.outputWithLoss ?? true) builder.learn(ids, turn.isMarked);
    else builder.show(ids);
  }
  if (withOutput) builder.show(encoded.ids.slice(done));
  return builder.finish(options.maxLength);
}

/** The first token, from `from` on, that has text after `position` in it. */
function tokenAt({ ends }: EncodedText, position: number, from: number): number {
  let index = from;
  while (index < ends.length && (ends[index] ?? 0) <= position) index++;
  return index;
}

/**
 * One past the last token of an answer: the special token that, but for white space, follows its words, or
 * else the last special token of what it added. Without one all that it added is the answer.
 */
function endOfTurn(
  text: string,
  { ids, starts, ends }: EncodedText,
  answer: Answer,
  first: number,
  tokenizer: Pick<Tokenizer, "isSpecial" | "eosIds">,
): { end: number; isMarked: boolean } {
  const isMark = (i: number) => {
    const id = ids[i];
    return id !== undefined && (tokenizer.isSpecial(id) || tokenizer.eosIds.includes(id));
  };
  const isBlank = (i: number) => text.slice(starts[i], ends[i]).trim() === "";
  const tokenFrom = (position: number) => {
    let index = first;
    while (index < ids.length && (starts[index] ?? 0) < position) index++;
    return index;
  };
  const { wordsEnd = answer.start } = answer;
  if (answer.wordsEnd !== undefined) {
    let after = tokenFrom(wordsEnd);
    while (after < ids.length && !isMark(after) && isBlank(after)) after++;
    if (isMark(after)) return { end: after + 1, isMarked: true };
  }
  const end = tokenFrom(answer.findEnd());
  for (let last = end - 1; last >= first && (starts[last] ?? 0) >= wordsEnd; last--) {
    if (isMark(last)) return { end: last + 1, isMarked: true };
    if (!isBlank(last)) break;
  }
  return { end, isMarked: false };
}

/** Collects tokens, keeping ids and labels in step. */
function createExampleBuilder() {
  let ids = new Uint32Array(512);
  let labels = new Int32Array(512);
  let count = 0;
  let lastEnd: number | undefined; // index of the last learned answer's end mark
  const reserve = (more: number) => {
    if (count + more <= ids.length) return;
    const size = 2 * (count + more);
    const [oldIds, oldLabels] = [ids, labels];
    ids = new Uint32Array(size);
    ids.set(oldIds);
    labels = new Int32Array(size);
    labels.set(oldLabels);
  };
  return {
    show(tokens: readonly number[]): void {
      reserve(tokens.length);
      ids.set(tokens, count);
      labels.fill(IGNORE_INDEX, count, count + tokens.length);
      count += tokens.length;
    },
    learn(tokens: readonly number[], endsTurn: boolean): void {
      reserve(tokens.length);
      ids.set(tokens, count);
      labels.set(tokens, count);
      count += tokens.length;
      lastEnd = endsTurn && tokens.length > 0 ? count - 1 : undefined;
    },
    finish(maxLength: number): EncodedExample {
      const length = Math.min(count, maxLength);
      let labelTokens = 0;
      for (let i = 0; i < length; i++) if ((labels[i] as number) >= 0) labelTokens++;
      return {
        inputIds: ids.slice(0, length),
        labels: labels.slice(0, length),
        truncated: count > maxLength,
        tokensLost: count - length,
        eosSupervised: lastEnd !== undefined && lastEnd < maxLength,
        labelTokens,
      };
    },
  };
}
