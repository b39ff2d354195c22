// Patterns of file names mean what they mean in Python's libraries, and none takes long.
import { expect, test } from "vitest";
import { matchesGlob } from "../../src/base/glob.ts";
import { millisecondsOf } from "../timing.ts";

test.each([
  ["data/train-*.parquet", "data/train-00000-of-00001.parquet", true],
  ["data/train-*.parquet", "data/test-00000-of-00001.parquet", false],
  ["data/train-*.parquet", "data/sub/train-0.parquet", false],
  ["*.jsonl", "a.jsonl", true],
  ["*.jsonl", "sub/a.jsonl", false],
  ["**/*.jsonl", "a.jsonl", true],
  ["**/*.jsonl", "x/y/a.jsonl", true],
  ["**", "a", true],
  ["**", "a/b/c", true],
  ["data/**", "data/x/y.csv", true],
  ["data/**", "data", false],
  ["data/**", "other/data/x", false],
  ["**/train/**", "train/a.txt", true],
  ["**/train/**", "x/train/y/a.txt", true],
  ["**/train/**", "x/trainer/a.txt", false],
  ["**/train[-._ 0-9]*", "train.json", true],
  ["**/train[-._ 0-9]*", "sub/train-2.json", true],
  ["**/train[-._ 0-9]*", "training.json", false],
  ["**/*[-._ 0-9]train[-._ 0-9]*", "my_train.json", true],
  ["**/*[-._ 0-9]train[-._ 0-9]*", "mytrain.json", false],
  ["file?.txt", "file1.txt", true],
  ["file?.txt", "file12.txt", false],
  ["[!a]*.txt", "b.txt", true],
  ["[!a]*.txt", "a.txt", false],
  ["./data/*.csv", "data/a.csv", true],
  ["a[", "a[", true],
  ["*数据*.json", "新数据集.json", true],
  ["", "a", false],
])("%s on %s: %s", (pattern, path, expected) => {
  expect(matchesGlob(path, pattern)).toBe(expected);
});

test("a pattern made to be slow is not", async () => {
  const milliseconds = await millisecondsOf(() => {
    expect(matchesGlob(`${"a".repeat(400)}b`, `${"*a".repeat(100)}*c`)).toBe(false);
    expect(matchesGlob(`${"a/".repeat(200)}b`, `${"**/a/".repeat(60)}c`)).toBe(false);
    expect(matchesGlob("x", "[".repeat(500))).toBe(false);
  });
  // A pattern that goes back to every star would take longer than the universe has been there.
  expect(milliseconds).toBeLessThan(500);
});
