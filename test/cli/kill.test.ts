// A run that is killed again and again, at any moment, ends in the very bytes of one that was left alone.
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { writeTinyData, writeTinyModel } from "../engine/tiny-folder.ts";
import { CLI, environment, hone, temporaryFolder } from "./run-cli.ts";

const STEPS = 14;
const KILLS = 5;

test("killed at five random steps and resumed each time: weights, optimizer and losses are equal to the bit", async () => {
  // Another one each time: this number is all that is needed to see a failure again.
  const seed = Number(process.env["HONE_KILL_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  const folder = temporaryFolder();
  writeFileSync(join(folder, "kill.yaml"), configText());
  const train = ["train", "kill.yaml", "--json", "--work-dir"];
  const whole = await hone([...train, "whole"], { folder });
  expect(whole.code, whole.stderr).toBe(0);

  const steps = killSteps(seed);
  const told = `HONE_KILL_SEED=${seed}, killed at steps ${steps.join(", ")}`;
  for (const step of steps) {
    const resume = step === steps[0] ? [] : ["--resume"];
    const end = await killAt(folder, [...train, "broken", ...resume], step);
    expect(end, told).toBe("SIGKILL");
  }
  const last = await hone([...train, "broken", "--resume"], { folder });
  expect(last.code, `${told}\n${last.stderr}`).toBe(0);

  for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
    const [expected, actual] = ["whole", "broken"].map((name) =>
      readFileSync(join(folder, name, `iter_${STEPS}`, file)),
    );
    expect(actual?.equals(expected ?? Buffer.of()), `${file}: ${told}`).toBe(true);
  }
  expect(losses(join(folder, "broken")), told).toEqual(losses(join(folder, "whole")));
}, 240_000); // about 60 s on two cores of its own

function configText(): string {
  const lines = [
    `model: ${JSON.stringify(writeTinyModel())}`,
    `data: ${JSON.stringify(writeTinyData())}`,
    "max_length: 32",
    "accumulative_counts: 2",
    `max_steps: ${STEPS}`,
    "save_steps: 2",
    "lr: 1e-2",
    "lora: {r: 4, lora_dropout: 0.2}",
  ];
  return `${lines.join("\n")}\n`;
}

/**
 * Rising, one of each two from step 3 to 12, so that some kills fall upon the saving of a step and some on a
 * step that is lost. Not earlier: the word of step 2 goes out before its checkpoint, the first, is written.
 */
function killSteps(seed: number): number[] {
  const random = createRandom(seed);
  return Array.from({ length: KILLS }, (_, i) => 3 + 2 * i + Math.floor(2 * random.next()));
}

/** Kills the run as soon as it tells of `step` or of one after it; returns what ended it. */
function killAt(folder: string, args: readonly string[], step: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { cwd: folder, env: environment() });
    let line = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (line + text).split("\n");
      line = lines.pop() ?? "";
      const events = lines.map((json) => JSON.parse(json) as { type: string; step?: number });
      const isThere = events.some((event) => event.type === "step" && (event.step ?? 0) >= step);
      if (isThere) child.kill("SIGKILL");
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(signal ?? `exit ${code}: ${stderr}`));
  });
}

/** Step, loss and gradient of each line, as they were written. */
function losses(workDir: string): string[] {
  return readFileSync(join(workDir, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { step: number; loss: number; gradNorm: number })
    .map(({ step, loss, gradNorm }) => JSON.stringify({ step, loss, gradNorm }));
}
