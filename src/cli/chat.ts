// hone chat: talk to a model, with or without an adapter.
import { createInterface } from "node:readline";
import { Command } from "commander";
import { UsageError, UserError } from "../base/error.ts";
import { SYSTEM_TEMPLATES } from "../data/template-table.ts";
import type { Chat, Message, SamplingOptions } from "../engine.ts";
import { readMessages } from "./chat-input.ts";
import { formatLoadingBar } from "./progress.ts";
import { numberFlag, wholeFlag } from "./flags.ts";
import { openAdapter, openModel } from "./paths.ts";
import { EXIT, type ExitCode, type Runner, type Session, withEngine } from "./session.ts";

interface ChatFlags {
  readonly adapter?: string;
  readonly promptTemplate?: string;
  readonly system?: string;
  readonly systemTemplate?: string;
  readonly botName: string;
  readonly bits?: number;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly stopWords?: readonly string[];
  readonly streamer: boolean;
}

export function chatCommand(run: Runner): Command {
  return new Command("chat")
    .description("Talk to a model. EXIT ends, RESET forgets the conversation.")
    .argument("<model>", "a model's folder, or seedling")
    .option(
      "--adapter <folder>",
      "an adapter, a checkpoint or a work directory to put on the model",
    )
    .option(
      "--prompt-template <name>",
      "template around messages (default: the adapter's or the model's own)",
    )
    .option("--system <text>", "system message before the conversation")
    .option(
      "--system-template <name>",
      `system message by name: ${Object.keys(SYSTEM_TEMPLATES).join(", ")}`,
    )
    .option("--bot-name <name>", "fills {bot_name} in a system template", "BOT")
    .option("--bits <4>", "quantize the weights to 4-bit NF4, as in training", wholeFlag(4, 4))
    .option("--max-new-tokens <n>", "longest answer, in tokens", wholeFlag(1), 2048)
    .option("--temperature <t>", "0 takes the likeliest token every time", numberFlag(0, 100), 0.1)
    .option("--top-k <n>", "choose among the n likeliest tokens; 0 is off", wholeFlag(0), 40)
    .option(
      "--top-p <p>",
      "choose among the likeliest with this share together",
      numberFlag(0, 1),
      0.75,
    )
    .option(
      "--repetition-penalty <x>",
      "above 1 makes repeated tokens unlikelier",
      numberFlag(0.01, 100),
      1,
    )
    .option("--seed <n>", "fixes the random choices", wholeFlag(0, 2 ** 32 - 1), 0)
    .option("--stop-words <word...>", "texts that end an answer")
    .option("--no-streamer", "print an answer when it is whole")
    .addHelpText(
      "after",
      "\nA message ends with an empty line; from a pipe, each line is one message.",
    )
    .addHelpText("after", "\nExample:\n  hone chat seedling --adapter work_dirs/demo/adapter")
    .action((model: string, flags: ChatFlags) =>
      run((session) => openAndConverse(session, model, flags)),
    );
}

async function openAndConverse(
  session: Session,
  model: string,
  flags: ChatFlags,
): Promise<ExitCode> {
  const { output } = session;
  const system = systemMessage(flags);
  const adapter = flags.adapter === undefined ? undefined : await openAdapter(flags.adapter);
  const request = {
    model: openModel(model),
    quantization: flags.bits === 4 ? "nf4" : "none",
    ...(adapter === undefined ? {} : { adapter }),
    ...(flags.promptTemplate === undefined ? {} : { promptTemplate: flags.promptTemplate }),
    onProgress: (bytes: number, total: number) =>
      output.status(formatLoadingBar(bytes, total, output.columns)),
  } as const;
  return withEngine(session, async (engine) => {
    const chat = await engine.openChat(request);
    output.status(undefined);
    const { template } = chat;
    output.say(
      `Loaded ${model}${adapter ? ` with ${adapter.path}` : ""}. Template: ${template.name} (${template.source}).`,
    );
    if (template.warning) output.say(`${output.paint.yellow("Warning:")} ${template.warning}`);
    try {
      return await converse(session, chat, system, flags);
    } finally {
      chat.close();
    }
  });
}

async function converse(
  { output }: Session,
  chat: Chat,
  system: readonly Message[],
  flags: ChatFlags,
): Promise<ExitCode> {
  const isTerminal = process.stdin.isTTY;
  const reader = createInterface(
    isTerminal ? { input: process.stdin, output: process.stderr } : { input: process.stdin },
  );
  let replying: AbortController | undefined;
  let isKilled = false;
  reader.on("SIGINT", () => {
    if (replying) replying.abort();
    else {
      isKilled = true;
      reader.close();
    }
  });
  const prompt = () => {
    if (!isTerminal) return;
    reader.setPrompt("\nEmpty line to send (EXIT: leave, RESET: forget) >>> ");
    reader.prompt();
    reader.setPrompt("");
  };

  let history: Message[] = [...system];
  let hasLeft = false;
  prompt();
  for await (const input of readMessages(reader, isTerminal)) {
    if (input.type === "exit") {
      hasLeft = true;
      break;
    }
    if (input.type === "reset") {
      history = [...system];
      output.say("The conversation has been forgotten.");
    } else if (input.type === "broken") {
      const broken = new UserError("A message is not UTF-8 text.", "Enter it again as UTF-8.");
      if (!isTerminal) throw broken;
      output.say(broken.message);
    } else {
      replying = new AbortController();
      try {
        const asked: Message[] = [...history, { role: "user", content: input.text }];
        const answer = await answerOne(output, chat, asked, flags, replying.signal);
        history = answer.isFull ? [...system] : [...asked, answer.message];
        if (answer.isFull) output.say("The context is full: the conversation has been forgotten.");
      } catch (error) {
        // A keyboard's conversation goes on, without the message that could not be answered.
        if (!isTerminal || !(error instanceof UserError)) throw error;
        output.say(error.message);
      }
      replying = undefined;
    }
    prompt();
  }
  reader.close();
  // The end of input left the cursor behind the prompt.
  if (isTerminal && !hasLeft) output.say("");
  return isKilled ? EXIT.killed : EXIT.done;
}

async function answerOne(
  output: Session["output"],
  chat: Chat,
  messages: readonly Message[],
  flags: ChatFlags,
  signal: AbortSignal,
): Promise<{ readonly message: Message; readonly isFull: boolean }> {
  const onText = (text: string) => {
    output.print(text);
    output.emit("text", { text });
  };
  const reply = await chat.reply(
    messages,
    samplingOf(flags),
    flags.streamer ? onText : undefined,
    signal,
  );
  output.print(flags.streamer ? "\n" : `${reply.text}\n`);
  output.emit("reply", { ...reply });
  return {
    message: { role: "assistant", content: reply.text },
    isFull: reply.endedBy === "length" && reply.tokens < flags.maxNewTokens,
  };
}

function samplingOf(flags: ChatFlags): SamplingOptions {
  const { maxNewTokens, temperature, topK, topP, repetitionPenalty, seed } = flags;
  const stopWords = flags.stopWords ?? [];
  return { maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, stopWords };
}

function systemMessage({ system, systemTemplate, botName }: ChatFlags): readonly Message[] {
  if (system !== undefined && systemTemplate !== undefined) {
    throw new UsageError("--system and --system-template were both given.", "Give one of them.");
  }
  if (systemTemplate === undefined) {
    return system ? [{ role: "system", content: system }] : [];
  }
  const templates: Readonly<Record<string, string>> = SYSTEM_TEMPLATES;
  const text = Object.hasOwn(templates, systemTemplate) ? templates[systemTemplate] : undefined;
  if (text === undefined) {
    throw new UsageError(
      `There is no system template "${systemTemplate}".`,
      `Use one of: ${Object.keys(templates).join(", ")}.`,
    );
  }
  return [{ role: "system", content: text.replaceAll("{bot_name}", botName) }];
}
