// A conversation in standard form: what every dataset format is mapped to, and every encoder reads.
import type { ChatMessage } from "../formats/chat-template.ts";

/** One exchange. Before templating, texts are the data's own; after, `input` has the whole prompt. */
export interface Turn {
  /** Shown once, before this turn's input. Empty is none. */
  system?: string;
  input: string;
  output: string;
  /** False keeps the output in the context and out of the loss. Default true. */
  outputWithLoss?: boolean;
  /** Whether the tokenizer's EOS follows the output. Default true. */
  needEosToken?: boolean;
  /** A text for pre-training: no template or system text is written around it. */
  isText?: true;
  /** The texts stand as they are: no template, system text, BOS or EOS is added. */
  isRaw?: true;
  /** Text after the turn, never learned. Default none. */
  sep?: string;
  /**
   * What was said between the last answer and this one, but for the system text, where it is more than a user's
   * text: results of tools. It stands in place of `input`. Only a model's own chat template can write it.
   */
  context?: readonly ChatMessage[];
  /** Calls of tools that this answer makes, as chat templates expect them in `message.tool_calls`. */
  toolCalls?: readonly unknown[];
  /** On the first turn: the tools that the model was offered, handed to the chat template. */
  tools?: readonly unknown[];
}

export type Conversation = readonly Turn[];

/** Whether a conversation has what only a model's own chat template can write. */
export function usesTools(conversation: Conversation): boolean {
  return conversation.some(
    ({ context, toolCalls, tools }) =>
      context !== undefined || toolCalls !== undefined || tools !== undefined,
  );
}

/** A conversation as the messages of a chat, in order. Each turn's last one is the assistant's. */
export function messagesOf(conversation: Conversation): ChatMessage[] {
  return conversation.flatMap(({ system = "", input, output, context, toolCalls }) => [
    ...(system === "" ? [] : [{ role: "system", content: system }]),
    ...(context ?? (input === "" ? [] : [{ role: "user", content: input }])),
    {
      role: "assistant",
      content: output,
      ...(toolCalls === undefined ? {} : { tool_calls: toolCalls }),
    },
  ]);
}
