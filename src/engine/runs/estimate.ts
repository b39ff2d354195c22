// What a run will take, counted without running it: memory on the GPU, and the files of a checkpoint.
import type { EstimateRequest, RunSize } from "../../engine.ts";
import { type Gpu, TooLargeError } from "../../gpu/device.ts";
import { adapterFileBytes } from "../../model/files/adapter-files.ts";
import { readArchitecture } from "../../model/architecture.ts";
import { allLinears } from "../../model/linears.ts";
import { checkpointFileBytes } from "../../train/checkpoint.ts";
import { adapterCompanions } from "../exports/adapter-companions.ts";
import { NO_FINGERPRINTS } from "./fingerprint.ts";
import { openModelLayout } from "../model-source.ts";
import { identityOf } from "./run-identity.ts";
import { choosePlan, fittingSettings, type MemoryLimit } from "./run-memory.ts";
import { adapterOf } from "./run-parts.ts";
import { KERNELS_ID } from "../tuning/tune.ts";

export async function estimateRun(gpu: Gpu, request: EstimateRequest): Promise<RunSize> {
  const { config, holdsOut, limitBytes } = request;
  const layout = await openModelLayout(request.model);
  const architecture = readArchitecture(layout.config, layout.place);
  const { adapterConfig, targets } = adapterOf(config, architecture);
  const source = { architecture, files: layout.files };
  const needs = { source, config, holdsOut, isResumed: false };
  const limit: MemoryLimit | undefined =
    limitBytes === undefined
      ? undefined
      : { bytes: limitBytes, bytesForSpeed: limitBytes, words: "" };
  const { memory, fits } = await choosePlan(gpu, needs, limit);
  if (memory instanceof TooLargeError) throw memory;

  const linears = allLinears(architecture);
  const companions = adapterCompanions({
    config,
    chosen: { name: config.prompt_template },
    opened: { architecture, tokenizer: { chatTemplate: await layout.readChatTemplate() } },
    adapterConfig,
    targets,
  });
  const state = {
    step: config.save_steps,
    microBatches: config.save_steps * config.accumulative_counts,
    tokens: 0,
    adapterName: gpu.name,
    computeDtype: "f32",
    kernels: KERNELS_ID,
    choices: gpu.choices,
    run: identityOf(config, { rowsRead: 0, tokens: 0, labelTokens: 0 }, NO_FINGERPRINTS),
  } as const;
  const { parameters } = adapterFileBytes(targets, linears);
  return {
    memory,
    trainableParameters: parameters,
    checkpointBytes: checkpointFileBytes(state, targets, linears, companions),
    settings: fits ? [] : await fittingSettings(gpu, needs, limit),
  };
}
