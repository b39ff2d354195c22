// Whole runs as a person makes them, on the built-in model and a few rows: train, interrupt, resume, talk,
// measure, export. What the numbers should be is judged elsewhere; here, that every command does its part.
import { spawn } from "node:child_process";
import { cpSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CLI, environment, hone, temporaryFolder } from "./run-cli.ts";

/** A folder with a config and data for steps of 32 tokens. */
function prepareRun(): string {
  const folder = temporaryFolder();
  const rows = Array.from({ length: 7 }, (_, i) => ({
    messages: [
      { role: "user", content: `Say ${i}` },
      { role: "assistant", content: `It is ${i}.` },
    ],
  }));
  writeFileSync(join(folder, "rows.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  writeFileSync(
    join(folder, "tiny.yaml"),
    "model: seedling\ndata: rows.jsonl\nmax_length: 32\naccumulative_counts: 1\nlora: {r: 4}\n",
  );
  return folder;
}

interface Event {
  readonly type: string;
  readonly [field: string]: unknown;
}

function events(stdout: string): Event[] {
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Event);
}

test("a run trains, and its adapter can be talked to, measured, exported and merged", async () => {
  const folder = prepareRun();
  const ok = async (...args: string[]) => {
    const result = await hone(args, { folder, input: "Hello\nEXIT\n" });
    expect(result.stderr).not.toContain("Error:");
    expect(result.code).toBe(0);
    return result.stdout;
  };

  const run = events(await ok("train", "tiny.yaml", "--set", "max_steps=3", "--json"));
  expect(run.filter(({ type }) => type === "step").map(({ step }) => step)).toEqual([1, 2, 3]);
  expect(run.at(-1)).toMatchObject({ type: "summary", endedBy: "finished", step: 3 });
  const workDir = join(folder, "work_dirs", "tiny");
  expect(readFileSync(join(workDir, "config.yaml"), "utf8")).toContain("max_steps: 3");
  expect(readFileSync(join(workDir, "metrics.jsonl"), "utf8").trim().split("\n")).toHaveLength(3);

  // A piped line is one message, and its answer is on stdout.
  const flags = ["--max-new-tokens", "4", "--temperature", "0"];
  const tuned = await ok("chat", "seedling", "--adapter", "work_dirs/tiny", ...flags);
  expect(tuned.trim()).not.toBe("");

  const measured = events(
    await ok("eval", "seedling", "--adapter", "work_dirs/tiny", "--data", "rows.jsonl", "--json"),
  );
  expect(measured.filter(({ type }) => type === "example")).toHaveLength(7);
  expect(measured.at(-1)).toMatchObject({ type: "summary", examples: 7 });

  await ok("convert", "pth_to_hf", "tiny.yaml", "work_dirs/tiny/iter_3", "adapter");
  expect(existsSync(join(folder, "adapter", "adapter_model.safetensors"))).toBe(true);
  await ok("convert", "merge", "seedling", "adapter", "merged");
  expect((await ok("chat", "merged", ...flags)).trim()).not.toBe("");
});

test("Ctrl-C saves and exits with 75; --resume goes on to the end", async () => {
  const folder = prepareRun();
  const long = ["train", "tiny.yaml", "--set", "max_steps=9", "--json"];
  const child = spawn(process.execPath, [CLI, ...long], { cwd: folder, env: environment() });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    if (text.includes('"type":"step"') && !child.killed) child.kill("SIGINT");
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  expect(code).toBe(75);
  const summary = events(stdout).at(-1);
  expect(summary).toMatchObject({ type: "summary", endedBy: "stopped" });
  const stoppedAt = Number(summary?.["step"]);
  expect(stoppedAt).toBeLessThan(9);

  const resumed = await hone([...long, "--resume"], { folder });
  expect(resumed.code).toBe(0);
  const steps = events(resumed.stdout).filter(({ type }) => type === "step");
  expect(steps.map(({ step }) => step)).toEqual(
    Array.from({ length: 9 - stoppedAt }, (_, i) => stoppedAt + 1 + i),
  );
});

/** Runs `hone` and sends one SIGINT at the first line of its output with these words. */
async function interruptAt(words: string, args: readonly string[], folder: string) {
  const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, env: environment() });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    if (stdout.includes(words) && !child.killed) child.kill("SIGINT");
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, stdout, stderr };
}

test("Ctrl-C while it loads exits with 130 where nothing is saved, and with 75 where a run goes on", async () => {
  const folder = prepareRun();
  const args = ["train", "tiny.yaml", "--set", "max_steps=2", "--json"];
  const loading = '"phase":"load"';
  const first = await interruptAt(loading, args, folder);
  expect(first.stderr).toContain("It was stopped before it was done.");
  expect(first.code).toBe(130);
  expect((await hone(args, { folder })).code).toBe(0);

  const resumed = await interruptAt(loading, [...args, "--resume"], folder);
  expect(resumed.stderr).toContain("Go on with: hone train tiny.yaml --work-dir");
  expect(resumed.code).toBe(75);

  // What was trained is what the next run can begin with; a run over it is refused.
  const from = ["--set", "load_from=work_dirs/tiny"];
  const next = await hone([...args, ...from, "--work-dir", "next"], { folder });
  expect(next.stderr).not.toContain("Error:");
  expect(events(next.stdout).at(-1)).toMatchObject({ type: "summary", endedBy: "finished" });
  const other = await hone([...args, ...from, "lora.r=3", "--work-dir", "other"], { folder });
  expect(other.stderr).toMatch(/load_from: the adapter in .+ its rank is \d+, not 3/);
  expect(other.code).toBe(1);
});

test("a model whose file is cut short is refused with the file's name, and no stack", async () => {
  const folder = prepareRun();
  const model = join(import.meta.dirname, "../../public/models/seedling");
  cpSync(model, join(folder, "broken"), { recursive: true });
  const weights = join(folder, "broken", "model.safetensors");
  truncateSync(weights, statSync(weights).size - 3);
  const { code, stderr } = await hone(["chat", "broken"], { folder, input: "Hi\n" });
  expect(stderr).toContain("model.safetensors");
  expect(stderr).not.toContain("    at ");
  expect(code).toBe(1);
});
