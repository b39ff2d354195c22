// The benchmark: what a training step, a decoded token and every kernel cost on this machine's adapter,
// beside what the adapter can do at its best.
//
// Figures are medians of several runs. People read the table on stderr; --json prints the record on
// stdout, and --save writes it to bench/results/, named for the adapter. `data` measures data instead;
// --help lists the options.
import { execFileSync } from "node:child_process";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { messageOf, UserError } from "../src/base/error.ts";
import { memoryLimit } from "../src/engine/runs/run-memory.ts";
import { Tuner } from "../src/engine/tuning/tune.ts";
import type { Choices } from "../src/gpu/choices.ts";
import { type Gpu, type GpuOptions, openGpu } from "../src/gpu/device.ts";
import { findAdapter } from "../src/hosts/node-gpu.ts";
import { nodeHost, openFolder } from "../src/hosts/node.ts";
import { describeKeeping } from "../src/model/keeping.ts";
import { measureHost } from "./host.ts";
import { keptBy } from "./keeping.ts";
import { measureDecode, measureLoading, measureTraining } from "./measure.ts";
import { type BenchOptions, readOptions } from "./options.ts";
import { bestOf, measurePeaks } from "./peaks.ts";
import { type Subject, subjectOf } from "./prepare.ts";
import { type BenchRecord, printRecord } from "./report.ts";
import { measureScaling, requireClock } from "./scaling.ts";
import { architectureOf } from "./shapes.ts";

/** Of the clone: this file is built into dist/bench/. */
const root = fileURLToPath(new URL("../../", import.meta.url));

if (process.argv[2] === "data") {
  const { benchData } = await import("./data.ts");
  await benchData(process.argv.slice(3), root);
  process.exit(0);
}
try {
  const options = readOptions(`${root}public/models/seedling`);
  if (options) {
    const record = await measureAll(options, (part) => keep(part, options.record));
    printRecord(record);
    if (options.json) console.log(JSON.stringify(record, null, 2));
    if (record.failed) process.exit(1);
    if (options.save) save(record);
  }
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(error.message);
  process.exit(2);
}
process.exit(0); // Dawn may keep the process alive after its devices are gone

/** `onPart` is given what there is of the record once the steps are measured, and after each part that follows. */
async function measureAll(
  asked: BenchOptions,
  onPart: (record: BenchRecord) => void,
): Promise<BenchRecord> {
  const { gpu: choice, tokens, steps, tune, checkpointing: setting } = asked;
  const subject = await chosenSubject(asked);
  const host = nodeHost({ adapter: choice });
  await host.requestAdapter(); // which is what it tells the free memory of
  const free = host.freeGpuBytes?.();
  const { gpu, tried, peaks, tuneSeconds } = await openTuned(asked, subject);
  const room = memoryLimit(gpu, { max_memory: "auto" }, free);
  const { architecture } = subject;
  const keptAt = (length: number) => keptBy(setting, gpu, architecture, length, room);
  const checkpointing = await keptAt(tokens);
  gpu.peakBytes = 0; // what was measured until here is no part of a model
  const started = performance.now();
  const { model, loading } = await told("loading", measureLoading(gpu, subject, tokens));
  const options = { tokens, steps, started, checkpointing, peaks };
  const training = await told("training steps", measureTraining(model, options));
  let record: BenchRecord = {
    adapter: gpu.name,
    vendor: gpu.info.vendor,
    architecture: gpu.info.architecture,
    tried,
    node: process.version,
    commit: commitOf(),
    date: new Date().toISOString().slice(0, 10),
    model: subject.name,
    tokensPerMicroBatch: tokens,
    checkpointing: setting,
    kept: describeKeeping(checkpointing, architecture.layers),
    tune: asked["no-matrix"] ? `${tune} --no-matrix` : tune,
    choices: gpu.choices,
    tuneSeconds,
    peaks,
    loading,
    training,
    peakGpuBytes: gpu.peakBytes,
  };
  onPart(record);
  /** What was measured before is not lost with a part that fails. */
  const add = async (what: string, measure: () => Promise<Partial<BenchRecord>>) => {
    try {
      record = { ...record, ...(await told(what, measure())) };
    } catch (error) {
      record = { ...record, failed: { ...record.failed, [what]: messageOf(error) } };
    }
    onPart(record);
  };
  await add("decoding", async () => {
    const decode = await measureDecode(model, 32, peaks);
    return { decode, peakGpuBytes: gpu.peakBytes };
  });
  if (asked.scaling) {
    await add("rows of other lengths", async () => ({
      scaling: await measureScaling(model, steps, keptAt),
    }));
  }
  gpu.close();
  await add("the host", async () => ({ host: await measureHost() }));
  return record;
}

/** The GPU with the variants that a run would use, and what it can do at its best. */
async function openTuned(asked: BenchOptions, subject: Subject) {
  const { adapter, tried } = await findAdapter(asked.gpu);
  const gpu = await openGpu(adapter, gpuOptions(asked));
  if (asked.scaling) requireClock(gpu);
  const isCautious = asked.tune === "off";
  const first = await told("the adapter's peaks", measurePeaks(gpu, isCautious));
  const tuning = performance.now();
  gpu.choices = await told("kernel variants", tuned(gpu, asked, subject));
  const tuneSeconds = (performance.now() - tuning) / 1000;
  // Before and after: others may have had the machine for one of the two.
  const peaks = bestOf(first, await measurePeaks(gpu, isCautious));
  return { gpu, tried, peaks, tuneSeconds };
}

function gpuOptions(asked: BenchOptions): GpuOptions {
  return asked["no-matrix"] ? { matrixConfigs: [] } : {};
}

/** Says on stderr what is being measured: some of it takes minutes. */
function told<T>(what: string, work: Promise<T>): Promise<T> {
  console.error(`measuring: ${what} …`);
  return work;
}

/** The variants that a run of this model would use. */
function tuned(gpu: Gpu, asked: BenchOptions, { architecture }: Subject): Promise<Choices> {
  const { hidden, intermediate, heads, kvHeads, headSize } = architecture;
  const act = gpu.hasF16 ? ("f16" as const) : ("f32" as const);
  const { tokens, tune: mode } = asked;
  const sizes = { hidden, intermediate, heads, kvHeads, headSize, rank: 16, tokens, act };
  const tuner = new Tuner(nodeHost({ adapter: asked.gpu }), { mode, gpu: gpuOptions(asked) });
  return tuner.choose(gpu, { sizes, uses: ["training", "generation"] });
}

/** A folder's model, or random weights of a shape. */
function chosenSubject({ model, shape, layers }: BenchOptions): Promise<Subject> | Subject {
  if (shape === undefined) return subjectOf(openFolder(model));
  const name = layers === undefined ? shape : `${shape}, ${layers} layers`;
  return { name, architecture: architectureOf(shape, layers) };
}

function save(record: BenchRecord): void {
  const folder = `${root}bench/results/`;
  mkdirSync(folder, { recursive: true });
  const stem = record.adapter
    .replaceAll(/[^a-zA-Z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
    .toLowerCase();
  // Of the model that the command takes by itself, the adapter's name is enough.
  const suffix =
    record.model === "seedling" ? "" : `-${record.model.replaceAll(/[^a-z0-9.]+/g, "-")}`;
  writeFileSync(`${folder}${stem}${suffix}.json`, `${JSON.stringify(record, null, 2)}\n`);
  console.error(`saved bench/results/${stem}${suffix}.json`);
}

/** Whole or not at all: whoever reads it may have ended this process. */
function keep(record: BenchRecord, file: string | undefined): void {
  if (file === undefined) return;
  writeFileSync(`${file}.part`, JSON.stringify(record));
  renameSync(`${file}.part`, file);
}

function commitOf(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}
