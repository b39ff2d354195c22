// Adapters that Hone trained: PEFT, the oldest and the newest, loads them without a warning and computes the same.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import { exportAdapter } from "../../src/engine/exports/export.ts";
import { train } from "../../src/engine/runs/train.ts";
import { nodeHost, openDataSource, openFolder } from "../../src/hosts/node.ts";
import { testGpu } from "../gpu.ts";
import { type Comparison, compareLogits, ourLogits } from "./ours.ts";
import { workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";
import { FAMILIES, modelFolder, TITLES } from "./subjects.ts";
import { type LogitsResult, randomSequences, theirLogits } from "./theirs.ts";

const gpu = await testGpu();
const VOCAB = 2304;
const ENVIRONMENTS = { "oldest-peft": "PEFT 0.10.0", current: "PEFT 0.21.2" } as const;
type Environment = keyof typeof ENVIRONMENTS;

interface Case {
  readonly subject: string;
  /** What differs from the defaults, for the scorecard. */
  readonly title: string;
  readonly lora: Readonly<Record<string, unknown>>;
}

const CASES: readonly Case[] = [
  ...[...FAMILIES, "seedling", "SmolLM2"].map((subject) => ({
    subject,
    title: TITLES[subject]!,
    lora: {},
  })),
  {
    subject: "llama2",
    title: `${TITLES["llama2"]}, rsLoRA, some layers and the head`,
    lora: { use_rslora: true, target_modules: ["q_proj", "down_proj", "lm_head"], r: 6 },
  },
];

const sequences = randomSequences(4, 50, VOCAB, 7);
const results = new Map<string, LogitsResult>();
/** What kept an adapter from being made. */
const failures = new Map<string, unknown>();
const folder = await workDirectory("adapter-out");
const folderOf = (index: number) => join(folder, `adapter-${index}`);
const outputOf = (index: number, environment: Environment | "base") =>
  join(folder, `${environment}-${index}`);

beforeAll(async () => {
  const data = join(folder, "data.json");
  const rows = ["The sky is blue.", "Water is wet.", "Snow is white."].map((content) => ({
    messages: [
      { role: "user", content: "Say something true." },
      { role: "assistant", content },
    ],
  }));
  writeFileSync(data, JSON.stringify(rows));
  for (const [index, item] of CASES.entries()) {
    await makeAdapter(item, index, data).catch((error: unknown) =>
      failures.set(String(index), error),
    );
  }
  for (const environment of ["oldest-peft", "current"] as const) {
    const jobs = await Promise.all(
      CASES.map(async ({ subject }, index) => ({
        model: await modelFolder(subject),
        adapter: folderOf(index),
        sequences,
        output: outputOf(index, environment),
      })),
    );
    const all = await theirLogits(folder, jobs, environment);
    CASES.forEach((_, index) => results.set(`${environment} ${index}`, all[index]!));
  }
});

/** Three steps at a rate at which three are enough to be seen. */
async function makeAdapter({ subject, lora }: Case, index: number, data: string): Promise<void> {
  const model = await modelFolder(subject);
  const config = parseConfig(
    {
      model,
      data: [data],
      dataset_format: "openai",
      prompt_template: "default",
      // In f16 the first steps only find the loss scale.
      compute_dtype: "f32",
      max_length: 32,
      batch_size: 1,
      accumulative_counts: 1,
      max_steps: 3,
      lr: subject === "SmolLM2" ? 5e-3 : 2e-2,
      lr_scheduler: "constant",
      warmup_ratio: 0,
      lora: { r: 8, lora_alpha: 16, ...lora },
      evaluation_freq: 0,
    },
    "the test",
  );
  const workDir = openFolder(join(folder, `run-${index}`));
  const summary = await train(gpu, nodeHost({ adapter: "auto" }), {
    config,
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir,
    onEvent: () => {},
  });
  await exportAdapter(workDir.folder(summary.checkpoint), openFolder(folderOf(index)));
}

describe.each(["oldest-peft", "current"] as const)("adapter out, %s", (environment) => {
  test.each(CASES.map((item, index) => ({ ...item, index })))(
    "$title",
    async ({ subject, title, index }) => {
      expect(failures.get(String(index))).toBeUndefined();
      const { error: problem, adapterTensors } = results.get(`${environment} ${index}`)!;
      expect(problem).toBeUndefined();
      const model = await modelFolder(subject);
      const theirs = outputOf(index, environment);
      const adapter = folderOf(index);
      const found = await compareLogits(ourLogits(gpu, model, sequences, { adapter }), theirs);
      const without = await compareLogits(ourLogits(gpu, model, sequences), theirs);
      score({
        check: `adapter out, ${ENVIRONMENTS[environment]}`,
        subject: title,
        required: "loads without warnings; error of logits ≤ 1e-4",
        measured: `${adapterTensors} tensors, no warning; ${short(found.error)}`,
        holds: found.error <= 1e-4,
      });
      expectEqual(found);
      // And the adapter is seen in the logits at all.
      expect(without.error).toBeGreaterThan(1e-2);
    },
  );
});

function expectEqual({ error, positions }: Comparison): void {
  expect(positions).toBe(sequences.flat().length);
  expect(error).toBeLessThanOrEqual(1e-4);
}
