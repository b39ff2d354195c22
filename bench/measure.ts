// Measurements on a prepared model. Each is a median of several runs, since timings are noisy.
import type { Gpu } from "../src/gpu/device.ts";
import type { DispatchTiming } from "../src/gpu/program.ts";
import { openModelFiles } from "../src/model/checkpoint-files.ts";
import { Generator } from "../src/model/generate.ts";
import type { Model } from "../src/model/transformer.ts";
import { Stepper } from "../src/train/step.ts";
import { prepareModel, randomBatch, type Subject } from "./prepare.ts";

export interface KernelFigures {
  /** Shader and entry point; variants are added up. */
  readonly name: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Of the whole step. */
  readonly share: number;
  readonly gflops: number;
  readonly gigabytes: number;
}

export interface TrainingFigures {
  readonly act: "f32" | "f16";
  readonly tokensPerSecond: number;
  readonly timeToFirstStepSeconds: number;
  readonly dispatchesPerLayer: number;
  readonly stepSeconds: readonly number[];
  readonly gemmShare: number;
  readonly kernels: readonly KernelFigures[];
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

export async function measureTraining(
  model: Model,
  options: { tokens: number; steps: number; started: number },
): Promise<TrainingFigures> {
  const { tokens, steps, started } = options;
  const stepper = await createStepper(model, tokens);
  const batch = randomBatch(model.architecture.vocab, tokens);
  await stepper.run([batch], 0, 1e-4);
  const timeToFirstStepSeconds = (performance.now() - started) / 1000;
  const stepSeconds: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const begun = performance.now();
    await stepper.run([batch], step, 1e-4);
    stepSeconds.push((performance.now() - begun) / 1000);
    stepper.learnSpeed(stepSeconds.at(-1) ?? 0, 1);
  }
  const timings = model.gpu.hasTimestamps
    ? [...(await stepper.trainProgram.profile()), ...(await stepper.optimizerProgram.profile())]
    : [];
  const kernels = figuresOf(timings);
  const names = stepper.trainProgram.dispatchNames;
  stepper.free();
  return {
    act: model.act,
    tokensPerSecond: tokens / median(stepSeconds),
    timeToFirstStepSeconds,
    // The head, the loss and the embedding belong to no layer and are few.
    dispatchesPerLayer: Math.floor(names.length / model.architecture.layers),
    stepSeconds,
    gemmShare: kernels
      .filter(({ name }) => /^(matmul|lora)/.test(name))
      .reduce((sum, { share }) => sum + share, 0),
    kernels,
  };
}

export async function measureDecode(
  model: Model,
  tokens: number,
): Promise<{ tokensPerSecond: number }> {
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
  return { tokensPerSecond: tokens / median(seconds) };
}

/** On the null backend: what recording commands and submitting costs, with nothing computed. */
export async function measureHost(
  model: Model,
  tokens: number,
): Promise<{ microsecondsPerDispatch: number; dispatches: number }> {
  const stepper = await createStepper(model, tokens);
  const program = stepper.trainProgram;
  program.learnSpeed(1e-3); // one submit, as on a fast GPU
  const microseconds: number[] = [];
  for (let run = 0; run < 50; run++) {
    const begun = performance.now();
    program.run();
    microseconds.push(((performance.now() - begun) * 1000) / program.dispatchCount);
    await model.gpu.finish();
  }
  return { microsecondsPerDispatch: median(microseconds), dispatches: program.dispatchCount };
}

/** A training step as it is measured: dropout, and a loss scale where the type calls for one. */
export function createStepper(
  model: Model,
  tokens: number,
  checkpointing = true,
): Promise<Stepper> {
  return Stepper.create(model, {
    tokens,
    checkpointing,
    dropout: 0.1,
    seed: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: 1,
    dynamicLossScale: model.act === "f16",
  });
}

function figuresOf(timings: readonly DispatchTiming[]): KernelFigures[] {
  const groups = new Map<string, { calls: number; ms: number; flops: number; bytes: number }>();
  for (const { name, milliseconds, flops, bytes } of timings) {
    const key = name.split(" ")[0] ?? name;
    const group = groups.get(key) ?? { calls: 0, ms: 0, flops: 0, bytes: 0 };
    group.calls++;
    group.ms += milliseconds;
    group.flops += flops;
    group.bytes += bytes;
    groups.set(key, group);
  }
  const total = [...groups.values()].reduce((sum, { ms }) => sum + ms, 0);
  return [...groups]
    .map(([name, { calls, ms, flops, bytes }]) => ({
      name,
      calls,
      milliseconds: ms,
      share: ms / total,
      gflops: flops / ms / 1e6,
      gigabytes: bytes / ms / 1e6,
    }))
    .toSorted((a, b) => b.milliseconds - a.milliseconds);
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
