// The commands and code that an export is used with elsewhere.
import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { slugOf, type SnippetParts, snippetsFor } from "../../src/ui/snippets.ts";

const parts: SnippetParts = {
  kind: "adapter",
  name: "Ann's helper",
  base: "internlm/internlm2-chat-1_8b",
  isBaseOnHub: true,
  rank: 24,
  system: "",
  needsRemoteCode: false,
};

const textOf = (title: string, changes: Partial<SnippetParts> = {}) =>
  snippetsFor({ ...parts, ...changes }).find((snippet) => snippet.title === title)?.text ?? "";

test("an adapter is used on its base, a merged model by itself", () => {
  expect(textOf("PEFT")).toContain('PeftModel.from_pretrained(base, "./ann-s-helper-adapter")');
  expect(textOf("PEFT")).toContain('"internlm/internlm2-chat-1_8b"');
  const merged = snippetsFor({ ...parts, kind: "merged" });
  expect(merged.map(({ title }) => title)).toEqual([
    "transformers",
    "vLLM",
    "llama.cpp, Ollama",
    "Hone",
  ]);
  expect(merged.some(({ text }) => text.includes("internlm2-chat-1_8b"))).toBe(false);
});

test("vLLM is told the next rank that it knows", () => {
  expect(textOf("vLLM")).toContain("--max-lora-rank 32 ");
  expect(textOf("vLLM", { rank: 64 })).toContain("--max-lora-rank 64 ");
});

test("a base that is not on the hub is a folder beside; the one that comes with Hone has its name", () => {
  expect(textOf("Hone", { base: "my model", isBaseOnHub: false })).toContain(
    "npx hone chat './my model' --adapter ./ann-s-helper-adapter",
  );
  expect(textOf("Hone", { base: "seedling", isBaseOnHub: false })).toContain("chat seedling ");
});

test("code of the model's own is run only where it has to be", () => {
  expect(textOf("PEFT")).not.toContain("trust_remote_code");
  expect(textOf("PEFT", { needsRemoteCode: true }).match(/trust_remote_code=True/g)).toHaveLength(
    2,
  );
});

describe("hostile names", () => {
  const hostile = [
    "'; touch /tmp/pwned; '",
    '"); import os; ("',
    "$(id)`id`\n\\",
    "-rf / #",
    '\u202Eabc\'"""',
  ];

  test.each(hostile)("%j stays one word for a shell", (base) => {
    const command = textOf("Hone", { base, isBaseOnHub: false }).split(" --adapter")[0] ?? "";
    const word = command.replace("npx hone chat ", "");
    const seen = execFileSync("sh", ["-c", `printf %s ${word}`], { encoding: "utf8" });
    expect(seen).toBe(`./${base}`);
  });

  test.each(hostile)("%j stays one string for Python", (system) => {
    const line = textOf("PEFT", { system })
      .split("\n")
      .find((candidate) => candidate.includes('"role": "system"'));
    const literal = /"content": (.*)\},$/.exec(line ?? "")?.[1] ?? "";
    expect(JSON.parse(literal)).toBe(system);
  });

  test.each(hostile)("%j cannot end the Modelfile's text, nor the shell's", (system) => {
    const text = textOf("llama.cpp, Ollama", { kind: "merged", system });
    const file = /<<'END_OF_MODELFILE'\n([^]*?)\nEND_OF_MODELFILE/.exec(text)?.[1] ?? "";
    expect(file.split("\n")).toHaveLength(2);
    expect(file.match(/"""/g)).toHaveLength(2);
  });

  test.each([...hostile, "模型", ""])("%j has a plain name for files and servers", (name) => {
    expect(slugOf(name)).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
  });
});
