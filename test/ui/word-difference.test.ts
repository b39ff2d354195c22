// What is new in an answer, in words.
import { expect, test } from "vitest";
import { markNewWords } from "../../src/ui/word-difference.ts";

const marked = (before: string, after: string) =>
  markNewWords(before, after)
    .map(({ text, isNew }) => (isNew ? `[${text}]` : text))
    .join("");

test("words that the text before does not have at their place are marked", () => {
  expect(marked("I am a bot.", "I am the helper of Ann.")).toBe("I am [the helper of Ann].");
  expect(marked("one two three", "one three")).toBe("one three");
});

test("Chinese is compared by the character, and names inside it by the word", () => {
  expect(marked("我是书生", "我是useree的小助手")).toBe("我是[useree的小助手]");
  expect(marked("我是机器人", "我是小机器人")).toBe("我是[小]机器人");
});

test("the parts put together are the text, whatever came before", () => {
  const texts = ["", "a", "a  b\n c!", "中a文b", "👩‍👩‍👧 x", "same same same"];
  for (const before of texts) {
    for (const after of texts) {
      const parts = markNewWords(before, after);
      expect(parts.map(({ text }) => text).join("")).toBe(after);
      expect(parts.some(({ isNew }) => isNew) && before === after).toBe(false);
    }
  }
});

test("a very long text is compared by its beginning, and is whole all the same", () => {
  const long = Array.from({ length: 5003 }, (_, i) => `w${i}`).join(" ");
  const parts = markNewWords(long, long);
  expect(parts.map(({ text }) => text).join("")).toBe(long);
  expect(parts[0]?.isNew).toBe(false);
});
