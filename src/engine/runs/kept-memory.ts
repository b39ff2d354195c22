// How much of the forward pass a run keeps: the memory of its steps, counted for each way of keeping.
import { type AdapterLimits, countingGpu } from "../../gpu/counting.ts";
import { TooLargeError } from "../../gpu/device.ts";
import { Workspace } from "../../gpu/workspace.ts";
import { allocateBatch } from "../../model/batch.ts";
import {
  type Checkpointing,
  countKeepings,
  type Keeping,
  keepingAt,
  KEEPING_WEIGHTS,
} from "../../model/keeping.ts";
import { buildTrainProgram, type Model } from "../../model/transformer.ts";
import type { TrainConfig } from "../../config.ts";
import { allocateRun, type LoadableModel } from "./run-parts.ts";

/** How much a run may take. */
export interface Room {
  readonly bytes: number;
  /** The most that it may take where less would do. */
  readonly bytesForSpeed: number;
}

/** Where no limit is known, `auto` keeps of the forward pass what lets activations take no more than this. */
const AUTO_ACTIVATION_BYTES = 2 ** 30;

/** What a run takes, of which this much lives within a step. */
interface Taken {
  readonly total: number;
  readonly byKind: { readonly activations: number };
}

export interface KeepingPlan<Memory> {
  readonly checkpointing: Checkpointing;
  readonly memory: Memory | TooLargeError;
  /** Whether that is within the limit. */
  readonly fits: boolean;
}

export interface KeepingQuestion<Memory> {
  /** The setting. */
  readonly wanted: TrainConfig["gradient_checkpointing"];
  readonly layers: number;
  /** Undefined where nobody knows. */
  readonly room: Room | undefined;
  /** Counts all that a run takes, or says what passes the adapter's limits. */
  estimate(this: void, checkpointing: Checkpointing): Promise<Memory | TooLargeError>;
  /** Makes ready to count the arena of its steps alone. Asked only where there is memory to spare. */
  openCount(this: void): Promise<(keeping: Keeping) => Promise<number>>;
}

/**
 * Decides on what of the forward pass is kept, and says what the run then takes. Left to `auto` it is as much
 * as there is memory for; with checkpointing on, the least, and expanded weights where there is memory.
 */
export async function chooseKeeping<Memory extends Taken>({
  wanted,
  layers,
  room,
  estimate,
  openCount,
}: KeepingQuestion<Memory>): Promise<KeepingPlan<Memory>> {
  const limitBytes = room?.bytes ?? Number.POSITIVE_INFINITY;
  const planFor = async (checkpointing: Checkpointing): Promise<KeepingPlan<Memory>> => {
    const memory = await estimate(checkpointing);
    const fits = !(memory instanceof TooLargeError) && memory.total <= limitBytes;
    return { checkpointing, memory, fits };
  };
  /** How much more it may take; nothing where it takes too much. */
  const spareOf = ({ memory }: KeepingPlan<Memory>): number => {
    if (memory instanceof TooLargeError) return -1;
    const { total, byKind } = memory;
    return room ? room.bytesForSpeed - total : AUTO_ACTIVATION_BYTES - byKind.activations;
  };

  if (wanted !== true) {
    const everything = await planFor(false);
    if (wanted === false || spareOf(everything) >= 0) return everything;
  }
  const least = await planFor(true);
  const spareBytes = spareOf(least);
  if (!least.fits || spareBytes <= 0) return least;
  const arenaOf = await openCount();
  const most = wanted === true ? KEEPING_WEIGHTS : countKeepings(layers) - 1;
  let index = await largestKeeping(arenaOf, layers, most, spareBytes);
  // Parts of a run share memory, so that what was counted for one alone is not the last word.
  while (index > 0) {
    const plan = await planFor(keepingAt(index, layers));
    if (plan.fits && spareOf(plan) >= 0) return plan;
    index = Math.floor(index * 0.9);
  }
  return least;
}

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
  return arenaCount(model, config.max_length * config.batch_size, config.lora.lora_dropout);
}

/** Counts the arena of steps over micro-batches of so many tokens, with a model on a GPU that only counts. */
export function arenaCount(
  model: Model,
  tokens: number,
  dropout: number,
): (keeping: Keeping) => Promise<number> {
  const { gpu } = model;
  const batch = allocateBatch(gpu, tokens);
  const state = gpu.allocate("state", "f32", [16]);
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
async function largestKeeping(
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
