// The tutorial, done as it says: its blocks are run in an empty folder, and must print what stands below them.
//
// A block marked sh is run, with the command line on the path. One marked js or yaml whose first line names a file
// becomes that file. One marked text is what the block before it prints: those lines in that order, others may
// stand between; "…" is any text, and a decimal number any other. Blocks with another mark need a download.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { demoDataset } from "../../src/cli/demo-data.ts";
import { CLI, environment, temporaryFolder } from "./run-cli.ts";

const DOCS = join(import.meta.dirname, "../../docs");
const LANGUAGES = ["tutorial.md", "tutorial.zh.md"].map((name) => [name, read(name)] as const);

interface Block {
  readonly mark: string;
  readonly text: string;
}

function read(name: string): string {
  return readFileSync(join(DOCS, name), "utf8");
}

function blocksOf(tutorial: string): Block[] {
  return [...tutorial.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, mark = "", text = ""]) => ({
    mark,
    text,
  }));
}

test("the blocks of both languages are the same, so that running one is running both", () => {
  const [english, chinese] = LANGUAGES.map(([, text]) => blocksOf(text));
  expect(english!.filter(({ mark }) => mark === "sh").length).toBeGreaterThan(10);
  expect(chinese).toEqual(english);
});

test.each(LANGUAGES)("every file and heading that %s points to is there", (_, text) => {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} -]/gu, "")
      .replaceAll(" ", "-"),
  );
  const isThere = (target: string) => {
    const [file = "", heading = ""] = target.split("#");
    return file === ""
      ? headings.includes(decodeURIComponent(heading))
      : existsSync(join(DOCS, file));
  };
  const targets = Array.from(
    text.matchAll(/\]\((?!https?:)([^)]+)\)/g),
    ([, target = ""]) => target,
  );
  expect(targets.length).toBeGreaterThan(10);
  expect(targets.filter((target) => !isThere(target))).toEqual([]);
});

test("run from top to bottom, it does and prints what it says", async () => {
  const folder = temporaryFolder();
  const bin = temporaryFolder();
  writeFileSync(join(bin, "hone"), `#!/bin/sh\nexec "${process.execPath}" "${CLI}" "$@"\n`, {
    mode: 0o755,
  });
  const env = { ...environment(), PATH: `${bin}${delimiter}${process.env["PATH"]}` };
  const printed = new Map<string, string>();
  let last = "";
  for (const { mark, text } of blocksOf(LANGUAGES[0]![1])) {
    const [, file] = /^(?:\/\/|#) (\S+\/\S+\.\w+)\n/.exec(text) ?? [];
    if (mark === "sh") printed.set(text, (last = await run(text, folder, env)));
    else if (mark === "text") expectLines(last, text);
    else if (file !== undefined) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), text);
    }
  }

  // The base says nothing of what the data says, and the data is to the byte that of XTuner's script.
  const base = [...printed].find(([text]) => text.includes("| hone chat seedling --temperature"));
  expect(base?.[1]).not.toContain("useree");
  expect(readFileSync(join(folder, "ft/data/xtuner.json"), "utf8")).toBe(demoDataset());
});

/** All that the commands print, in its order. */
function run(commands: string, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const script = `exec 2>&1\n${commands}`;
    execFile("sh", ["-e", "-c", script], { cwd, env, maxBuffer: 64e6 }, (error, stdout) => {
      if (error) reject(new Error(`${commands}\n${stdout}`, { cause: error }));
      else resolve(stdout);
    });
  });
}

/** Finds the lines in what was printed, each after the one before. */
function expectLines(printed: string, expected: string): void {
  const lines = printed.split("\n");
  let from = 0;
  for (const wanted of expected.trimEnd().split("\n")) {
    const pattern = wanted
      .split("…")
      .map((part) => escape(part).replaceAll(/\d+\\\.\d+/g, String.raw`[\d.]+`))
      .join(".*");
    const at = lines.findIndex((line, i) => i >= from && new RegExp(`^${pattern}$`).test(line));
    expect(at, `"${wanted}" is not in, or not in its order:\n${printed}`).toBeGreaterThanOrEqual(0);
    from = at + 1;
  }
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}
