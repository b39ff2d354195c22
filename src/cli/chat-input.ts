// Lines to messages: a paragraph ended by an empty line from a keyboard, a line each from a pipe.

export type ChatInput =
  | { readonly type: "message"; readonly text: string }
  /** Forget the conversation. */
  | { readonly type: "reset" }
  | { readonly type: "exit" }
  /** Bytes that are no text came in. */
  | { readonly type: "broken" };

/** `isParagraphs`: lines up to an empty one make a message. Ends with the lines, or after `EXIT`. */
export async function* readMessages(
  lines: AsyncIterable<string>,
  isParagraphs: boolean,
): AsyncGenerator<ChatInput> {
  let pending: string[] = [];
  for await (const line of lines) {
    if (isParagraphs && line !== "") {
      pending.push(line);
      // A command needs no empty line after it.
      if (pending.length > 1 || !COMMANDS.has(line.trim())) continue;
    }
    const text = isParagraphs ? pending.join("\n") : line;
    pending = [];
    const input = interpret(text);
    if (input) yield input;
    if (input?.type === "exit") return;
  }
  const rest = interpret(pending.join("\n"));
  if (rest) yield rest;
}

const COMMANDS: ReadonlyMap<string, ChatInput> = new Map([
  ["EXIT", { type: "exit" }],
  ["RESET", { type: "reset" }],
]);

function interpret(text: string): ChatInput | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  if (text.includes("\uFFFD")) return { type: "broken" };
  return COMMANDS.get(trimmed) ?? { type: "message", text };
}
