// What people paste to name a model, and what is refused as leading elsewhere.
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { formatHubReference, parseHubReference } from "../../src/hosts/hub-reference.ts";

describe("what names a model", () => {
  const HUB = "https://huggingface.co";
  const parse = (text: string, hubUrl = HUB) => formatHubReference(parseHubReference(text, hubUrl));
  const SHA = "0123456789abcdef0123456789abcdef01234567";

  test.each([
    ["org/name", "org/name@main"],
    ["  org/name/ ", "org/name@main"],
    ['"org/name"', "org/name@main"],
    ["gpt2", "gpt2@main"],
    ["org/name@v1.0", "org/name@v1.0"],
    [`org/name@${SHA}`, `org/name@${SHA}`],
    ["org/name@refs%2Fpr%2F3", "org/name@refs%2Fpr%2F3"],
    ["org/na.me-2_x/sub/dir", "org/na.me-2_x@main/sub/dir"],
    ["org/name@dev/q4.gguf", "org/name@dev/q4.gguf"],
    ["hf://org/name", "org/name@main"],
    ["hf://org/name@rev/file.gguf", "org/name@rev/file.gguf"],
    ["hf://models/org/name", "org/name@main"],
    ["https://huggingface.co/org/name", "org/name@main"],
    ["https://huggingface.co/org/name/", "org/name@main"],
    ["http://huggingface.co/org/name", "org/name@main"],
    ["https://www.huggingface.co/org/name", "org/name@main"],
    ["huggingface.co/org/name", "org/name@main"],
    ["https://hf.co/org/name", "org/name@main"],
    ["hf.co/org/name", "org/name@main"],
    ["https://huggingface.co/gpt2", "gpt2@main"],
    ["https://huggingface.co/gpt2/tree/main", "gpt2@main"],
    ["https://huggingface.co/org/name/tree/main", "org/name@main"],
    ["https://huggingface.co/org/name/tree/dev/sub", "org/name@dev/sub"],
    ["https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "org/name@refs%2Fpr%2F1"],
    ["https://huggingface.co/org/name/tree/refs/pr/1/sub", "org/name@refs%2Fpr%2F1/sub"],
    ["https://huggingface.co/org/name/blob/main/q4.gguf", "org/name@main/q4.gguf"],
    [
      "https://huggingface.co/org/name/resolve/main/a%20b.gguf?download=true",
      "org/name@main/a b.gguf",
    ],
    ["https://huggingface.co/org/name/raw/main/config.json", "org/name@main/config.json"],
    [`https://huggingface.co/org/name/commit/${SHA}`, `org/name@${SHA}`],
    ["https://huggingface.co/org/name/discussions/5", "org/name@main"],
    ["https://huggingface.co/org/name?show_file_info=q4.gguf", "org/name@main/q4.gguf"],
    ["https://huggingface.co/org/name#usage", "org/name@main"],
    ["https://huggingface.co/api/models/org/name", "org/name@main"],
  ])("%s is %s", (text, reference) => {
    expect(parse(text)).toBe(reference);
    expect(parse(reference), "the full form means the same").toBe(reference);
  });

  test.each([
    ["org/name", "org/name@main"],
    ["datasets/org/name", "org/name@main"],
    ["org/name@v2/data/train.jsonl", "org/name@v2/data/train.jsonl"],
    ["org/name/sub/x.parquet", "org/name@main/sub/x.parquet"],
    ["hf://datasets/org/name@dev/x.csv", "org/name@dev/x.csv"],
    ["https://huggingface.co/datasets/org/name", "org/name@main"],
    ["huggingface.co/datasets/org/name/tree/main/data", "org/name@main/data"],
    ["https://hf.co/datasets/org/name/blob/main/a%20b.jsonl", "org/name@main/a b.jsonl"],
    [
      "https://huggingface.co/datasets/squad/resolve/main/x.json?download=true",
      "squad@main/x.json",
    ],
    [
      "https://huggingface.co/datasets/org/name/tree/refs%2Fconvert%2Fparquet/default",
      "org/name@refs%2Fconvert%2Fparquet/default",
    ],
    ["https://huggingface.co/datasets/org/name/viewer", "org/name@main"],
    ["https://huggingface.co/datasets/org/name/viewer/default/test", "org/name@main"],
    ["https://huggingface.co/datasets/org/name/viewer/zh/train?row=3", "org/name@main/zh"],
    ["https://huggingface.co/api/datasets/org/name", "org/name@main"],
  ])("%s is the data set %s", (text, reference) => {
    const found = parseHubReference(text, HUB, "dataset");
    expect(found.kind).toBe("dataset");
    expect(formatHubReference(found)).toBe(reference);
  });

  test("a link to a data set's viewer names the part that it shows", () => {
    const link = "https://huggingface.co/datasets/org/name/viewer/default/test";
    expect(parseHubReference(link, HUB, "dataset").split).toBe("test");
  });

  test.each([
    ["https://huggingface.co/org/name", "is a model, not a data set"],
    ["models/org/name", "is a model, not a data set"],
    ["https://huggingface.co/spaces/org/name", "is an app (a Space), not a data set"],
    ["", "No data set was named"],
    ["https://example.com/datasets/org/name", "leads to example.com"],
    ["../data.jsonl", "names no data set"],
    ["org/name/../../x", "is no file or folder"],
  ])("%j is refused as a data set: %s", (text, words) => {
    expect(() => parseHubReference(text, HUB, "dataset")).toThrow(words);
  });

  test("a mirror is the hub, and the hub's own addresses lead to the mirror", () => {
    expect(parse("https://mirror.test:8443/org/name/tree/x", "https://mirror.test:8443")).toBe(
      "org/name@x",
    );
    expect(parse("https://huggingface.co/org/name", "https://mirror.test:8443")).toBe(
      "org/name@main",
    );
  });

  test.each([
    ["", "No model was named"],
    [
      "https://example.com/org/name",
      "leads to example.com. Hone asks no server but huggingface.co",
    ],
    ["https://huggingface.co.evil.test/org/name", "leads to huggingface.co.evil.test"],
    ["https://huggingface.co@evil.test/org/name", "leads to evil.test"],
    ["https://mirror.test/org/name", "leads to mirror.test"],
    ["https://huggingface.co/datasets/org/name", "is a data set, not a model"],
    ["datasets/org/name", "is a data set, not a model"],
    ["hf://datasets/org/name", "is a data set, not a model"],
    ["https://huggingface.co/spaces/org/name", "is an app (a Space), not a model"],
    ["https://huggingface.co/papers/2106.09685", "is one of the hub's papers, not a model"],
    ["https://huggingface.co/", "names no model"],
    ["javascript:alert(1)", "begins with javascript:"],
    ["file:///etc/passwd", "begins with file:"],
    ["ftp://huggingface.co/org/name", "begins with ftp:"],
    ["../../etc/passwd", "names no model"],
    ["org/../name", "names no model"],
    ["org/name/../../x", "is no file or folder"],
    ["https://huggingface.co/org/name/blob/main/..%2F..%2Fx", "is no file or folder"],
    ["org/name@../x", "is no branch"],
    ["org/name@a b", "is no branch"],
    ["org/na me", "names no model"],
    ["org--x/name", "names no model"],
    ["org/name/a\0b", "is no file or folder"],
    ["https://huggingface.co/org/%E0%A4%A", "stands for nothing"],
    [`${"a".repeat(200)}/b`, "names no model"],
    ["<img src=x onerror=alert(1)>", "names no model"],
  ])("%j is refused: %s", (text, words) => {
    expect(() => parse(text)).toThrow(UserError);
    expect(() => parse(text)).toThrow(words);
  });
});
