// What was said so far as the very tokens that were drawn, so that no answer is encoded a second time: a
// text has many tokenizations, and the model has seen but one. The cache of keys and values also stays good.
import { encodePrompt } from "../../data/prompt.ts";
import type { Message } from "../../engine.ts";
import type { ChosenTemplate, ModelFolder } from "../model-folder.ts";

interface Exchange {
  readonly messages: readonly Message[];
  /** Ids up to where the answer begins, and those of the answer, without the one that ended it. */
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
  /** The answer as text, by which the next conversation is known to go on from here. */
  readonly text: string;
}

export class History {
  readonly #tokenizer: ModelFolder["tokenizer"];
  readonly #template: ChosenTemplate["template"];
  #last: Exchange | undefined;

  constructor(
    { tokenizer }: Pick<ModelFolder, "tokenizer">,
    { template }: Pick<ChosenTemplate, "template">,
  ) {
    this.#tokenizer = tokenizer;
    this.#template = template;
  }

  /** The ids of a conversation that waits for an answer. Another one than the last is encoded from its text. */
  encode(messages: readonly Message[]): number[] {
    const ids = this.#encodeTexts(messages);
    const last = this.#last;
    if (last === undefined || !goesOn(last, messages)) return ids;
    const tail = this.#tail(last, messages, ids);
    return tail === undefined ? ids : [...last.prompt, ...last.answer, ...tail];
  }

  /** Keeps an exchange. An answer that is not the text of its ids, cut at a stop word, is not kept. */
  keep(exchange: Exchange): void {
    const whole = this.#tokenizer.decode(exchange.answer, { skipSpecialTokens: true });
    this.#last = whole === exchange.text ? exchange : undefined;
  }

  /** What follows the last answer; undefined where the texts do not show where that is. */
  #tail(
    { messages: before, text }: Exchange,
    messages: readonly Message[],
    ids: readonly number[],
  ): number[] | undefined {
    const tokenizer = this.#tokenizer;
    const template = this.#template;
    if (!("render" in template)) {
      const { suffix = "" } = template;
      const shown = [...this.#encodeTexts(before), ...tokenizer.encode(text + suffix)];
      if (!startsWith(ids, shown)) return undefined;
      return [...tokenizer.encode(suffix), ...ids.slice(shown.length)];
    }
    const shown = this.#render(before) + text;
    const rendered = this.#render(messages);
    if (!rendered.startsWith(shown)) return undefined;
    // Behind a special token a text is encoded as if it stood alone.
    const tail = tokenizer.encode(rendered.slice(shown.length));
    return tail[0] !== undefined && tokenizer.isSpecial(tail[0]) ? tail : undefined;
  }

  #encodeTexts(messages: readonly Message[]): number[] {
    return encodePrompt(
      messages.map((message) => ({ ...message })),
      this.#tokenizer,
      this.#template,
    );
  }

  #render(messages: readonly Message[]): string {
    const template = this.#template;
    if (!("render" in template)) return "";
    const { bosToken, eosToken } = this.#tokenizer;
    const own = messages.map((message) => ({ ...message }));
    return template.render(own, { bosToken, eosToken, addGenerationPrompt: true });
  }
}

function goesOn({ messages: before, text }: Exchange, messages: readonly Message[]): boolean {
  if (messages.length !== before.length + 2) return false;
  const isSame = (message: Message, i: number) =>
    message.role === messages[i]?.role && message.content === messages[i].content;
  const answer = messages[before.length];
  return before.every(isSame) && answer?.role === "assistant" && answer.content === text;
}

function startsWith(ids: readonly number[], beginning: readonly number[]): boolean {
  return beginning.every((id, i) => ids[i] === id);
}
