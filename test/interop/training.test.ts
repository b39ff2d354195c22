// QLoRA step by step against PEFT and bitsandbytes: the same first A and B, the same rows in the same order, no
// dropout. Every loss, and the adapter at the end.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { freeModel, loadModel } from "../../src/engine/load-model.ts";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { type AdapterFiles, readAdapterFolder } from "../../src/model/files/adapter-files.ts";
import { type MicroBatch, Stepper } from "../../src/train/step.ts";
import { testGpu } from "../gpu.ts";
import { python, workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";
import { FAMILIES, modelFolder, TITLES } from "./subjects.ts";

const gpu = await testGpu();
const NO_TARGET = 0xffff_ffff;
const DECAY = 0.01;
const CLIP = 1;

interface Case {
  readonly subject: string;
  readonly steps: number;
  /** Tokens of a row, one row a step. */
  readonly length: number;
  readonly rate: number;
}

// SmolLM2's rows are as short as a sentence's beginning: its hundred steps are most of the suite's time.
const CASES: readonly Case[] = [
  { subject: "SmolLM2", steps: 100, length: 16, rate: 2e-4 },
  { subject: "seedling", steps: 100, length: 32, rate: 2e-3 },
  ...FAMILIES.map((subject) => ({ subject, steps: 20, length: 32, rate: 2e-3 })),
];

interface Run {
  readonly rows: readonly { readonly ids: number[]; readonly labels: number[] }[];
  readonly losses: readonly number[];
  readonly norms: readonly number[];
}

const folder = await workDirectory("training");
const folderOf = (subject: string) => join(folder, subject);
const made = new Map<string, string | null>();

beforeAll(async () => {
  const jobs = await Promise.all(
    CASES.map(async ({ subject, steps, length, rate }) => ({
      model: await modelFolder(subject),
      output: folderOf(subject),
      steps,
      length,
      rank: 8,
      alpha: 16,
      targets: "all-linear",
      rates: ratesOf(rate, steps),
      decay: DECAY,
      clip: CLIP,
    })),
  );
  const list = join(folder, "jobs.json");
  writeFileSync(list, JSON.stringify(jobs));
  const results = JSON.parse(await python("training", [list])) as (string | null)[];
  CASES.forEach(({ subject }, index) => made.set(subject, results[index]!));
});

/** Falling in a line to nothing after the last step. */
function ratesOf(rate: number, steps: number): number[] {
  return Array.from({ length: steps }, (_, i) => rate * (1 - i / steps));
}

function microBatchOf({ ids, labels }: Run["rows"][number]): MicroBatch {
  const targets = Uint32Array.from(ids, (_, i) => {
    const next = labels[i + 1] ?? -100;
    return next < 0 ? NO_TARGET : next;
  });
  return {
    ids: Uint32Array.from(ids),
    targets,
    positions: Uint32Array.from(ids, (_, i) => i),
    segmentStart: new Uint32Array(ids.length),
    labelTokens: targets.reduce((count, target) => count + Number(target !== NO_TARGET), 0),
    tokens: ids.length,
  };
}

/** Our run over the same rows: the losses and the adapter at the end. */
async function trainOurs({ subject, steps, length, rate }: Case, run: Run) {
  const opened = await openModelFolder(openFolder(await modelFolder(subject)));
  const start = await readAdapterFolder(openFolder(join(folderOf(subject), "start")), opened);
  const model = await loadModel(gpu, opened, {
    quantization: "nf4",
    doubleQuant: true,
    computeDtype: "f32",
    positions: length,
    targets: start.targets,
    training: true,
  });
  model.adapter!.write(start.matrices);
  const stepper = await Stepper.create(model, {
    tokens: length,
    checkpointing: false,
    dropout: 0,
    seed: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: DECAY,
    maxNorm: CLIP,
    dynamicLossScale: false,
  });
  const losses: number[] = [];
  for (const [step, learningRate] of ratesOf(rate, steps).entries()) {
    const { loss } = await stepper.run([microBatchOf(run.rows[step]!)], step, learningRate);
    losses.push(loss);
  }
  const matrices = await model.adapter!.read();
  stepper.free();
  freeModel(model);
  return { losses, matrices, start, opened };
}

/** Cosine of all numbers of two adapters together, and of the pair of matrices that differ most. */
function cosines(ours: AdapterFiles["matrices"], theirs: AdapterFiles["matrices"]) {
  const total = { dot: 0, ours: 0, theirs: 0 };
  let lowest = 1;
  const cosine = (sums: typeof total) => sums.dot / Math.sqrt(sums.ours * sums.theirs);
  for (const [path, pair] of theirs) {
    for (const part of ["a", "b"] as const) {
      const sums = { dot: 0, ours: 0, theirs: 0 };
      const our = ours.get(path)![part];
      pair[part].forEach((their, i) => {
        sums.dot += their * our[i]!;
        sums.ours += our[i]! ** 2;
        sums.theirs += their ** 2;
      });
      total.dot += sums.dot;
      total.ours += sums.ours;
      total.theirs += sums.theirs;
      lowest = Math.min(lowest, cosine(sums));
    }
  }
  return { all: cosine(total), lowest };
}

function mean(values: readonly number[]): string {
  return (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(2);
}

describe("training", () => {
  test.each(CASES)("$subject, $steps steps", async (item) => {
    const { subject, steps } = item;
    expect(made.get(subject)).toBeNull();
    const text = readFileSync(join(folderOf(subject), "run.json"), "utf8");
    const run = JSON.parse(text) as Run;
    const { losses, matrices, start, opened } = await trainOurs(item, run);
    const end = await readAdapterFolder(openFolder(join(folderOf(subject), "end")), opened);
    const worst = losses.reduce(
      (most, loss, i) => Math.max(most, Math.abs(loss - run.losses[i]!) / run.losses[i]!),
      0,
    );
    const { all, lowest } = cosines(matrices, end.matrices);
    const holds = losses.length === steps && worst <= 0.01 && all >= 0.999;
    score({
      check: `training, ${steps} steps against PEFT and bitsandbytes`,
      subject: TITLES[subject]!,
      required: "every loss within 1 %; cosine of the adapters ≥ 0.999",
      measured: `losses of the first and last quarter ${mean(losses.slice(0, steps / 4))} and ${mean(losses.slice(-steps / 4))}; at most ${short(worst * 100)} % apart; cosine ${all.toFixed(6)}, of the least alike matrix ${lowest.toFixed(6)}`,
      holds,
    });
    expect(losses.length).toBe(steps);
    expect(worst).toBeLessThanOrEqual(0.01);
    expect(all).toBeGreaterThanOrEqual(0.999);
    // Both have moved: from where they began, or where the other did not.
    expect(cosines(start.matrices, end.matrices).lowest).toBeNaN();
  });
});
