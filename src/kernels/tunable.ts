// What a kernel with several variants tells of itself, so that the best can be found by trying.
import type { Gpu } from "../gpu/device.ts";
import type { Recorder } from "../gpu/program.ts";
import type { StepValues } from "../gpu/step-scalars.ts";
import type { StoredTensor } from "../gpu/tensor.ts";

/** The sizes of the work that variants are tried on: those of the model at hand. */
export interface TrialSizes {
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** Of the adapter; 0 where there is none. */
  readonly rank: number;
  /** Rows of a run: tokens of a micro-batch in training, of a prompt's chunk in generation. */
  readonly tokens: number;
  /** Storage type of activations. */
  readonly act: "f32" | "f16";
}

export interface Tunable {
  /** Names the choice, in tables, caches and checkpoints. */
  readonly slot: string;
  /** What alone runs the kernel, if it is not both; elsewhere nothing is tried. */
  readonly use?: "training" | "generation";
  /**
   * Names of what this adapter might run. The others are checked against the first, so that is one that is right
   * wherever it is offered; what a driver may break over stands last (`isRisky`). With one name or none there is
   * nothing to try. What runs untried is the kernel's own affair: a variant that is right everywhere that the
   * adapter's facts allow (features, limits, the standard's isFallbackAdapter), never by a name.
   */
  candidates(gpu: Gpu, sizes: TrialSizes): readonly string[];
  /** What the kernel takes on this adapter where nothing was tried; the first candidate, if not given. */
  untried?(gpu: Gpu): string;
  /** Allocates operands and fills them with made-up numbers. Whoever calls it frees them. */
  trial(gpu: Gpu, sizes: TrialSizes): Trial;
}

export interface Trial {
  /** The step's scalars that the work reads; those of a first step, where none are named. */
  readonly step?: StepValues;
  readonly tensors: readonly StoredTensor[];
  /** Records the work once, in the variant that `recorder.choice(slot)` names. Called once a candidate. */
  record(recorder: Recorder): void;
  /**
   * Those of `tensors` that the work writes, f32 or f16: whole, and not adding to what they hold, which is NaN
   * before each check. Every run writes the same bits.
   */
  readonly results: readonly StoredTensor[];
  /** How far a result may be from the first candidate's, as a share of the largest magnitude in it. */
  readonly tolerance: number;
}

/**
 * Whether a variant is of subgroup matrices, which are experimental in WebGPU: they are compiled when what was found
 * of the others is written down, so that a driver that takes the process with it takes no more.
 */
export function isRisky(variant: string): boolean {
  return variant.startsWith("matrix ");
}
