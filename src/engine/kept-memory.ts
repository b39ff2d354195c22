// How much of the forward pass a run can keep: the memory of its steps, counted for each way of keeping.
import { countingGpu } from "../gpu/counting.ts";
import type { AdapterLimits } from "../gpu/counting.ts";
import { TooLargeError } from "../gpu/device.ts";
import { Workspace } from "../gpu/workspace.ts";
import { allocateBatch } from "../model/batch.ts";
import { type Keeping, keepingAt } from "../model/keeping.ts";
import { buildTrainProgram } from "../model/transformer.ts";
import type { TrainConfig } from "../config.ts";
import { allocateRun, type LoadableModel } from "./run-parts.ts";

/**
 * Counts the arena of a run's steps alone, on such an adapter, for a way of keeping; infinite where a tensor
 * passes its limits. The model is laid out once for all counts.
 */
export async function openArenaCount(
  adapter: AdapterLimits,
  source: LoadableModel,
  config: TrainConfig,
): Promise<(keeping: Keeping) => Promise<number>> {
  const gpu = countingGpu(adapter);
  const stepsAlone = { ...config, evaluation_inputs: [] };
  const shape = { config: stepsAlone, checkpointing: true, holdsOut: false };
  const { model } = await allocateRun(gpu, source, shape, () => {});
  const batch = allocateBatch(gpu, config.max_length * config.batch_size);
  const state = gpu.allocate("state", "f32", [16]);
  const dropout = config.lora.lora_dropout;
  return async (checkpointing) => {
    const workspace = new Workspace(gpu);
    try {
      await buildTrainProgram({ ...model, workspace }, { batch, state, checkpointing, dropout });
      return workspace.bytes;
    } catch (error) {
      if (error instanceof TooLargeError) return Number.POSITIVE_INFINITY;
      throw error;
    }
  };
}

/** The last way of keeping, of those from 0 to `most`, that takes at most so much more than way 0. */
export async function largestKeeping(
  arenaOf: (keeping: Keeping) => Promise<number>,
  layers: number,
  most: number,
  spareBytes: number,
): Promise<number> {
  const least = await arenaOf(keepingAt(0, layers));
  let fits = 0;
  let fails = most + 1;
  while (fails - fits > 1) {
    const middle = (fits + fails) >> 1;
    const more = (await arenaOf(keepingAt(middle, layers))) - least;
    if (more <= spareBytes) fits = middle;
    else fails = middle;
  }
  return fits;
}
