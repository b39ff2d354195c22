// Answers stay the tokens that were drawn: the next prompt holds them, not what their text would be encoded to.
import { beforeAll, describe, expect, test } from "vitest";
import { encodePrompt } from "../../../src/data/prompt.ts";
import type { Message } from "../../../src/engine.ts";
import { History } from "../../../src/engine/answers/history.ts";
import {
  chooseTemplate,
  type ModelFolder,
  openModelFolder,
} from "../../../src/engine/model-folder.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { writeTinyModel } from "../tiny-folder.ts";

let opened: ModelFolder;
beforeAll(async () => {
  opened = await openModelFolder(openFolder(writeTinyModel()));
});

const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });
const ASKED = [{ role: "system", content: "Be kind." } as const, user("Who are you?")];
const TEXT = "Hello there, friend of mine.";

/** Ids that say the same and are not those of the text. */
function spelledOut(text: string): number[] {
  const { tokenizer } = opened;
  const ids = Array.from(text, (letter) => tokenizer.encode(letter)).flat();
  expect(tokenizer.decode(ids)).toBe(text);
  expect(ids.length).toBeGreaterThan(tokenizer.encode(text).length);
  return ids;
}

describe.each(["default", "internlm2_chat", "chatglm2", "auto"])("with the template %s", (name) => {
  const start = () => {
    const chosen = chooseTemplate(name, opened);
    const encode = (messages: readonly Message[]) =>
      encodePrompt(
        messages.map((message) => ({ ...message })),
        opened.tokenizer,
        chosen.template,
      );
    return { history: new History(opened, chosen), encode };
  };

  test("two answers are kept as they were drawn, between the same tokens as their texts would be", () => {
    const { history, encode } = start();
    const { tokenizer } = opened;
    const answer = spelledOut(TEXT);
    const first = history.encode(ASKED);
    expect(first).toEqual(encode(ASKED));
    history.keep({ messages: ASKED, prompt: first, answer, text: TEXT });

    const two = [...ASKED, assistant(TEXT), user("And then?")];
    const second = history.encode(two);
    expect(second.slice(0, first.length + answer.length)).toEqual([...first, ...answer]);
    expect(second).toHaveLength(encode(two).length + answer.length - tokenizer.encode(TEXT).length);
    expect(tokenizer.decode(second)).toBe(tokenizer.decode(encode(two)));
    history.keep({ messages: two, prompt: second, answer, text: TEXT });

    const three = [...two, assistant(TEXT), user("Why?")];
    const third = history.encode(three);
    expect(third.slice(0, second.length + answer.length)).toEqual([...second, ...answer]);
    expect(tokenizer.decode(third)).toBe(tokenizer.decode(encode(three)));
  });

  test("an answer drawn as its text is encoded changes nothing", () => {
    const { history, encode } = start();
    const prompt = history.encode(ASKED);
    history.keep({ messages: ASKED, prompt, answer: opened.tokenizer.encode(TEXT), text: TEXT });
    const next = [...ASKED, assistant(TEXT), user("And then?")];
    expect(history.encode(next)).toEqual(encode(next));
  });

  test("another conversation, or an answer cut at a stop word, is encoded from its text", () => {
    const { history, encode } = start();
    const prompt = history.encode(ASKED);
    const answer = spelledOut(TEXT);
    history.keep({ messages: ASKED, prompt, answer, text: TEXT });
    for (const other of [
      [user("Who are you?"), assistant(TEXT), user("And then?")],
      [...ASKED, assistant("Something else."), user("And then?")],
      [...ASKED, assistant(TEXT), user("And then?"), assistant("x"), user("y")],
    ]) {
      expect(history.encode(other)).toEqual(encode(other));
    }
    history.keep({ messages: ASKED, prompt, answer, text: "Hello there" });
    const cut = [...ASKED, assistant("Hello there"), user("And then?")];
    expect(history.encode(cut)).toEqual(encode(cut));
  });
});
