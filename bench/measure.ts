// Measurements on a prepared model. Each is a median of several runs, since timings are noisy.
import { invariant } from "../src/base/error.ts";
import { type Gpu, TooLargeError } from "../src/gpu/device.ts";
import type { DispatchTiming } from "../src/gpu/program.ts";
import { openModelFiles } from "../src/model/files/checkpoint-files.ts";
import { Generator } from "../src/model/generate.ts";
import type { Checkpointing } from "../src/model/keeping.ts";
import type { Model } from "../src/model/transformer.ts";
import type { MicroBatch, Stepper } from "../src/train/step.ts";
import { countMemory, dispatchesOutsideLayers } from "./keeping.ts";
import type { Peaks } from "./peaks.ts";
import { createStepper, prepareModel, randomBatch, type Subject } from "./prepare.ts";
import { median, percentile99 } from "./statistics.ts";

export interface KernelFigures {
  /** Shader and entry point; variants are added up. */
  readonly name: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Of the whole step. */
  readonly share: number;
  readonly gflops: number;
  readonly gigabytes: number;
  /** Time that the adapter's peaks allow for the same work ÷ time taken: see rooflineOf. */
  readonly roofline: number;
  /** Which of the two peaks is the nearer one. */
  readonly bound: "arithmetic" | "memory";
}

export interface TrainingFigures {
  readonly act: "f32" | "f16";
  readonly tokensPerSecond: number;
  readonly timeToFirstStepSeconds: number;
  /** Forward, recomputed and backward, of a micro-batch; without embedding, final norm, head and loss. */
  readonly dispatchesPerLayer: number;
  /** Of a micro-batch; the optimizer's are not among them. */
  readonly dispatches: number;
  readonly stepSeconds: readonly number[];
  readonly medianStepSeconds: number;
  readonly p99StepSeconds: number;
  /** Of the host until everything of a step is submitted, median. */
  readonly hostSeconds: number;
  /** Of the last step: ln(vocabulary) and little else, where weights and tokens are random. */
  readonly loss: number;
  /** GPU time by part of the step, in milliseconds; empty without timestamps. */
  readonly phases: Readonly<Record<string, number>>;
  /** The median step less the time of its dispatches: waits between them, submits, the read-back. */
  readonly gapMilliseconds: number | undefined;
  readonly gemmShare: number;
  readonly kernels: readonly KernelFigures[];
  readonly memory: TrainingMemory;
}

/** Bytes on the GPU. */
export interface TrainingMemory {
  readonly weights: number;
  /** Parameters, gradients and moments. */
  readonly adapter: number;
  /** What lives only within a step. */
  readonly activations: number;
  readonly other: number;
  readonly peak: number;
  /** The peak as it was foretold by a GPU that only counts. */
  readonly estimatedPeak: number;
}

export interface LoadingFigures {
  /** 0 where the weights are random. */
  readonly fileBytes: number;
  readonly seconds: number;
  /** The most bytes of the file that the host held at one time, over what it held before. */
  readonly peakHostBytes: number;
}

/** Loads and quantizes a model, watching the buffers on the host; the GPU's own memory is not counted. */
export async function measureLoading(
  gpu: Gpu,
  subject: Subject,
  tokens: number,
): Promise<{ model: Model; loading: LoadingFigures }> {
  const before = heldBytes();
  const begun = performance.now();
  let peak = before;
  const model = await prepareModel(gpu, subject, tokens, () => {
    peak = Math.max(peak, heldBytes());
  });
  const seconds = (performance.now() - begun) / 1000;
  const fileBytes = subject.folder ? (await openModelFiles(subject.folder)).totalBytes : 0;
  return { model, loading: { fileBytes, seconds, peakHostBytes: peak - before } };
}

function heldBytes(): number {
  return process.memoryUsage().arrayBuffers;
}

export interface TrainingOptions {
  readonly tokens: number;
  readonly steps: number;
  readonly started: number;
  readonly checkpointing: Checkpointing;
  readonly peaks: Peaks;
}

export async function measureTraining(
  model: Model,
  options: TrainingOptions,
): Promise<TrainingFigures> {
  const { gpu, architecture, act } = model;
  const { tokens, started, checkpointing, peaks } = options;
  const stepper = await createStepper(model, tokens, checkpointing);
  const batch = randomBatch(architecture.vocab, tokens);
  await stepper.run([batch], 0, 1e-4);
  const timeToFirstStepSeconds = (performance.now() - started) / 1000;
  const { stepSeconds, hostSeconds, loss } = await timeSteps(stepper, batch, options.steps);
  const timings = gpu.hasTimestamps ? await profileStep(stepper) : [];
  const kernels = figuresOf(timings, peaks, act);
  const { dispatchCount } = stepper.trainProgram;
  const outside = await dispatchesOutsideLayers(gpu, architecture, tokens);
  const memory = await memoryOf(model, tokens, checkpointing);
  stepper.free();
  const phases = sumBy(timings, ({ phase }) => phase);
  const medianStepSeconds = median(stepSeconds);
  const busy = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
  return {
    act,
    tokensPerSecond: tokens / medianStepSeconds,
    timeToFirstStepSeconds,
    dispatchesPerLayer: (dispatchCount - outside) / architecture.layers,
    dispatches: dispatchCount,
    stepSeconds,
    medianStepSeconds,
    p99StepSeconds: percentile99(stepSeconds),
    hostSeconds,
    loss,
    phases,
    gapMilliseconds: timings.length > 0 ? medianStepSeconds * 1000 - busy : undefined,
    gemmShare: kernels
      .filter(({ name }) => /^(matmul|lora)/.test(name))
      .reduce((sum, { share }) => sum + share, 0),
    kernels,
    memory,
  };
}

/** Steps one after the other, each waited for, after one that is not counted. */
async function timeSteps(stepper: Stepper, batch: MicroBatch, steps: number) {
  const stepSeconds: number[] = [];
  const host: number[] = [];
  let loss = Number.NaN;
  for (let step = 1; step <= steps; step++) {
    const begun = performance.now();
    const outcome = stepper.run([batch], step, 1e-4);
    host.push((performance.now() - begun) / 1000);
    ({ loss } = await outcome);
    stepSeconds.push((performance.now() - begun) / 1000);
    stepper.learnSpeed(stepSeconds.at(-1) ?? 0, 1);
  }
  // Nonsense may be fast.
  invariant(Number.isFinite(loss), () => `the loss of step ${steps} is ${loss}`);
  return { stepSeconds, hostSeconds: median(host), loss };
}

async function profileStep({ trainProgram, optimizerProgram }: Stepper): Promise<DispatchTiming[]> {
  const optimizer = await optimizerProgram.profile();
  return [
    ...(await trainProgram.profile()),
    ...optimizer.map((timing) => ({ ...timing, phase: "optimizer" })),
  ];
}

/** Shader and entry point, whatever the variant. */
export function kernelOf(name: string): string {
  return name.split(" ")[0] ?? name;
}

function sumBy(
  timings: readonly DispatchTiming[],
  keyOf: (timing: DispatchTiming) => string,
): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const timing of timings) {
    const key = keyOf(timing);
    sums[key] = (sums[key] ?? 0) + timing.milliseconds;
  }
  return sums;
}

async function memoryOf(
  model: Model,
  tokens: number,
  checkpointing: Checkpointing,
): Promise<TrainingMemory> {
  const { gpu, architecture, weights, adapter, workspace } = model;
  const weightBytes = weights.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const adapterBytes = (adapter?.banks ?? [])
    .flatMap(({ parameters, training }) => [
      parameters,
      ...(training ? [training.gradients, training.m, training.v] : []),
    ])
    .reduce((sum, { bytes }) => sum + bytes, 0);
  const activations = workspace.bytes;
  const counted = await countMemory(gpu, architecture, tokens, checkpointing);
  if (counted instanceof TooLargeError) throw counted; // it was not: the step has run
  return {
    weights: weightBytes,
    adapter: adapterBytes,
    activations,
    other: gpu.allocatedBytes - weightBytes - adapterBytes - activations,
    peak: gpu.peakBytes,
    estimatedPeak: counted.total,
  };
}

export interface DecodeFigures {
  readonly tokensPerSecond: number;
  /** What must be read for each token: all weights, and the adapter. */
  readonly bytesPerToken: number;
  /** Tokens a second if reading those were all there is to it. */
  readonly bandwidthBound: number;
}

export async function measureDecode(
  model: Model,
  tokens: number,
  peaks: Peaks,
): Promise<DecodeFigures> {
  const generator = await Generator.create(model, 256);
  const options = {
    maxNewTokens: tokens,
    temperature: 0,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    seed: 1,
    endIds: [],
  };
  await generator.generate([1, 2, 3], options);
  const seconds: number[] = [];
  for (let run = 0; run < 3; run++) {
    generator.reset();
    const begun = performance.now();
    await generator.generate([1, 2, 3], options);
    seconds.push((performance.now() - begun) / 1000);
  }
  generator.free();
  const bytesPerToken = decodedBytes(model);
  return {
    tokensPerSecond: tokens / median(seconds),
    bytesPerToken,
    bandwidthBound: (peaks.gigabytes * 1e9) / bytesPerToken,
  };
}

/** Rope tables and, where it is not the head too, the embedding are read in single rows. */
function decodedBytes({ weights, adapter }: Model): number {
  const few = new Set(weights.ropeTables);
  const isTied = weights.head === weights.embedding;
  if (!isTied) for (const { tensor } of weights.embedding) few.add(tensor);
  const read = weights.tensors.filter((tensor) => !few.has(tensor));
  const parameters = (adapter?.banks ?? []).map((bank) => bank.parameters);
  return [...read, ...parameters].reduce((sum, { bytes }) => sum + bytes, 0);
}

function figuresOf(
  timings: readonly DispatchTiming[],
  peaks: Peaks,
  act: "f32" | "f16",
): KernelFigures[] {
  const groups = new Map<string, DispatchTiming[]>();
  for (const timing of timings) {
    const key = kernelOf(timing.name);
    groups.set(key, [...(groups.get(key) ?? []), timing]);
  }
  const total = timings.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return [...groups]
    .map(([name, calls]) => {
      const sum = (of: (timing: DispatchTiming) => number) =>
        calls.reduce((all, timing) => all + of(timing), 0);
      const ms = sum(({ milliseconds }) => milliseconds);
      const limits = calls.map((timing) => allowedMilliseconds(timing, peaks, act));
      const arithmetic = limits.reduce((all, limit) => all + limit.arithmetic, 0);
      const memory = limits.reduce((all, limit) => all + limit.memory, 0);
      const allowed = limits.reduce(
        (all, limit) => all + Math.max(limit.arithmetic, limit.memory),
        0,
      );
      return {
        name,
        calls: calls.length,
        milliseconds: ms,
        share: ms / total,
        gflops: sum(({ flops }) => flops) / ms / 1e6,
        gigabytes: sum(({ bytes }) => bytes) / ms / 1e6,
        roofline: allowed / ms,
        bound: arithmetic > memory ? ("arithmetic" as const) : ("memory" as const),
      };
    })
    .toSorted((a, b) => b.milliseconds - a.milliseconds);
}

/**
 * The roofline: a dispatch of F operations that must move B bytes takes no less than
 * max(F ÷ best product, B ÷ best copy), both as measured on this adapter.
 */
function allowedMilliseconds(
  { flops, bytes }: DispatchTiming,
  { gemm, gigabytes }: Peaks,
  act: "f32" | "f16",
): { arithmetic: number; memory: number } {
  const gflops = gemm.find((peak) => peak.act === act)?.gflops ?? Number.NaN;
  return { arithmetic: flops / gflops / 1e6, memory: bytes / gigabytes / 1e6 };
}
