// Every family's chat template against transformers: texts, ids, and which tokens are learned.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import type { Conversation } from "../../src/data/conversation.ts";
import { encodeByChatTemplate } from "../../src/data/encode.ts";
import { compileChatTemplate } from "../../src/formats/chat-template.ts";
import type { ChatMessage } from "../../src/formats/chat-template.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";
import { cacheDirectory, python, smolLm2, workDirectory } from "./python.ts";
import { score } from "./scorecard.ts";

interface Template {
  name: string;
  subject: string;
  folder: string;
}

interface Expected {
  template: string;
  bos_token?: string;
  eos_token?: string;
  /** Conversations and their texts, null where the template refuses them. */
  texts: {
    messages: ChatMessage[];
    tools?: unknown[];
    variables?: Record<string, unknown>;
    text: string | null;
    prompt: string | null;
  }[];
  /** Training rows: the ids of the whole text, and 1 for each that the assistant says. */
  masks: { turns: Conversation; ids: number[]; learned: number[] }[];
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const out = await workDirectory("chat-templates");
const templates = JSON.parse(
  await python("chat-templates-expected", [
    cacheDirectory,
    // Other people's files, so not in the repository; their template is left out where they are absent.
    join(root, "../shared/data"),
    await smolLm2(),
    join(root, "public/models/seedling"),
    out,
  ]),
) as Template[];

const read = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));
/** The day that Meta's template is told, here and there. */
const DATE = { date_string: "26 Jul 2024" };

describe.each(templates)("$name", ({ name, subject, folder }) => {
  const expected = read(join(out, `${name}.json`)) as Expected;
  const { bos_token: bosToken, eos_token: eosToken } = expected;
  const template = compileChatTemplate(expected.template);

  test("texts are equal, with the generation prompt and without, and so is what is refused", () => {
    const different: unknown[] = [];
    for (const { messages, tools, variables, text, prompt } of expected.texts) {
      for (const [addGenerationPrompt, wanted] of [
        [false, text],
        [true, prompt],
      ] as const) {
        const options = { bosToken, eosToken, tools, variables: { ...DATE, ...variables } };
        let actual: string | null;
        try {
          actual = template.render(messages, { ...options, addGenerationPrompt });
        } catch (error) {
          if (!(error instanceof UserError)) throw error;
          actual = null;
        }
        if (actual !== wanted) different.push({ messages, actual, wanted });
      }
    }
    const count = expected.texts.length;
    score({
      check: "chat templates",
      subject,
      required: "text equal to apply_chat_template, with and without the generation prompt",
      measured: `${different.length} of ${count * 2} texts of ${count} conversations differ`,
      holds: different.length === 0,
    });
    expect(count).toBeGreaterThanOrEqual(40);
    expect(different.slice(0, 3)).toEqual([]);
  });

  test("ids are equal, and exactly what the assistant says is learned", () => {
    const tokenizer = createTokenizer(
      {
        tokenizer: read(join(folder, "tokenizer.json")),
        tokenizerConfig: read(join(folder, "tokenizer_config.json")),
      },
      name,
    );
    const dated = {
      render: (messages: readonly ChatMessage[], options: Parameters<typeof template.render>[1]) =>
        template.render(messages, { ...options, variables: DATE }),
    };
    const different: unknown[] = [];
    for (const { turns, ids, learned } of expected.masks) {
      const { inputIds, labels } = encodeByChatTemplate(turns, tokenizer, dated, {
        maxLength: 1 << 20,
      });
      const wanted = ids.map((id, i) => (learned[i] === 1 ? id : -100));
      if (inputIds.join() !== ids.join() || labels.join() !== wanted.join()) {
        const words = (list: readonly number[]) =>
          list.map((label) => (label < 0 ? "·" : tokenizer.decode([label]))).join("|");
        different.push({ turns, actual: words([...labels]), wanted: words(wanted) });
      }
    }
    score({
      check: "loss masks",
      subject,
      required:
        "ids equal, and exactly the assistant's tokens learned (return_assistant_tokens_mask)",
      measured: `${different.length} of ${expected.masks.length} conversations differ`,
      holds: different.length === 0,
    });
    expect(expected.masks.length).toBeGreaterThanOrEqual(40);
    expect(different.slice(0, 3)).toEqual([]);
  });
});
