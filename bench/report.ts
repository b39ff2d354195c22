// The benchmark's record, and the table that people read.
import { formatBytes, formatCount } from "../src/base/format.ts";
import type { Choices } from "../src/gpu/choices.ts";
import type { HostFigures } from "./host.ts";
import type { CheckpointingSetting } from "./keeping.ts";
import type { DecodeFigures, KernelFigures, LoadingFigures, TrainingFigures } from "./measure.ts";
import type { Peaks } from "./peaks.ts";
import type { RowFigures, ScalingFigures } from "./scaling.ts";

export interface BenchRecord {
  readonly adapter: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly tried: readonly string[];
  readonly node: string;
  readonly commit: string;
  readonly date: string;
  readonly model: string;
  readonly tokensPerMicroBatch: number;
  /** The setting, and what it kept of the forward pass. */
  readonly checkpointing: CheckpointingSetting;
  readonly kept: string;
  readonly tune: string;
  /** Of kernels that use another variant than the one that runs everywhere. */
  readonly choices: Choices;
  /** What trying them took. */
  readonly tuneSeconds: number;
  readonly peaks: Peaks;
  readonly loading: LoadingFigures;
  readonly training: TrainingFigures;
  readonly peakGpuBytes: number;
  readonly decode?: DecodeFigures | undefined;
  /** Where it was asked for. */
  readonly scaling?: ScalingFigures | undefined;
  readonly host?: HostFigures | undefined;
  /** Parts after the training step that came to nothing, with the reason. */
  readonly failed?: Readonly<Record<string, string>>;
}

/** Prints to stderr: stdout is for the record. */
export function printRecord(record: BenchRecord): void {
  console.error();
  line("adapter", record.adapter);
  line("model", `${record.model}, ${record.tokensPerMicroBatch} tokens a row`);
  printPeaks(record);
  section("loading");
  printLoading(record.loading);
  section("training step");
  line(`kept (--checkpointing ${record.checkpointing})`, record.kept);
  printTraining(record.training);
  printMemory(record.training);
  if (record.scaling) printScaling(record.scaling);
  if (record.decode) printDecode(record.decode);
  if (record.host) printHost(record.host);
  if (record.training.kernels.length > 0) printKernels(record.training);
  for (const [part, reason] of Object.entries(record.failed ?? {})) {
    console.error(`\nFailed: ${part}: ${reason}`);
  }
}

function printHost(host: HostFigures): void {
  section("host, on Dawn's null backend");
  line("model", `${host.model}, ${formatCount(host.dispatches)} dispatches`);
  const { stepMilliseconds, cpuMilliseconds, interrupted } = host;
  const leftOut = `without the ${percent(interrupted)} that others interrupted`;
  line("until a step is submitted", `${milliseconds(stepMilliseconds)}, ${leftOut}`);
  line("of that, processor time", milliseconds(cpuMilliseconds));
  const [wall, cpu] = [host.microsecondsPerDispatch, host.cpuMicrosecondsPerDispatch];
  line("per dispatch", `${wall.toFixed(2)} µs, ${cpu.toFixed(2)} µs of processor time`);
  line("to record and build it", milliseconds(host.buildMilliseconds));
}

function printPeaks({ peaks, choices, tune, tuneSeconds }: BenchRecord): void {
  section("peaks of this adapter");
  line("copy", `${peaks.copyGigabytes.toFixed(1)} GB/s between buffers`);
  line("", `${peaks.shaderGigabytes.toFixed(1)} GB/s by a shader`);
  for (const { act, gflops, size, variant } of peaks.gemm) {
    line(`best product, ${act}`, `${rate(gflops)} at ${formatCount(size)}³, ${variant}`);
  }
  const names = Object.entries(choices);
  const chosen = names.length === 0 ? "none but those that run everywhere" : "";
  line(`variants (--tune ${tune}, ${tuneSeconds.toFixed(1)} s)`, chosen);
  for (const [slot, variant] of names) line(`  ${slot}`, variant);
}

function printLoading({ fileBytes, seconds, peakHostBytes }: LoadingFigures): void {
  if (fileBytes === 0) line("random weights", `made in ${seconds.toFixed(1)} s`);
  else {
    line(
      "files",
      `${formatBytes(fileBytes)} in ${seconds.toFixed(1)} s (${(fileBytes / seconds / 1e9).toFixed(2)} GB/s), ${formatBytes(peakHostBytes)} of it in host memory at most`,
    );
  }
}

function printTraining(training: TrainingFigures): void {
  const { medianStepSeconds, p99StepSeconds, stepSeconds, phases, gapMilliseconds } = training;
  line("tokens/s", `${training.tokensPerSecond.toFixed(1)} (${training.act})`);
  line(
    "step",
    `${milliseconds(medianStepSeconds * 1000)} median of ${stepSeconds.length}, ${milliseconds(p99StepSeconds * 1000)} at the 99th percentile`,
  );
  line("time to first step", `${training.timeToFirstStepSeconds.toFixed(1)} s`);
  const perLayer = Number(training.dispatchesPerLayer.toFixed(1));
  line("dispatches", `${formatCount(training.dispatches)}, ${perLayer} of them in each layer`);
  line("host, until submitted", milliseconds(training.hostSeconds * 1000));
  line("loss of the last", training.loss.toFixed(3));
  for (const [phase, ms] of Object.entries(phases)) {
    line(
      `  ${phase}`,
      `${milliseconds(ms)} (${percent(ms / (medianStepSeconds * 1000))} of the step)`,
    );
  }
  if (gapMilliseconds !== undefined) {
    // Dispatches are timed in a run of their own, which others may have slowed.
    const gap = gapMilliseconds > 0 ? milliseconds(gapMilliseconds) : "none that can be told";
    line("  between dispatches", gap);
  }
  if (training.kernels.length > 0) line("in matmul and lora", percent(training.gemmShare));
}

function printMemory({ memory }: TrainingFigures): void {
  section("GPU memory of training");
  line("weights", formatBytes(memory.weights));
  line("adapter, gradients and moments", formatBytes(memory.adapter));
  line("within a step", formatBytes(memory.activations));
  line("other", formatBytes(memory.other));
  line("peak", `${formatBytes(memory.peak)} (foretold: ${formatBytes(memory.estimatedPeak)})`);
}

const SCALING_WIDTHS = [8, 12, 12, 12, 18, 16, 12];

function printScaling({ clock, rows, spread, memory }: ScalingFigures): void {
  section(`rows of other lengths: µs of ${clock} time for each token, and bytes within a step`);
  const times = ["whole step", "attention", "the rest", "(of rounds)"];
  console.error(row(["tokens", ...times, "memory", "foretold"], SCALING_WIDTHS));
  for (const figures of rows) console.error(row(scalingCells(figures), SCALING_WIDTHS));
  const [least, most] = spread.map(
    (share) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`,
  );
  const isFlat = Math.max(...spread.map(Math.abs)) <= FLAT;
  line(
    "a token but for attention",
    `${least} to ${most} of the median: ${isFlat ? "" : "not "}flat within ${percent(FLAT)}`,
  );
  const { fixedBytes, bytesPerToken, furthest } = memory;
  line(
    "memory",
    `${formatBytes(fixedBytes)} and ${formatBytes(bytesPerToken)} a token; ${percent(furthest)} off that at most`,
  );
  printScalingKernels(rows);
}

/** What the project wants of the time for a token. */
const FLAT = 0.1;

function scalingCells(figures: RowFigures): string[] {
  const { tokens, attention, rest, restOfRounds, measuredBytes, foretoldBytes } = figures;
  const [least, most] = [Math.min(...restOfRounds), Math.max(...restOfRounds)];
  return [
    formatCount(tokens),
    (attention + rest).toFixed(1),
    attention.toFixed(1),
    rest.toFixed(1),
    `(${least.toFixed(1)}–${most.toFixed(1)})`,
    formatBytes(measuredBytes),
    formatBytes(foretoldBytes),
  ];
}

/** The kernels of the rest at each length, those first that take most. */
function printScalingKernels(rows: readonly RowFigures[]): void {
  const last = rows.at(-1)?.kernels ?? {};
  const names = Object.keys(last).toSorted((a, b) => (last[b] ?? 0) - (last[a] ?? 0));
  const widths = [46, ...rows.map(() => 9)];
  section("what the rest is made of: µs for each token, in rows of so many");
  console.error(row(["kernel", ...rows.map(({ tokens }) => formatCount(tokens))], widths));
  for (const name of names) {
    const cells = rows.map(({ kernels }) => (kernels[name] ?? 0).toFixed(2));
    console.error(row([name.slice(0, 45), ...cells], widths));
  }
}

function printDecode({ tokensPerSecond, bytesPerToken, bandwidthBound }: DecodeFigures): void {
  section("decoding");
  line("tokens/s", tokensPerSecond.toFixed(1));
  line(
    "bound by bandwidth",
    `${bandwidthBound.toFixed(1)} tokens/s of ${formatBytes(bytesPerToken)} each: ${percent(tokensPerSecond / bandwidthBound)} reached`,
  );
}

const WIDTHS = [46, 6, 9, 6, 10, 8, 10];

function printKernels({ kernels }: TrainingFigures): void {
  section("kernels of a step");
  const heads = ["kernel", "calls", "ms", "%", "GFLOP/s", "GB/s", "roofline"];
  console.error(row(heads, WIDTHS));
  for (const kernel of kernels) console.error(row(cellsOf(kernel), WIDTHS));
  console.error(
    "roofline: the time that max(operations ÷ best product, bytes ÷ best copy) allows ÷ the time taken;\n" +
      "a: arithmetic is the nearer limit, m: memory. Above 100 %: what was moved lay in a cache, or\n" +
      "others had the machine while its best was measured. Kernels are timed in a run of their own.",
  );
}

function cellsOf(kernel: KernelFigures): string[] {
  return [
    kernel.name.slice(0, 45),
    formatCount(kernel.calls),
    kernel.milliseconds.toFixed(2),
    (100 * kernel.share).toFixed(1),
    kernel.gflops.toFixed(2),
    kernel.gigabytes.toFixed(2),
    `${percent(kernel.roofline)} ${kernel.bound === "arithmetic" ? "a" : "m"}`,
  ];
}

/** The first cell is a name. */
function row(
  [name = "", ...cells]: readonly string[],
  [first = 0, ...widths]: readonly number[],
): string {
  return [name.padEnd(first), ...cells.map((cell, i) => cell.padStart(widths[i] ?? 0))].join("");
}

function section(title: string): void {
  console.error(`\n${title}`);
}

const COLUMNS = 100;
const LABEL_COLUMNS = 34;

/** A label and its value, which goes on below itself at a comma where the line would be too long. */
function line(label: string, value: string): void {
  const most = COLUMNS - LABEL_COLUMNS - 2;
  const comma = value.length > most ? value.lastIndexOf(", ", most) : -1;
  const [now, later] = comma < 0 ? [value] : [value.slice(0, comma + 1), value.slice(comma + 2)];
  console.error(`  ${label.padEnd(LABEL_COLUMNS)}${now}`);
  if (later !== undefined) line("", later);
}

function rate(gflops: number): string {
  return gflops >= 1000 ? `${(gflops / 1000).toFixed(1)} TFLOP/s` : `${gflops.toFixed(2)} GFLOP/s`;
}

function milliseconds(ms: number): string {
  return ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(ms < 10 ? 2 : 0)} ms`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
