// A model folder onto the GPU, with an adapter or without.
import { UserError } from "../base/error.ts";
import type { AdapterTarget } from "../formats/peft.ts";
import type { Gpu } from "../gpu/device.ts";
import { StepScalars } from "../gpu/step-scalars.ts";
import { Workspace } from "../gpu/workspace.ts";
import { Adapter } from "../model/adapter.ts";
import { allLinears } from "../model/linears.ts";
import type { Model } from "../model/transformer.ts";
import { freeWeights, loadWeights } from "../model/weights.ts";
import type { ModelFolder } from "./model-folder.ts";

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
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
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

export async function loadModel(
  gpu: Gpu,
  { architecture, files }: Pick<ModelFolder, "architecture" | "files">,
  options: LoadOptions,
): Promise<Model> {
  const {
    quantization,
    doubleQuant = true,
    positions,
    contextTokens,
    onProgress,
    signal,
  } = options;
  const act = actOf(gpu, options.computeDtype);
  const weights = await loadWeights(gpu, architecture, files, {
    quantization,
    doubleQuant,
    positions,
    contextTokens,
    onProgress,
    signal,
  });
  let adapter: Adapter | undefined;
  try {
    adapter = options.targets
      ? new Adapter(gpu, allLinears(architecture), options.targets, options.training === true)
      : undefined;
    await gpu.check();
  } catch (error) {
    adapter?.free();
    freeWeights(gpu, weights);
    throw error;
  }
  const workspace = new Workspace(gpu);
  return { gpu, architecture, weights, adapter, act, workspace, step: new StepScalars(gpu) };
}

export function freeModel({ gpu, weights, adapter, workspace, step }: Model): void {
  freeWeights(gpu, weights);
  adapter?.free();
  workspace.free();
  step.free();
}
