// The benchmark: what a training step, a decoded token and every kernel cost on this machine's adapter.
//
// Figures are medians of several runs. People read the table on stderr; --json prints the record on
// stdout, and --save writes it to bench/results/, named for the adapter. `data` measures data instead.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { formatBytes, formatCount } from "../src/base/format.ts";
import { openGpu } from "../src/gpu/device.ts";
import { ADAPTER_CHOICES, findAdapter } from "../src/hosts/node-gpu.ts";
import { openFolder } from "../src/hosts/node.ts";
import {
  type KernelFigures,
  measureDecode,
  measureHost,
  measureLoading,
  measureTraining,
} from "./measure.ts";
import { prepareModel, type Subject, subjectOf } from "./prepare.ts";
import { architectureOf } from "./shapes.ts";

const started = performance.now();
/** Of the clone: this file is built into dist/bench/. */
const root = fileURLToPath(new URL("../../", import.meta.url));
if (process.argv[2] === "data") {
  const { benchData } = await import("./data.ts");
  await benchData(process.argv.slice(3), root);
  process.exit(0);
}
const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    save: { type: "boolean", default: false },
    gpu: { type: "string", default: process.env["HONE_ADAPTER"] ?? "auto" },
    model: {
      type: "string",
      default: `${root}public/models/seedling`,
    },
    shape: { type: "string" },
    layers: { type: "string" },
    tokens: { type: "string", default: "256" },
    steps: { type: "string", default: "5" },
  },
});
const choice = ADAPTER_CHOICES.find((name) => name === values.gpu);
if (!choice) {
  console.error(`--gpu is ${values.gpu}.\nUse one of: ${ADAPTER_CHOICES.join(", ")}.`);
  process.exit(2);
}

const tokens = Number(values.tokens);
const steps = Number(values.steps);
const subject = await chosenSubject(values);
const { adapter, tried } = await findAdapter(choice);
const gpu = await openGpu(adapter);
const { model: prepared, loading } = await measureLoading(gpu, subject, tokens);
const training = await measureTraining(prepared, { tokens, steps, started });
const decode = await measureDecode(prepared, 32);
const peakGpuBytes = gpu.peakBytes;
gpu.close();

// The null backend computes nothing: what is left is our own cost and Dawn's.
const { adapter: nullAdapter } = await findAdapter("null");
const nullGpu = await openGpu(nullAdapter);
const hostTokens = Math.min(tokens, 256); // which changes no count of dispatches, and fits its memory
const host = await measureHost(await prepareModel(nullGpu, subject, hostTokens), hostTokens);
nullGpu.close();

const record = {
  adapter: gpu.name,
  vendor: gpu.info.vendor,
  architecture: gpu.info.architecture,
  tried,
  node: process.version,
  commit: commitOf(),
  date: new Date().toISOString().slice(0, 10),
  model: subject.name,
  tokensPerMicroBatch: tokens,
  loading,
  training,
  decode,
  peakGpuBytes,
  host,
};
printTable();
if (values.json) console.log(JSON.stringify(record, null, 2));
if (values.save) {
  const folder = fileURLToPath(new URL("../../bench/results/", import.meta.url));
  mkdirSync(folder, { recursive: true });
  const stem = gpu.name
    .replaceAll(/[^a-zA-Z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "")
    .toLowerCase();
  writeFileSync(`${folder}${stem}.json`, `${JSON.stringify(record, null, 2)}\n`);
  console.error(`saved bench/results/${stem}.json`);
}
process.exit(0); // Dawn may keep the process alive after its devices are gone

/** A folder's model, or random weights of a shape. */
function chosenSubject({ model, shape, layers }: typeof values): Promise<Subject> | Subject {
  if (shape === undefined) return subjectOf(openFolder(model));
  const cut = layers === undefined ? undefined : Number(layers);
  const name = cut === undefined ? shape : `${shape}, ${cut} layers`;
  return { name, architecture: architectureOf(shape, cut) };
}

function printTable(): void {
  line("adapter", gpu.name);
  if (loading.fileBytes === 0) line("random weights", `made in ${loading.seconds.toFixed(1)} s`);
  else
    line(
      "loading",
      `${formatBytes(loading.fileBytes)} in ${loading.seconds.toFixed(1)} s, ${formatBytes(loading.peakHostBytes)} of it in host memory at most`,
    );
  line("training", `${training.tokensPerSecond.toFixed(1)} tokens/s (${training.act})`);
  line("time to first step", `${training.timeToFirstStepSeconds.toFixed(1)} s`);
  line("decode", `${decode.tokensPerSecond.toFixed(1)} tokens/s`);
  line("peak GPU memory", formatBytes(peakGpuBytes));
  line("dispatches per layer", String(training.dispatchesPerLayer));
  line("host cost per dispatch (null)", `${host.microsecondsPerDispatch.toFixed(2)} µs`);
  if (training.kernels.length === 0) return;
  line("time in GEMMs", `${(100 * training.gemmShare).toFixed(0)} %`);
  console.error(
    `\n${"kernel".padEnd(34)}${"calls".padStart(6)}${"ms".padStart(9)}${"%".padStart(6)}${"GFLOP/s".padStart(10)}${"GB/s".padStart(8)}`,
  );
  for (const kernel of training.kernels) console.error(rowOf(kernel));
}

function line(label: string, value: string): void {
  console.error(`${label.padEnd(34)}${value}`);
}

function rowOf({ name, calls, milliseconds, share, gflops, gigabytes }: KernelFigures): string {
  return [
    name.slice(0, 33).padEnd(34),
    formatCount(calls).padStart(6),
    milliseconds.toFixed(2).padStart(9),
    (100 * share).toFixed(1).padStart(6),
    gflops.toFixed(2).padStart(10),
    gigabytes.toFixed(2).padStart(8),
  ].join("");
}

function commitOf(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}
