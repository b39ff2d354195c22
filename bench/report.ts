// The benchmark's record, and the table that people read.
import { formatBytes, formatCount } from "../src/base/format.ts";
import type { Choices } from "../src/gpu/choices.ts";
import type { HostFigures } from "./host.ts";
import type { CheckpointingSetting } from "./keeping.ts";
import type {
  DecodeFigures,
  KernelFigures,
  LoadingFigures,
  ScalingFigures,
  TrainingFigures,
} from "./measure.ts";
import type { Peaks } from "./peaks.ts";

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
  readonly scaling: readonly ScalingFigures[];
  readonly decode: DecodeFigures;
  readonly peakGpuBytes: number;
  readonly host: HostFigures;
}

/** Prints to stderr: stdout is for the record. */
export function printRecord(record: BenchRecord): void {
  line("adapter", record.adapter);
  line("model", `${record.model}, ${record.tokensPerMicroBatch} tokens a row`);
  printPeaks(record);
  section("loading");
  printLoading(record.loading);
  section("training step");
  line(`kept (--checkpointing ${record.checkpointing})`, record.kept);
  printTraining(record.training);
  printMemory(record.training);
  if (record.scaling.length > 0) printScaling(record.scaling);
  section("decoding");
  printDecode(record.decode);
  section("host, on Dawn's null backend");
  printHost(record.host);
  if (record.training.kernels.length > 0) printKernels(record.training);
}

function printHost(host: HostFigures): void {
  line("model", `${host.model}, ${formatCount(host.dispatches)} dispatches`);
  line("until a step is submitted", milliseconds(host.stepMilliseconds));
  line("of that, processor time", milliseconds(host.cpuMilliseconds));
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

function printScaling(scaling: readonly ScalingFigures[]): void {
  section("rows of other lengths");
  console.error(row(["tokens", "step", "µs/token", "attention", "within a step"]));
  for (const figures of scaling) {
    const { tokens, stepSeconds, microsecondsPerToken, attentionShare, activationBytes } = figures;
    console.error(
      row([
        formatCount(tokens),
        milliseconds(stepSeconds * 1000),
        microsecondsPerToken.toFixed(1),
        attentionShare === undefined ? "" : percent(attentionShare),
        formatBytes(activationBytes),
      ]),
    );
  }
}

function printDecode({ tokensPerSecond, bytesPerToken, bandwidthBound }: DecodeFigures): void {
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
      "a: arithmetic is the nearer limit, m: memory. Above 100 %: what was moved lay in a cache, or\nothers had the machine while its best was measured. Kernels are timed in a run of their own.",
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

function row(cells: readonly string[], widths = [10, 14, 12, 12, 16]): string {
  return cells
    .map((cell, i) => {
      const width = widths[i] ?? 10;
      return i === 0 && widths === WIDTHS ? cell.padEnd(width) : cell.padStart(width);
    })
    .join("");
}

function section(title: string): void {
  console.error(`\n${title}`);
}

function line(label: string, value: string): void {
  console.error(`  ${label.padEnd(34)}${value}`);
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
