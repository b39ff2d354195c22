// Flags of hone chat that ask for what the adapter, or Hone, may not have.
import { Command } from "commander";
import { expect, test } from "vitest";
import {
  type ChatFlags,
  computeDtypeOf,
  systemMessage,
  takesChatFlags,
} from "../../src/cli/chat-flags.ts";

const F16 = { name: "A GPU", hasF16: true };
const F32 = { name: "A CPU", hasF16: false };

test.each([
  [undefined, F32, "auto", undefined],
  ["auto", F16, "auto", undefined],
  ["fp16", F16, "auto", undefined],
  ["fp16", F32, "auto", "A CPU has no f16: this computes in 32 bits."],
  [
    "bf16",
    F16,
    "f32",
    "WebGPU has no bf16: this computes in 32 bits, which are at least as exact.",
  ],
  ["fp32", F16, "f32", undefined],
] as const)("--torch-dtype %s on %o computes in %s", (torchDtype, adapter, expected, note) => {
  const chosen = computeDtypeOf(torchDtype, adapter);
  expect(chosen.computeDtype).toBe(expected);
  expect(chosen.note).toBe(note);
});

function parse(...args: string[]): ChatFlags {
  const command = takesChatFlags(new Command("chat"))
    .exitOverride()
    .configureOutput({
      writeErr: () => {},
    });
  return command.parse(args, { from: "user" }).opts<ChatFlags>();
}

test("the defaults are XTuner's, and nothing of what is remembered is rounded", () => {
  expect(parse()).toEqual({
    botName: "BOT",
    kvCache: "auto",
    maxNewTokens: 2048,
    temperature: 0.1,
    topK: 40,
    topP: 0.75,
    repetitionPenalty: 1,
    seed: 0,
    streamer: true,
  });
});

test.each([
  [["--lagent"], "answers no questions with a search engine"],
  [["--with-plugins", "calculate", "solve"], "runs no plugins"],
  [["--image", "a.png"], "reads text, not pictures"],
  [["--llava", "x"], "reads text, not pictures"],
  [["--bits", "8"], "8 bits are not in Hone"],
  [["--bits", "3"], "It takes 4 only."],
])("%j is refused: %s", (args, words) => {
  expect(() => parse(...args)).toThrow(words);
});

test("a system message is a text, a template with the bot's name, nothing, or the model's own", () => {
  expect(systemMessage(parse("--system", "Be {kind}."))).toEqual([
    { role: "system", content: "Be {kind}." },
  ]);
  expect(systemMessage(parse("--system", ""))).toEqual([]);
  expect(systemMessage(parse())).toBeUndefined();
  const [moss] = systemMessage(parse("--system-template", "moss_sft", "--bot-name", "Puyu")) ?? [];
  expect(moss?.content).toContain("whose name is Puyu.");
  expect(moss?.content).not.toContain("{bot_name}");
  expect(() => systemMessage(parse("--system", "a", "--system-template", "sql"))).toThrow(
    "were both given",
  );
});
