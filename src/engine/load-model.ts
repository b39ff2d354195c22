// A model folder onto the GPU, with an adapter or without.
import { throwIfAborted, UserError } from "../base/error.ts";
import type { AdapterTarget } from "../formats/peft.ts";
import { countingGpu, limitsOf } from "../gpu/counting.ts";
import type { Gpu } from "../gpu/device.ts";
import { compileAhead } from "../gpu/pipelines.ts";
import { StepScalars } from "../gpu/step-scalars.ts";
import { Workspace } from "../gpu/workspace.ts";
import { Adapter } from "../model/adapter.ts";
import type { Architecture } from "../model/architecture.ts";
import { allLinears } from "../model/linears.ts";
import type { Model } from "../model/transformer.ts";
import {
  beginLoading,
  freeWeights,
  loadWeights,
  type LoadWeightsOptions,
  type Weights,
} from "../model/weights.ts";
import type { ModelFolder } from "./model-folder.ts";
import { seldom } from "./seldom.ts";

export interface LoadOptions {
  readonly quantization: "nf4" | "none";
  readonly doubleQuant?: boolean;
  readonly computeDtype: "auto" | "f32" | "f16";
  /** Positions that can occur, those of padding too. */
  readonly positions: number;
  /** Longest sequence, in tokens; default: `positions`. */
  readonly contextTokens?: number;
  readonly targets?: readonly AdapterTarget[];
  readonly training?: boolean;
  /** Called ten times a second at most, and with the end. */
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Records what will be done with the model, on a GPU that only counts. The pipelines of it are compiled
   * while weights are read.
   */
  readonly record?: (model: Model) => Promise<unknown>;
  /** Called when the weights are there, and pipelines may not be. */
  readonly onLoaded?: () => void;
}

/** Storage type of activations on this GPU. */
export function actOf(gpu: Gpu, computeDtype: LoadOptions["computeDtype"]): "f32" | "f16" {
  if (computeDtype === "f32") return "f32";
  if (gpu.hasF16) return "f16";
  if (computeDtype === "auto") return "f32";
  throw new UserError(
    `compute_dtype is f16, and ${gpu.name} has no shader-f16.`,
    "Set compute_dtype to auto or f32.",
  );
}

type Source = Pick<ModelFolder, "architecture" | "files">;

/** Loads a model. What it throws has left nothing on the GPU, and nothing is under way any more. */
export async function loadModel(gpu: Gpu, source: Source, options: LoadOptions): Promise<Model> {
  const { record, signal } = options;
  const { architecture, files } = source;
  const act = actOf(gpu, options.computeDtype);
  const progress = options.onProgress && seldom(options.onProgress);
  const loading = loadWeights(gpu, architecture, files, {
    ...weightOptions(options),
    onProgress: progress?.tell,
  });
  // While files are read, and not a byte of the GPU earlier than without.
  const compiling =
    record && !gpu.onlyCounts
      ? compileAhead(gpu, countingGpu(limitsOf(gpu)), async (counting) =>
          record(layOutModel(counting, source, options)),
        )
      : undefined;
  let weights: Weights;
  try {
    weights = await loading;
  } catch (error) {
    await compiling;
    throw error;
  }
  try {
    progress?.end();
    options.onLoaded?.();
    await compiling;
    throwIfAborted(signal);
  } catch (error) {
    freeWeights(gpu, weights);
    throw error;
  }
  const model = assemble(gpu, architecture, weights, act, options);
  try {
    await gpu.check();
    return model;
  } catch (error) {
    freeModel(model);
    throw error;
  }
}

/** Adds to weights, which it frees where that fails, what else there is to a model. */
function assemble(
  gpu: Gpu,
  architecture: Architecture,
  weights: Weights,
  act: "f32" | "f16",
  { targets, training = false }: LoadOptions,
): Model {
  let adapter: Adapter | undefined;
  try {
    adapter = targets && new Adapter(gpu, allLinears(architecture), targets, training);
  } catch (error) {
    freeWeights(gpu, weights);
    throw error;
  }
  const workspace = new Workspace(gpu);
  return { gpu, architecture, weights, adapter, act, workspace, step: new StepScalars(gpu) };
}

/** The model on a GPU that only counts, and nothing is read for it. */
function layOutModel(counting: Gpu, { architecture, files }: Source, options: LoadOptions): Model {
  const { weights } = beginLoading(counting, architecture, files, weightOptions(options));
  return assemble(counting, architecture, weights, actOf(counting, options.computeDtype), options);
}

function weightOptions(options: LoadOptions): LoadWeightsOptions {
  const { quantization, doubleQuant = true, positions, contextTokens, signal } = options;
  return { quantization, doubleQuant, positions, contextTokens, signal };
}

/** Frees a model with its adapter and the arena of its programs, which are to be freed before. */
export function freeModel({ gpu, weights, adapter, workspace, step }: Model): void {
  freeWeights(gpu, weights);
  adapter?.free();
  workspace.free();
  step.free();
}
