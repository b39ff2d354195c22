// Words in and out: command lines as XTuner takes them, and text of others on a terminal.
import { expect, test } from "vitest";
import { readWords } from "../../src/cli/arguments.ts";
import { createVisibleStream, visible } from "../../src/cli/visible.ts";

test.each([
  [
    ["TRAIN", "A_b.yaml", "--work_dir", "W_x"],
    ["train", "A_b.yaml", "--work-dir", "W_x"],
  ],
  [
    ["train", "--work_dir=a_b", "--set", "max_steps=1"],
    ["train", "--work-dir=a_b", "--set", "max_steps=1"],
  ],
  [["Pth_To_Hf"], ["pth_to_hf"]],
  [
    ["--json", "chat", "--", "--a_b"],
    ["--json", "chat", "--", "--a_b"],
  ],
  [["./A/b"], ["./A/b"]],
  [[], []],
])("%j is read as %j", (words, expected) => {
  expect(readWords(words)).toEqual(expected);
});

test.each([
  ["a\tb\nc\r\nd", "a\tb\nc\r\nd"],
  ["\u001b[2J\u001b]0;title\u0007", "␛[2J␛]0;title␇"],
  ["over\rwritten", "over␍written"],
  ["\u009b31m \u007f", "<U+009B>31m ␡"],
  ["abc\u202efdp.exe", "abc<U+202E>fdp.exe"],
  ["你好 👩‍🚀 é", "你好 👩‍🚀 é"],
])("%j is shown as %j", (text, shown) => {
  expect(visible(text)).toBe(shown);
});

test("a carriage return at the end of a piece is judged by the piece after it", () => {
  const show = createVisibleStream();
  expect(["a\r", "\nb\r", "c"].map(show).join("")).toBe("a\r\nb␍c");
});
