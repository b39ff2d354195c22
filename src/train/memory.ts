// What a run takes of the GPU, and which settings make it fit.
//
// The numbers come from outside (engine/runs/run-memory.ts counts them); here is what follows from them.
import { formatBytes } from "../base/format.ts";
import type { TrainConfig } from "../config.ts";

/** What a run takes of the GPU where it takes the most, in bytes. */
export interface MemoryEstimate {
  readonly total: number;
  /** These add up to the total. */
  readonly byKind: {
    readonly weights: number;
    /** Parameters and gradients. */
    readonly adapter: number;
    /** AdamW's two moments. */
    readonly optimizer: number;
    /** All that lives only within a step, but the logits. */
    readonly activations: number;
    /** Logits of as many tokens as are taken at a time. */
    readonly lossChunk: number;
    /** Keys and values for the evaluation questions. */
    readonly kvCache: number;
    /** What is there only while weights are loaded or a checkpoint is saved. */
    readonly staging: number;
    /** Batches, parameters of kernels, and the held-out loss. */
    readonly other: number;
  };
}

/** Changes of one kind, from the one that costs the run least on. */
type Rung = (config: TrainConfig) => readonly TrainConfig[];

// In the order in which they cost a run: nothing but time, then noise, then what it can see and learn.
const RUNGS: readonly Rung[] = [
  (config) =>
    config.gradient_checkpointing === true ? [] : [{ ...config, gradient_checkpointing: true }],
  // A step still sees as many rows.
  (config) =>
    halvings(config.batch_size, 1).map((rows) => ({
      ...config,
      batch_size: rows,
      accumulative_counts: Math.ceil((config.batch_size * config.accumulative_counts) / rows),
    })),
  (config) =>
    halvings(config.max_length, SHORTEST_ROW).map((max_length) => ({ ...config, max_length })),
  (config) =>
    halvings(config.lora.r, LOWEST_RANK).map((r) => ({ ...config, lora: { ...config.lora, r } })),
  (config) => (config.quantization === "nf4" ? [] : [{ ...config, quantization: "nf4" }]),
];

// Nobody is helped by shorter rows or a lower rank than these.
const SHORTEST_ROW = 128;
const LOWEST_RANK = 4;

/** Half of it, a quarter, … down to `least`. */
function halvings(value: number, least: number): number[] {
  const lower = Math.max(Math.ceil(value / 2), least);
  return lower < value ? [lower, ...halvings(lower, least)] : [];
}

/** One change on top of those before it, and the bytes that the run then takes. */
export interface FittingChange {
  /** "batch_size: 1, accumulative_counts: 64" */
  readonly settings: string;
  readonly totalBytes: number;
}

/**
 * The changes that cost the run least and make `fits` true of its bytes, as `estimate` tells them; all
 * changes there are and `isEnough` false where nothing helps. A resumed run can change nothing but
 * checkpointing: its numbers depend on the rest.
 */
export async function findFittingSettings(
  config: TrainConfig,
  estimate: (config: TrainConfig) => Promise<number>,
  fits: (bytes: number) => boolean,
  isResumed: boolean,
): Promise<{ changes: FittingChange[]; isEnough: boolean }> {
  const rungs = isResumed ? RUNGS.slice(0, 1) : RUNGS;
  /** How far each kind of change goes: 0 is not at all. */
  const steps = rungs.map(() => 0);
  const known = new Map<string, number>();
  const bytesAt = async (at: readonly number[]): Promise<number> => {
    const bytes = known.get(at.join()) ?? (await estimate(changed(config, rungs, at)));
    known.set(at.join(), bytes);
    return bytes;
  };
  const holds = async (index: number, step: number) => fits(await bytesAt(steps.with(index, step)));
  /** Goes no further with a kind of change than it must; all the way where that is not enough. */
  const settle = async (index: number, last: number): Promise<boolean> => {
    const isEnough = await holds(index, last);
    let step = isEnough ? 0 : last;
    while (isEnough && !(await holds(index, step))) step++;
    steps[index] = step;
    return isEnough;
  };

  let reached = -1;
  let isEnough = false;
  while (!isEnough && ++reached < rungs.length) {
    isEnough = await settle(reached, rungs[reached]?.(config).length ?? 0);
  }
  // What came late may have made some of the earlier changes needless.
  for (let index = reached - 1; isEnough && index >= 0; index--) {
    await settle(index, steps[index] ?? 0);
  }
  return { changes: await listChanges(config, rungs, steps, bytesAt), isEnough };
}

function changed(
  config: TrainConfig,
  rungs: readonly Rung[],
  steps: readonly number[],
): TrainConfig {
  return rungs.reduce((from, rung, index) => rung(from)[(steps[index] ?? 0) - 1] ?? from, config);
}

async function listChanges(
  config: TrainConfig,
  rungs: readonly Rung[],
  steps: readonly number[],
  bytesAt: (steps: readonly number[]) => Promise<number>,
): Promise<FittingChange[]> {
  const changes: FittingChange[] = [];
  let before = config;
  for (const index of rungs.keys()) {
    if (steps[index] === 0) continue;
    const upTo = steps.map((step, at) => (at <= index ? step : 0));
    const after = changed(config, rungs, upTo);
    changes.push({ settings: settingsOf(before, after), totalBytes: await bytesAt(upTo) });
    before = after;
  }
  return changes;
}

/** What differs, as a config would say it. */
function settingsOf(before: TrainConfig, after: TrainConfig): string {
  const differences = (Object.keys(after) as (keyof TrainConfig)[]).flatMap((key) => {
    if (after[key] === before[key]) return [];
    return key === "lora" ? [`lora.r: ${after.lora.r}`] : [`${key}: ${String(after[key])}`];
  });
  return differences.join(", ");
}

/** The changes as an instruction: "Set batch_size: 1 (then 3.1 GiB), and with it …". */
export function adviseSettings(changes: readonly FittingChange[], isEnough: boolean): string {
  const list = changes
    .map(({ settings, totalBytes }) =>
      Number.isFinite(totalBytes) ? `${settings} (then ${formatBytes(totalBytes)})` : settings,
    )
    .join(", and with it ");
  if (list === "") return "Choose a smaller model, or a GPU with more memory.";
  return isEnough
    ? `Set ${list}.`
    : `Choose a smaller model, or a GPU with more memory. Not enough is ${list}.`;
}
