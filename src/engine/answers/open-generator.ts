// A model on the GPU that makes tokens: with its adapter, if there is one, and a cache of a given size.
import { throwIfAborted } from "../../base/error.ts";
import type { LoadRequest } from "../../engine.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { readAdapterFolder } from "../../model/files/adapter-files.ts";
import { Generator } from "../../model/generate.ts";
import type { Model } from "../../model/transformer.ts";
import { freeModel, loadModel } from "../load-model.ts";
import type { Manifest, ModelFolder } from "../model-folder.ts";
import type { Tuner } from "../tuning/tune.ts";
import { inferenceWork } from "../tuning/work-sizes.ts";

export interface OpenGenerator {
  readonly model: Model;
  readonly generator: Generator;
  free(): void;
}

type AdapterFiles = Awaited<ReturnType<typeof readAdapterFolder>>;

/** What an opened request holds. `capacity` is in tokens, prompt and answer together. */
export interface GeneratorParts {
  readonly opened: ModelFolder;
  readonly adapterFiles: AdapterFiles | undefined;
  readonly manifest: Manifest | undefined;
  readonly capacity: number;
}

/**
 * Loads the weights and records the programs, which are compiled while weights are read. What it throws has left
 * nothing on the GPU.
 */
export async function openGenerator(
  gpu: Gpu,
  request: LoadRequest,
  { opened, adapterFiles, manifest, capacity }: GeneratorParts,
  tuner: Tuner | undefined,
): Promise<OpenGenerator> {
  const { computeDtype } = request;
  const targets = adapterFiles?.targets;
  const work = inferenceWork(gpu, opened.architecture, { computeDtype, targets, capacity });
  gpu.choices = (await tuner?.choose(gpu, work, request)) ?? {};
  const create = (model: Model) => Generator.create(model, capacity, { kvCache: request.kvCache });
  const model = await loadModel(gpu, opened, {
    quantization: request.quantization ?? "none",
    doubleQuant: manifest?.doubleQuant ?? true,
    computeDtype: request.computeDtype ?? "auto",
    positions: capacity,
    ...(adapterFiles && { targets: adapterFiles.targets }),
    onProgress: request.onProgress,
    signal: request.signal,
    record: create,
  });
  let generator: Generator | undefined;
  try {
    if (adapterFiles) model.adapter?.write(adapterFiles.matrices);
    generator = await create(model);
    throwIfAborted(request.signal);
    return { model, generator, free: () => freeBoth(generator, model) };
  } catch (error) {
    freeBoth(generator, model);
    throw error;
  }
}

function freeBoth(generator: Generator | undefined, model: Model): void {
  generator?.free();
  freeModel(model);
}
