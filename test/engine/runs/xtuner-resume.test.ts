// Under compat a run may end, and be resumed, between the micro-batches of one optimizer step.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine, type TrainEvent } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder } from "../tiny-folder.ts";
import { writeInternlm2, writeTutorialData } from "../tiny-internlm2.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());

const folder = temporaryFolder();
const model = join(folder, "model");
const data = join(folder, "data.json");
const ITERATIONS = 22;
const config = parseConfig(
  {
    compat: "xtuner-0.1.17",
    model,
    data: [data],
    prompt_template: "default",
    max_length: 48,
    accumulative_counts: 8,
    max_steps: ITERATIONS,
    warmup_ratio: 0.1,
    lr: 1e-2,
    lora: { r: 4, lora_dropout: 0.3 },
    save_steps: 5,
    save_total_limit: -1,
    evaluation_inputs: ["你是谁"],
    evaluation_system: "我是模型",
    evaluation_freq: 5,
    evaluation_max_new_tokens: 2,
    seed: 3,
  },
  "the test",
);

async function train(
  workDir: string,
  options: { stopAt?: number; resume?: string; seed?: number },
) {
  const { stopAt, resume, seed = config.seed } = options;
  const abort = new AbortController();
  const events: TrainEvent[] = [];
  const summary = await engine.train({
    config: { ...config, seed },
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(workDir),
    signal: abort.signal,
    onEvent(event) {
      events.push(event);
      if (event.type === "step" && event.step === stopAt) abort.abort();
    },
    ...(resume !== undefined && { resume }),
  });
  return { summary, events };
}

const whole = temporaryFolder();

let told: readonly TrainEvent[];

beforeAll(async () => {
  writeInternlm2(model);
  writeTutorialData(data, 40);
  told = (await train(whole, {})).events;
});

test("questions are asked with their own system message, and drawn by the seed", () => {
  const sequences = told.flatMap((event) => (event.type === "sample" ? [event.sequence] : []));
  expect(sequences.length).toBe(7); // before, at 5, 10, 15, 20 and twice at 22
  for (const sequence of sequences) {
    expect(sequence).toMatch(/^<s><\|System\|>:我是模型\n<\|User\|>:你是谁\n<\|Bot\|>:/);
  }
  expect(sequences[6]).toBe(sequences[5]);
});

test("checkpoints are saved every so many iterations, also inside a group", () => {
  const names = readdirSync(whole).filter((name) => name.startsWith("iter_"));
  expect(names.toSorted()).toEqual([5, 10, 15, 20, 22].map((k) => `iter_${k}.pth`).toSorted());
});

test.each(["iter_5.pth", "iter_10", "iter_15.pth/", "last"])(
  "resumed from %s: equal to the bit",
  async (resume) => {
    const workDir = temporaryFolder();
    await train(workDir, { stopAt: 16 });
    const { events } = await train(workDir, { resume });
    expect(losses(workDir)).toEqual(losses(whole));
    for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
      const at = (path: string) => readFileSync(join(path, `iter_${ITERATIONS}.pth`, file));
      expect(at(workDir).equals(at(whole)), file).toBe(true);
    }
    expect(
      events.some((event) => event.type === "log" && /resumed .+ iter: \d+/.test(event.line)),
    ).toBe(true);
  },
);

test("resumed with another seed, it goes on with the checkpoint's and says so", async () => {
  const workDir = temporaryFolder();
  await train(workDir, { stopAt: 12 });
  const { events } = await train(workDir, { resume: "last", seed: 7 });
  const warning = events.find((event) => event.type === "warning");
  expect(warning).toMatchObject({
    message: expect.stringContaining("checkpoint, 3, and not with 7"),
  });
  expect(losses(workDir)).toEqual(losses(whole));
});

function losses(workDir: string): unknown[] {
  return readFileSync(join(workDir, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string; step: number; loss: number })
    .filter(({ type }) => type === "step")
    .map(({ step, loss }) => [step, loss]);
}
