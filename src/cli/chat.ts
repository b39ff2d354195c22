// hone chat: talk to a model, with or without an adapter.
import { Command } from "commander";
import type { Message } from "../engine.ts";
import { type ChatFlags, computeDtypeOf, systemMessage, takesChatFlags } from "./chat-flags.ts";
import { converse } from "./chat-loop.ts";
import { openAdapter, openModel } from "./paths.ts";
import { formatLoadingBar } from "./progress.ts";
import type { ExitCode, Runner, Session } from "./session.ts";
import { withEngine } from "./session.ts";
import { visible } from "./visible.ts";

export function chatCommand(run: Runner): Command {
  const command = new Command("chat")
    .description("Talk to a model. EXIT ends, RESET forgets the conversation.")
<<<<<<<
    .argument("<model>", "a model's folder, its id on the hub, or seedling")
    .option(
      "--adapter <folder>",
      "an adapter (of the hub too), a checkpoint or a work directory to put on the model",
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
=======
    .argument("<model>", "a model's folder, or seedling");
  return takesChatFlags(command)
>>>>>>>
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
<<<<<<<
  const system = systemMessage(flags);
  const adapter =
    flags.adapter === undefined ? undefined : await openAdapter(flags.adapter, output);
  const request = {
    model: await openModel(model, output),
    quantization: flags.bits === 4 ? "nf4" : "none",
    ...(adapter === undefined ? {} : { adapter }),
    ...(flags.promptTemplate === undefined ? {} : { promptTemplate: flags.promptTemplate }),
    onProgress: (bytes: number, total: number) =>
      output.status(formatLoadingBar(bytes, total, output.columns)),
  } as const;
=======
  const wantedSystem = systemMessage(flags);
  const folder = openModel(model);
  const adapter = flags.adapter === undefined ? undefined : await openAdapter(flags.adapter);
  if (flags.offloadFolder !== undefined) {
    output.say("--offload-folder does nothing here: the weights are on the GPU as a whole.");
  }
>>>>>>>
  return withEngine(session, async (engine) => {
    const { computeDtype, note } = computeDtypeOf(flags.torchDtype, await engine.inspect());
    if (note !== undefined) output.say(note);
    const chat = await engine.openChat({
      model: folder,
      quantization: flags.bits === 4 ? "nf4" : "none",
      computeDtype,
      ...(adapter === undefined ? {} : { adapter }),
      ...(flags.promptTemplate === undefined ? {} : { promptTemplate: flags.promptTemplate }),
      ...(flags.maxLength === undefined ? {} : { contextTokens: flags.maxLength }),
      onProgress: (bytes, total) => output.status(formatLoadingBar(bytes, total, output.columns)),
    });
    output.status(undefined);
    output.say(`Load LLM from ${model}`);
    if (adapter !== undefined) output.say(`Load adapter from ${adapter.path}`);
    const { name, source, warning } = chat.template;
    output.say(`Template: ${name} (${source}).`);
    if (warning !== undefined) output.say(`${output.paint.yellow("Warning:")} ${warning}`);
    const system = wantedSystem ?? trainedSystem(session, chat.system);
    try {
      return await converse(output, chat, system, flags);
    } finally {
      chat.close();
    }
  });
}

/** The system message that the model was trained with, told since nobody asked for it. */
function trainedSystem({ output }: Session, content: string): readonly Message[] {
  if (content === "") return [];
  output.say(
    `System message it was trained with: ${visible(content.trim())} (--system "" is none)`,
  );
  return [{ role: "system", content }];
}
