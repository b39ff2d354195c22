// A model with an adapter for training on it, and a made-up batch: the benchmark's subject.
import type { Folder } from "../src/base/folder.ts";
import { createRandom } from "../src/base/random.ts";
import { ADAPTER_DEFAULTS, selectTargets } from "../src/formats/peft.ts";
import type { Gpu } from "../src/gpu/device.ts";
import { StepScalars } from "../src/gpu/step-scalars.ts";
import { Workspace } from "../src/gpu/workspace.ts";
import { Adapter } from "../src/model/adapter.ts";
import { modulesOf } from "../src/model/files/adapter-files.ts";
import { type Architecture, parseArchitecture } from "../src/model/architecture.ts";
import { openModelFiles } from "../src/model/files/checkpoint-files.ts";
import { allLinears } from "../src/model/linears.ts";
import type { Checkpointing } from "../src/model/keeping.ts";
import type { Model } from "../src/model/transformer.ts";
import { loadWeights } from "../src/model/weights.ts";
import { type MicroBatch, Stepper } from "../src/train/step.ts";
import { makeRandomWeights } from "./random-weights.ts";

/** What is measured: a model's files, or the shape of one, which random weights then fill. */
export interface Subject {
  /** For people. */
  readonly name: string;
  readonly architecture: Architecture;
  readonly folder?: Folder;
}

/** A model's files as a subject. */
export async function subjectOf(folder: Folder): Promise<Subject> {
  const architecture = parseArchitecture(await folder.readText("config.json"), folder.path);
  return { name: folder.path.split("/").at(-1) ?? folder.path, architecture, folder };
}

/**
 * NF4 base, r 16 on all linear maps, in f16 where the adapter has it. `onSlice` is called after every
 * slice of the weights is read. On the null backend, which could not quantize any, weights are empty.
 */
export async function prepareModel(
  gpu: Gpu,
  subject: Subject,
  tokens: number,
  onSlice?: () => void,
): Promise<Model> {
  const { architecture, folder } = subject;
  const positions = tokens + 512;
  const isNull = gpu.info.device === "null-backend";
  const weights =
    isNull || !folder
      ? await makeRandomWeights(gpu, architecture, positions, { sharesLayers: isNull })
      : await loadWeights(gpu, architecture, await openModelFiles(folder), {
          quantization: "nf4",
          doubleQuant: true,
          positions,
          onProgress: onSlice,
        });
  const linears = allLinears(architecture);
  const config = { ...ADAPTER_DEFAULTS, rank: 16, alpha: 32, targetModules: "all-linear" };
  const targets = selectTargets(config, modulesOf(linears), "the benchmark");
  const adapter = new Adapter(gpu, linears, targets, true);
  adapter.initialize(1);
  const act = gpu.hasF16 ? "f16" : "f32";
  const workspace = new Workspace(gpu);
  return { gpu, architecture, weights, adapter, act, workspace, step: new StepScalars(gpu) };
}

export const DROPOUT = 0.1;

/** A training step as it is measured: dropout, and a loss scale where the type calls for one. */
export function createStepper(
  model: Model,
  tokens: number,
  checkpointing: Checkpointing = true,
): Promise<Stepper> {
  return Stepper.create(model, {
    tokens,
    checkpointing,
    dropout: DROPOUT,
    seed: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: 1,
    dynamicLossScale: model.act === "f16",
  });
}

/** One document of random ids in which every token is learned. */
export function randomBatch(vocab: number, tokens: number): MicroBatch {
  const random = createRandom(1);
  const id = () => Math.floor(random.next() * vocab);
  return {
    ids: Uint32Array.from({ length: tokens }, id),
    targets: Uint32Array.from({ length: tokens }, id),
    positions: Uint32Array.from({ length: tokens }, (_, i) => i),
    segmentStart: new Uint32Array(tokens),
    labelTokens: tokens,
    tokens,
  };
}
