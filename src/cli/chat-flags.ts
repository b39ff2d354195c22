// The flags of hone chat: XTuner's, with its defaults. Those for what Hone has not are refused in words.
import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../base/error.ts";
import { SYSTEM_TEMPLATES } from "../data/template-table.ts";
import type { LoadRequest, Message, SamplingOptions } from "../engine.ts";
import { numberFlag, wholeFlag } from "./flags.ts";

export interface ChatFlags {
  readonly adapter?: string;
  readonly promptTemplate?: string;
  readonly system?: string;
  readonly systemTemplate?: string;
  readonly botName: string;
  readonly bits?: 4;
  readonly torchDtype?: "fp16" | "bf16" | "fp32" | "auto";
  readonly maxLength?: number;
  readonly kvCache: KvCache;
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly stopWords?: readonly string[];
  readonly streamer: boolean;
  readonly offloadFolder?: string;
}

export function takesChatFlags(command: Command): Command {
  return [modelFlags, promptFlags, samplingFlags, refusedFlags].reduce(
    (whole, add) => add(whole),
    command,
  );
}

function modelFlags(command: Command): Command {
  return command
    .option(
      "--adapter <folder>",
      "an adapter, a checkpoint or a work directory to put on the model",
    )
    .option("--bits <4>", "quantize the weights to 4-bit NF4, as in training", bitsFlag)
    .addOption(
      new Option(
        "--torch-dtype <type>",
        "type to compute in (default: f16 where the GPU has it)",
      ).choices(["fp16", "bf16", "fp32", "auto"]),
    )
    .option(
      "--max-length <tokens>",
      "longest conversation, with its answers (default: 2048, or what the model was made for)",
      wholeFlag(8, 1_048_576),
    )
    .addOption(kvCacheFlag())
    .addOption(new Option("--offload-folder <folder>").hideHelp());
}

type KvCache = NonNullable<LoadRequest["kvCache"]>;

/** How what a conversation leaves on the GPU is kept; eval takes it too. */
export function kvCacheFlag(): Option {
  return new Option(
    "--kv-cache <type>",
    "how keys and values are kept: f16 halves and int8 quarters what 32 bits take (default: as computed)",
  )
    .choices(["auto", "f16", "int8"])
    .default("auto" satisfies KvCache);
}

function promptFlags(command: Command): Command {
  return command
    .option(
      "--prompt-template <name>",
      "template around messages; none sends them as they are (default: the adapter's or the model's own)",
    )
    .option(
      "--system <text>",
      "system message before the conversation (default: the one it was trained with)",
    )
    .option(
      "--system-template <name>",
      `system message by name: ${Object.keys(SYSTEM_TEMPLATES).join(", ")}`,
    )
    .option("--bot-name <name>", "fills {bot_name} in a system template", "BOT")
    .option("--stop-words <word...>", "texts that end an answer")
    .option("--no-streamer", "print an answer when it is whole");
}

function samplingFlags(command: Command): Command {
  return command
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
    .option("--seed <n>", "fixes the random choices", wholeFlag(0, 2 ** 32 - 1), 0);
}

/** Flags of XTuner's for what is not here, and why. */
const REFUSED: Readonly<Record<string, string>> = {
  "--lagent": "answers no questions with a search engine",
  "--with-plugins [names...]": "runs no plugins for an answer",
  "--llava <model>": "reads text, not pictures",
  "--visual-encoder <model>": "reads text, not pictures",
  "--visual-select-layer <n>": "reads text, not pictures",
  "--image <file>": "reads text, not pictures",
};

function refusedFlags(command: Command): Command {
  for (const [flags, reason] of Object.entries(REFUSED)) {
    const option = new Option(flags).hideHelp();
    command.addOption(option).on(`option:${option.name()}`, () => {
      throw new UsageError(`${option.long} is not in Hone, which ${reason}.`, "Leave it out.");
    });
  }
  return command;
}

function bitsFlag(text: string): 4 {
  if (text === "4") return 4;
  throw new InvalidArgumentError(
    text === "8"
      ? "Weights are kept in 4 bits or, without --bits, as they are; 8 bits are not in Hone."
      : "It takes 4 only.",
  );
}

/** What a flag asks for on this adapter, with a note where that is not to the letter what was asked. */
export function computeDtypeOf(
  torchDtype: ChatFlags["torchDtype"],
  adapter: { readonly name: string; readonly hasF16: boolean },
): { readonly computeDtype: NonNullable<LoadRequest["computeDtype"]>; readonly note?: string } {
  if (torchDtype === "fp32") return { computeDtype: "f32" };
  if (torchDtype === "bf16") {
    const note = "WebGPU has no bf16: this computes in 32 bits, which are at least as exact.";
    return { computeDtype: "f32", note };
  }
  if (torchDtype !== "fp16" || adapter.hasF16) return { computeDtype: "auto" };
  return { computeDtype: "auto", note: `${adapter.name} has no f16: this computes in 32 bits.` };
}

export function samplingOf(flags: ChatFlags): SamplingOptions {
  const { maxNewTokens, temperature, topK, topP, repetitionPenalty, seed } = flags;
  const stopWords = flags.stopWords ?? [];
  return { maxNewTokens, temperature, topK, topP, repetitionPenalty, seed, stopWords };
}

/** The system message that the flags ask for; undefined where they leave it to the model's own. */
export function systemMessage(flags: ChatFlags): readonly Message[] | undefined {
  const { system, systemTemplate, botName } = flags;
  if (system !== undefined && systemTemplate !== undefined) {
    throw new UsageError("--system and --system-template were both given.", "Give one of them.");
  }
  if (system !== undefined) return system === "" ? [] : [{ role: "system", content: system }];
  if (systemTemplate === undefined) return undefined;
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
