// The benchmark: what a training step, a decoded token and every kernel cost on this machine's adapter,
// beside what the adapter can do at its best.
//
// Figures are medians of several runs. People read the table on stderr; --json prints the record on
// stdout, and --save writes it to bench/results/, named for the adapter. `data` measures data instead;
// --help lists the options.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { UserError } from "../src/base/error.ts";
import { memoryLimit } from "../src/engine/runs/run-memory.ts";
import { Tuner, type TuneMode } from "../src/engine/tuning/tune.ts";
import type { Choices } from "../src/gpu/choices.ts";
import { type Gpu, openGpu } from "../src/gpu/device.ts";
import { type AdapterChoice, findAdapter } from "../src/hosts/node-gpu.ts";
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
    const record = await measureAll(options);
    printRecord(record);
    if (options.json) console.log(JSON.stringify(record, null, 2));
    if (options.save) save(record);
  }
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  console.error(error.message);
  process.exit(2);
}
process.exit(0); // Dawn may keep the process alive after its devices are gone

async function measureAll(asked: BenchOptions): Promise<BenchRecord> {
  const { gpu: choice, tokens, steps, tune, checkpointing: setting } = asked;
  const subject = await chosenSubject(asked);
  const { adapter, tried } = await findAdapter(choice);
  const gpu = await openGpu(adapter);
  if (asked.scaling) requireClock(gpu);
  const first = await told("the adapter's peaks", measurePeaks(gpu));
  const tuning = performance.now();
  gpu.choices = await told("kernel variants", tuned(gpu, choice, subject, tokens, tune));
  const tuneSeconds = (performance.now() - tuning) / 1000;
  // Before and after: others may have had the machine for one of the two.
  const peaks = bestOf(first, await measurePeaks(gpu));
  const host = nodeHost({ adapter: choice });
  const room = memoryLimit(gpu, { max_memory: "auto" }, host.freeGpuBytes?.());
  const { architecture } = subject;
  const keptAt = (length: number) => keptBy(setting, gpu, architecture, length, room);
  const checkpointing = await keptAt(tokens);
  gpu.peakBytes = 0; // what was measured until here is no part of a model
  const started = performance.now();
  const { model, loading } = await told("loading", measureLoading(gpu, subject, tokens));
  const options = { tokens, steps, started, checkpointing, peaks };
  const training = await told("training steps", measureTraining(model, options));
  const decode = await told("decoding", measureDecode(model, 32, peaks));
  const { peakBytes: peakGpuBytes, choices } = gpu;
  const scaling = asked.scaling
    ? await told("rows of other lengths", measureScaling(model, steps, keptAt))
    : undefined;
  gpu.close();
  return {
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
    tune,
    choices,
    tuneSeconds,
    peaks,
    loading,
    training,
    scaling,
    decode,
    peakGpuBytes,
    host: await told("the host", measureHost()),
  };
}

/** Says on stderr what is being measured: some of it takes minutes. */
function told<T>(what: string, work: Promise<T>): Promise<T> {
  console.error(`measuring: ${what} …`);
  return work;
}

/** The variants that a run of this model would use. */
function tuned(
  gpu: Gpu,
  choice: AdapterChoice,
  { architecture }: Subject,
  tokens: number,
  mode: TuneMode,
): Promise<Choices> {
  const { hidden, intermediate, heads, kvHeads, headSize } = architecture;
  const act = gpu.hasF16 ? ("f16" as const) : ("f32" as const);
  const sizes = { hidden, intermediate, heads, kvHeads, headSize, rank: 16, tokens, act };
  const tuner = new Tuner(nodeHost({ adapter: choice }), { mode });
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
