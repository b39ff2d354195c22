// All that a run holds on the GPU, made in one place: by training, and by the count of what it takes.
import { throwIfAborted } from "../../base/error.ts";
import type { TrainConfig } from "../../config.ts";
import type { BaseModel, TrainEvent } from "../../engine.ts";
import {
  ADAPTER_DEFAULTS,
  type AdapterConfig,
  type AdapterTarget,
  refuseUnknownTargets,
  selectTargets,
} from "../../formats/peft.ts";
import type { Gpu } from "../../gpu/device.ts";
import { modulesOf } from "../../model/files/adapter-files.ts";
import type { Architecture } from "../../model/architecture.ts";
import { Generator } from "../../model/generate.ts";
import type { Checkpointing } from "../../model/keeping.ts";
import { allLinears } from "../../model/linears.ts";
import type { Model } from "../../model/transformer.ts";
import { Stepper } from "../../train/step.ts";
import { Evaluator } from "../answers/evaluate.ts";
import { freeModel, loadModel } from "../load-model.ts";
import type { ModelFolder } from "../model-folder.ts";

/** A model as far as it must be known to lay it out on a GPU. */
export type LoadableModel = Pick<ModelFolder, "architecture" | "files">;

export interface RunShape {
  readonly config: TrainConfig;
  readonly checkpointing: Checkpointing;
  /** Whether there are rows to take a held-out loss on. */
  readonly holdsOut: boolean;
}

export interface RunParts {
  readonly model: Model;
  readonly stepper: Stepper;
  /** Present if there are evaluation questions. */
  readonly generator: Generator | undefined;
  /** Present if there are held-out rows. */
  readonly evaluator: Evaluator | undefined;
  free(): void;
}

/** The adapter that a config asks for, as PEFT writes it and module by module. */
export function adapterOf(
  config: TrainConfig,
  architecture: Architecture,
  base: BaseModel = { name: config.model },
): { adapterConfig: AdapterConfig; targets: readonly AdapterTarget[] } {
  const modules = modulesOf(allLinears(architecture));
  const { target_modules: wanted } = config.lora;
  const adapterConfig: AdapterConfig = {
    ...ADAPTER_DEFAULTS,
    baseModel: base.name,
    revision: base.revision ?? null,
    rank: config.lora.r,
    alpha: config.lora.lora_alpha,
    dropout: config.lora.lora_dropout,
    useRslora: config.lora.use_rslora,
    targetModules: wanted === "all-linear" ? allLinearNames(config, modules) : wanted,
  };
  const place = "lora.target_modules";
  const targets = selectTargets(adapterConfig, modules, place);
  // An adapter that is read has tensors to tell what it acts on; one that is begun has only the names.
  refuseUnknownTargets(adapterConfig.targetModules, modules, place);
  return { adapterConfig, targets };
}

/**
 * XTuner's find_all_linear_names leaves out a head by its name, so one that is called otherwise is adapted:
 * that of InternLM2 is "output".
 */
function allLinearNames(
  { compat }: TrainConfig,
  modules: readonly { readonly path: string }[],
): AdapterConfig["targetModules"] {
  if (compat === "none") return "all-linear";
  const names = modules.map(({ path }) => path.split(".").at(-1) ?? path);
  return [...new Set(names)].filter((name) => name !== "lm_head" && name !== "output_layer");
}

/** What a run answers and holds at a time: a row and the longest answer. */
function contextTokens(config: TrainConfig): number {
  return config.max_length + config.evaluation_max_new_tokens;
}

/**
 * Loads, allocates and records all of it, which is compiled while weights are read; the adapter is zero. Frees it
 * again where that fails or is aborted.
 */
export async function allocateRun(
  gpu: Gpu,
  source: LoadableModel,
  shape: RunShape,
  onEvent: (event: TrainEvent) => void,
  signal?: AbortSignal,
): Promise<RunParts> {
  const { config } = shape;
  onEvent({ type: "phase", phase: "load" });
  const model = await loadModel(gpu, source, {
    quantization: config.quantization,
    doubleQuant: config.double_quant,
    computeDtype: config.compute_dtype,
    positions: contextTokens(config),
    contextTokens: config.max_length,
    targets: adapterOf(config, source.architecture).targets,
    training: true,
    onProgress: (bytes, totalBytes) => onEvent({ type: "loading", bytes, totalBytes }),
    signal,
    record: (counted) => createParts(counted, shape),
    onLoaded: () => onEvent({ type: "phase", phase: "compile" }),
  });
  return createParts(model, shape, signal);
}

/** The programs of a run and what they work on. The model goes with them, also where this fails. */
async function createParts(
  model: Model,
  { config, checkpointing, holdsOut }: RunShape,
  signal?: AbortSignal,
): Promise<RunParts> {
  const owned: { free(): void }[] = [];
  const own = <T extends { free(): void }>(part: T): T => {
    owned.push(part);
    throwIfAborted(signal);
    return part;
  };
  const free = () => {
    for (const part of owned) part.free();
    freeModel(model);
  };
  try {
    const tokens = config.max_length * config.batch_size;
    const stepper = own(await createStepper(model, config, checkpointing));
    // Compiled only where there is something to ask or to hold out: on a slow adapter it takes a while.
    const generator =
      config.evaluation_inputs.length > 0
        ? own(await Generator.create(model, contextTokens(config)))
        : undefined;
    const evaluator = holdsOut ? own(await Evaluator.create(model, tokens)) : undefined;
    return { model, stepper, generator, evaluator, free };
  } catch (error) {
    free();
    throw error;
  }
}

function createStepper(
  model: Model,
  config: TrainConfig,
  checkpointing: Checkpointing,
): Promise<Stepper> {
  const [beta1, beta2] = config.betas;
  return Stepper.create(model, {
    tokens: config.max_length * config.batch_size,
    checkpointing,
    dropout: config.lora.lora_dropout,
    seed: config.seed,
    beta1,
    beta2,
    epsilon: config.eps,
    weightDecay: config.weight_decay,
    maxNorm: config.max_norm,
    // f32 has range enough; a scale there would only add rounding.
    dynamicLossScale: model.act === "f16" && config.loss_scale === "dynamic",
    fixedLossScale: config.loss_scale === "dynamic" ? 1 : config.loss_scale,
  });
}
