// How much of the GPU a run will take, before it starts, and the refusal of one that will not fit.
//
// Nothing is computed from formulas: the run is laid out on a GPU that only counts, by the code that lays
// it out on the real one. That takes no GPU and reads no weights.
import { UserError } from "../../base/error.ts";
import { formatBytes, formatBytesByKind } from "../../base/format.ts";
import type { TrainConfig } from "../../config.ts";
import type { FreeMemory } from "../../engine.ts";
import { type AdapterLimits, countingGpu, limitsOf } from "../../gpu/counting.ts";
import { type Gpu, OutOfMemoryError, TooLargeError } from "../../gpu/device.ts";
import { byteLength, read } from "../../gpu/tensor.ts";
import { sizeInBytes, type SourceTensor } from "../../model/files/checkpoint-files.ts";
import { logitRows } from "../../model/head.ts";
import type { Checkpointing } from "../../model/keeping.ts";
import { freeWeights } from "../../model/weights.ts";
import { adviseSettings, findFittingSettings, type MemoryEstimate } from "../../train/memory.ts";
import { chooseKeeping, type KeepingPlan, openArenaCount, type Room } from "./kept-memory.ts";
import { allocateRun, type LoadableModel, type RunShape } from "./run-parts.ts";

/** Counts what a run on such an adapter takes. Throws TooLargeError where one buffer passes its limits. */
export async function estimateMemory(
  adapter: AdapterLimits,
  { architecture, files }: LoadableModel,
  shape: RunShape,
): Promise<MemoryEstimate> {
  const gpu = countingGpu(adapter);
  const source = withoutContents({ architecture, files });
  const { model, stepper, generator, evaluator } = await allocateRun(gpu, source, shape, () => {});
  const resident = gpu.allocatedBytes;
  // What is read back needs a place too: the held-out losses, and the adapter when it is saved.
  await evaluator?.total([EMPTY_BATCH]);
  const banks = model.adapter?.banks ?? [];
  await Promise.all(banks.map(({ parameters }) => read(gpu, parameters)));
  const total = gpu.peakBytes;

  /** What a part gives back is what it took. */
  const shareOf = (free: () => void): number => {
    const before = gpu.allocatedBytes;
    free();
    return before - gpu.allocatedBytes;
  };
  const kvCache = shareOf(() => generator?.free());
  const workspace = shareOf(() => model.workspace.free());
  const adapterAndMoments = shareOf(() => model.adapter?.free());
  const weights = shareOf(() => freeWeights(gpu, model.weights));
  const optimizer = banks.reduce(
    (sum, { training }) => sum + (training ? training.m.bytes + training.v.bytes : 0),
    0,
  );
  const { vocab } = architecture;
  const tokens = shape.config.max_length * shape.config.batch_size;
  const lossChunk = byteLength("f32", [logitRows(gpu, vocab, tokens), vocab]);
  const other = shareOf(() => {
    for (const part of [stepper, evaluator, model.step]) part?.free();
  });
  return {
    total,
    byKind: {
      weights,
      adapter: adapterAndMoments - optimizer,
      optimizer,
      activations: workspace - lossChunk,
      lossChunk,
      kvCache,
      staging: total - resident,
      other,
    },
  };
}

const NOTHING = new Uint32Array(0);
const EMPTY_BATCH = {
  ids: NOTHING,
  targets: NOTHING,
  positions: NOTHING,
  segmentStart: NOTHING,
  labelTokens: 0,
  tokens: 0,
};

/** The same tensors, of zeros: their sizes are all that counts, and their files are not read. */
function withoutContents({ architecture, files }: LoadableModel): LoadableModel {
  let zeros = new Uint8Array(0);
  // One array for all: nothing is written to what is read.
  const take = (bytes: number): Promise<Uint8Array<ArrayBuffer>> => {
    if (zeros.length < bytes) zeros = new Uint8Array(bytes);
    return Promise.resolve(zeros.subarray(0, bytes));
  };
  const tensors = [...files.tensors].map(([name, tensor]): [string, SourceTensor] => [
    name,
    {
      ...tensor,
      read: (start, end) => take(sizeInBytes(tensor.dtype, end - start)),
      ...(tensor.nf4 && {
        nf4: {
          readCodes: (start, end) => take(end - start),
          readAbsmax: () => Promise.resolve(new Float32Array(0)),
        },
      }),
    },
  ]);
  return { architecture, files: { ...files, tensors: new Map(tensors) } };
}

/** The most that a run may take, and who says so. */
export interface MemoryLimit extends Room {
  readonly words: string;
}

/** What `max_memory` leaves, or what the system says is free; undefined where nobody knows. */
export function memoryLimit(
  gpu: Gpu,
  config: Pick<TrainConfig, "max_memory">,
  free: FreeMemory | undefined,
): MemoryLimit | undefined {
  if (config.max_memory !== "auto") {
    const bytes = config.max_memory * 2 ** 30;
    const left = bytes - gpu.allocatedBytes;
    return { bytes: left, bytesForSpeed: left, words: `max_memory is ${formatBytes(bytes)}` };
  }
  if (!free) return undefined;
  return {
    bytes: free.most,
    bytesForSpeed: free.least * SHARE_FOR_SPEED,
    words: `${formatBytes(free.most)} of memory is free for ${gpu.name}`,
  };
}

/** Of what is free, as the system and others at work on the machine want some too. */
const SHARE_FOR_SPEED = 0.8;

/** What a plan for a run is made from. */
export interface RunNeeds {
  readonly source: LoadableModel;
  readonly config: TrainConfig;
  readonly holdsOut: boolean;
  readonly isResumed: boolean;
}

/** Decides on what is kept, and refuses a run that will not fit, with the settings that would. */
export async function planMemory(
  gpu: Gpu,
  needs: RunNeeds,
  limit: MemoryLimit | undefined,
): Promise<{ checkpointing: Checkpointing; memory: MemoryEstimate }> {
  const { checkpointing, memory, fits } = await choosePlan(gpu, needs, limit);
  if (memory instanceof TooLargeError || !fits) throw await refusal(gpu, needs, memory, limit);
  return { checkpointing, memory };
}

/**
 * Decides on what of the forward pass is kept, and says what the run then takes. Left to `auto` it is as much
 * as there is memory for; with checkpointing on, the least, and expanded weights where there is memory.
 */
export async function choosePlan(
  gpu: Gpu,
  needs: RunNeeds,
  limit: MemoryLimit | undefined,
): Promise<KeepingPlan<MemoryEstimate>> {
  const { config, source } = needs;
  return chooseKeeping({
    wanted: config.gradient_checkpointing,
    layers: source.architecture.layers,
    room: limit,
    estimate: (checkpointing) => tryEstimate(gpu, needs, config, checkpointing),
    openCount: () => openArenaCount(limitsOf(gpu), withoutContents(source), config),
  });
}

/** Settings, as `lora.r=8`, with which the run fits the limit; none where it fits with no settings. */
export async function fittingSettings(
  gpu: Gpu,
  needs: RunNeeds,
  limit: MemoryLimit | undefined,
): Promise<string[]> {
  const limitBytes = limit?.bytes ?? Number.POSITIVE_INFINITY;
  const checkpointing = needs.config.gradient_checkpointing !== false;
  const { changes, isEnough } = await settingsWithin(gpu, needs, checkpointing, limitBytes);
  if (!isEnough) return [];
  return changes.flatMap(({ settings }) =>
    settings.split(", ").map((one) => one.replace(": ", "=")),
  );
}

/**
 * An allocation that failed although it was not foreseen, told with the settings of a run that takes no
 * more than was granted before. To be called when the run has freed what it held.
 */
export async function explainOutOfMemory(
  gpu: Gpu,
  needs: RunNeeds,
  checkpointing: boolean,
  error: OutOfMemoryError,
): Promise<OutOfMemoryError> {
  const [problem = ""] = error.message.split("\n");
  const grantedBytes = error.heldBytes - gpu.allocatedBytes;
  const { changes, isEnough } = await settingsWithin(gpu, needs, checkpointing, grantedBytes);
  const advice = adviseSettings(changes, isEnough);
  return new OutOfMemoryError(problem, advice, error.heldBytes, { cause: error });
}

async function refusal(
  gpu: Gpu,
  needs: RunNeeds,
  estimate: MemoryEstimate | TooLargeError,
  limit: MemoryLimit | undefined,
): Promise<UserError> {
  const limitBytes = limit?.bytes ?? Number.POSITIVE_INFINITY;
  // Where it is `auto` it would be on: without it, the run was too large.
  const checkpointing = needs.config.gradient_checkpointing !== false;
  const { changes, isEnough } = await settingsWithin(gpu, needs, checkpointing, limitBytes);
  const advice = adviseSettings(changes, isEnough);
  if (estimate instanceof TooLargeError) {
    const [problem = ""] = estimate.message.split("\n");
    return new UserError(problem, advice, { cause: estimate });
  }
  const total = formatBytes(estimate.total);
  const inUse = gpu.allocatedBytes > 0 ? `, ${formatBytes(gpu.allocatedBytes)} of it in use` : "";
  return new UserError(
    `This run needs ${total} of GPU memory, and ${limit?.words}${inUse}. It needs ${formatBytesByKind(estimate.byKind)}.`,
    advice,
  );
}

function settingsWithin(gpu: Gpu, needs: RunNeeds, checkpointing: boolean, limitBytes: number) {
  return findFittingSettings(
    { ...needs.config, gradient_checkpointing: checkpointing },
    async (config) => {
      const estimate = await tryEstimate(
        gpu,
        needs,
        config,
        config.gradient_checkpointing === true,
      );
      return estimate instanceof TooLargeError ? Number.POSITIVE_INFINITY : estimate.total;
    },
    (bytes) => bytes < Number.POSITIVE_INFINITY && bytes <= limitBytes,
    needs.isResumed,
  );
}

async function tryEstimate(
  gpu: Gpu,
  { source, holdsOut }: RunNeeds,
  config: TrainConfig,
  checkpointing: Checkpointing,
): Promise<MemoryEstimate | TooLargeError> {
  try {
    return await estimateMemory(limitsOf(gpu), source, { config, checkpointing, holdsOut });
  } catch (error) {
    if (error instanceof TooLargeError) return error;
    throw error;
  }
}
