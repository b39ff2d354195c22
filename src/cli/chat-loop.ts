// A conversation at the keyboard or from a pipe: messages in, answers out as they come.
//
// What a person reads beside the answers is in XTuner's words, which tutorials show.
import { createInterface } from "node:readline";
import { messageOf, UserError } from "../base/error.ts";
import type { Chat, ChatReply, Message } from "../engine.ts";
import { type ChatFlags, samplingOf } from "./chat-flags.ts";
import { type ChatInput, readMessages } from "./chat-input.ts";
import type { Output } from "./output.ts";
import { EXIT, type ExitCode } from "./session.ts";
import { createVisibleStream } from "./visible.ts";

const PROMPT = "double enter to end input (EXIT: exit chat, RESET: reset history) >>> ";

/** Talks until EXIT, the end of input, or a Ctrl-C while nothing is being answered. */
export async function converse(
  output: Output,
  chat: Chat,
  system: readonly Message[],
  flags: ChatFlags,
): Promise<ExitCode> {
  const isTerminal = process.stdin.isTTY;
  const reader = createInterface(
    isTerminal ? { input: process.stdin, output: process.stderr } : { input: process.stdin },
  );
  const talk = new Talk(output, chat, system, flags);
  let isKilled = false;
  reader.on("SIGINT", () => {
    if (talk.interrupt()) return;
    isKilled = true;
    reader.close();
  });
  const prompt = () => {
    if (!isTerminal) return;
    process.stderr.write("\n");
    reader.setPrompt(output.paint.green(PROMPT));
    reader.prompt();
    reader.setPrompt("");
  };
  let hasLeft = false;
  prompt();
  for await (const input of readMessages(reader, isTerminal)) {
    hasLeft = input.type === "exit";
    if (hasLeft) break;
    await talk.take(input).catch((error: unknown) => {
      // A keyboard's conversation goes on, without the message that could not be answered.
      if (!isTerminal || !(error instanceof UserError)) throw error;
      output.say(messageOf(error));
    });
    prompt();
  }
  reader.close();
  if (hasLeft) output.say("Log: Exit!");
  // The end of input left the cursor behind the prompt.
  else if (isTerminal) output.say("");
  return isKilled ? EXIT.killed : EXIT.done;
}

/** What was said so far, and what to do with the next input. */
class Talk {
  readonly #output: Output;
  readonly #chat: Chat;
  readonly #system: readonly Message[];
  readonly #flags: ChatFlags;
  #history: readonly Message[];
  #replying: AbortController | undefined;

  constructor(output: Output, chat: Chat, system: readonly Message[], flags: ChatFlags) {
    this.#output = output;
    this.#chat = chat;
    this.#system = system;
    this.#flags = flags;
    this.#history = system;
  }

  /** Ends the answer under way; false if there is none. */
  interrupt(): boolean {
    this.#replying?.abort();
    return this.#replying !== undefined;
  }

  async take(input: ChatInput): Promise<void> {
    if (input.type === "broken") {
      const remedy = "Please enter again.";
      throw new UserError("Invalid characters detected: a message is not UTF-8 text.", remedy);
    }
    if (input.type === "reset") {
      this.#history = this.#system;
      this.#output.say("Log: History responses have been removed!");
    } else if (input.type === "message") {
      await this.#answer({ role: "user", content: input.text });
    }
  }

  async #answer(message: Message): Promise<void> {
    let asked: readonly Message[] = [...this.#history, message];
    const reply = await this.#reply(asked).catch((error: unknown) => {
      const isFull = error instanceof UserError && error.name === "ContextFullError";
      if (!isFull || this.#history.length === this.#system.length) throw error;
      this.#forget();
      asked = [...this.#system, message];
      return this.#reply(asked);
    });
    this.#history = [...asked, { role: "assistant", content: reply.text }];
    const ranOut = reply.endedBy === "length" && reply.tokens < this.#flags.maxNewTokens;
    if (ranOut) this.#forget();
  }

  #forget(): void {
    this.#history = this.#system;
    const limit = this.#chat.contextTokens;
    this.#output.say(
      `Remove the memory of history responses, since it exceeds the length limitation ${limit}.`,
    );
  }

  async #reply(messages: readonly Message[]): Promise<ChatReply> {
    const output = this.#output;
    // A pipe gets the answer as it is; a terminal would obey what a model writes.
    const show = process.stdout.isTTY ? createVisibleStream() : (text: string) => text;
    const onText = (text: string) => {
      output.print(show(text));
      output.emit("text", { text });
    };
    const controller = new AbortController();
    this.#replying = controller;
    try {
      const streamer = this.#flags.streamer ? onText : undefined;
      const sampling = samplingOf(this.#flags);
      const reply = await this.#chat.reply(messages, sampling, streamer, controller.signal);
      if (!this.#flags.streamer) output.print(show(reply.text));
      output.print(reply.text.endsWith("\n") ? "" : "\n");
      output.emit("reply", { ...reply });
      return reply;
    } finally {
      this.#replying = undefined;
    }
  }
}
