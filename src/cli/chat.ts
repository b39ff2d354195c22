// hone chat: talk to a model, with or without an adapter.
import { Command } from "commander";
import type { Message } from "../engine.ts";
import { type ChatFlags, computeDtypeOf, systemMessage, takesChatFlags } from "./chat-flags.ts";
import { converse } from "./chat-loop.ts";
import { openChat } from "./open-chat.ts";
import { openAdapter, openModel } from "./paths.ts";
import { type ExitCode, type Runner, type Session, withEngine } from "./session.ts";
import { visible } from "./visible.ts";

export function chatCommand(run: Runner): Command {
  const command = new Command("chat")
    .description("Talk to a model. EXIT ends, RESET forgets the conversation.")
    .argument("<model>", "a model's folder, its id on the hub, or seedling");
  return takesChatFlags(command)
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
  const wantedSystem = systemMessage(flags);
  const folder = await openModel(model, output);
  const adapter =
    flags.adapter === undefined ? undefined : await openAdapter(flags.adapter, output);
  if (flags.offloadFolder !== undefined) {
    output.say("--offload-folder does nothing here: the weights are on the GPU as a whole.");
  }
  return withEngine(session, async (engine) => {
    const { computeDtype, note } = computeDtypeOf(flags.torchDtype, await engine.inspect());
    if (note !== undefined) output.say(note);
    const chat = await openChat(session, engine, {
      model: folder,
      quantization: flags.bits === 4 ? "nf4" : "none",
      computeDtype,
      kvCache: flags.kvCache,
      ...(adapter === undefined ? {} : { adapter }),
      ...(flags.promptTemplate === undefined ? {} : { promptTemplate: flags.promptTemplate }),
      hasSystem: wantedSystem !== undefined && wantedSystem.length > 0,
      ...(flags.maxLength === undefined ? {} : { contextTokens: flags.maxLength }),
    });
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
