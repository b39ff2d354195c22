// A conversation that waits for an answer, as token ids: what the model is shown at inference.
// It is encoded piece by piece as in training, so that the borders of tokens are the same.
import { UserError } from "../base/error.ts";
import type { ChatMessage, ChatTemplate } from "../formats/chat-template.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import type { Turn } from "./conversation.ts";
import { encodeExample } from "./encode.ts";
import type { PromptTemplate } from "./template-table.ts";
import { applyTemplate } from "./templates.ts";

/**
 * The ids of `messages`, which end with a user's, up to where the answer begins. Named templates give
 * BOS, the turns so far with their ends, and the last instruction; a chat template its own text.
 */
export function encodePrompt(
  messages: readonly ChatMessage[],
  tokenizer: Tokenizer,
  template: PromptTemplate | ChatTemplate,
): number[] {
  if (messages.at(-1)?.role !== "user") {
    throw new UserError(
      "The conversation does not end with a user's message.",
      "Add the question to be answered.",
    );
  }
  if ("render" in template) {
    const { bosToken, eosToken } = tokenizer;
    const text = template.render(messages, { bosToken, eosToken, addGenerationPrompt: true });
    return tokenizer.encode(text);
  }
  const turns = applyTemplate(pairUp(messages), template);
  const past = turns.slice(0, -1);
  const asked = turns.at(-1);
  if (!asked) return [];
  const history = encodeExample(past, tokenizer, { maxLength: Number.MAX_SAFE_INTEGER });
  // BOS stands before the first turn, and before every turn that follows an EOS.
  const needsBos = past.at(-1)?.needEosToken ?? true;
  const bos = needsBos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  return [...history.inputIds, ...bos, ...tokenizer.encode(asked.input)];
}

/** Messages to turns; the last turn has no output yet. A system message belongs to the turn after it. */
function pairUp(messages: readonly ChatMessage[]): Turn[] {
  const turns: Turn[] = [];
  let system = "";
  let input = "";
  for (const { role, content } of messages) {
    if (role === "system") system = content;
    else if (role === "user") input += content;
    else {
      turns.push({ system, input, output: content });
      system = "";
      input = "";
    }
  }
  return [...turns, { system, input, output: "" }];
}
