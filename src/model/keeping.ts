// What a training program keeps of its forward pass, and what it makes again for the backward pass.
//
// Kept or made again, the numbers are the same to the bit: the same kernels read the same operands. What to
// keep is therefore a question of memory and time alone, and a resumed run may answer it anew.
import type { BlockActivations } from "./block.ts";

/**
 * What a layer may keep besides its input and the adapter's h, in the order of the time that a byte saves:
 * attention is the dearest to repeat, then the products with many outputs, and a norm costs next to nothing.
 * A layer keeps the first so many of these; one that keeps all is not run again.
 */
const PARTS = [
  ["attended", "logSumExp"],
  ["qkv", "rawQkv"],
  ["gateUp", "mlpAdd"],
  ["mid", "attentionAdd"],
  ["normed", "midNormed"],
] as const satisfies readonly (readonly (keyof BlockActivations)[])[];

const ALWAYS = ["x", "qkvH", "attendedH", "gateUpH", "hiddenH"] as const;

/** What is kept of each layer, and of the running again of one. */
export interface Keeping {
  /** How many of the parts each layer keeps. */
  readonly parts: readonly number[];
  /**
   * Whether the expanded weights of a layer lie side by side: small ones are then expanded together, and those
   * that it took to run the layer again wait for its backward pass.
   */
  readonly expandedWeights: boolean;
}

/** True keeps the least, and false everything. */
export type Checkpointing = boolean | Keeping;

export function keepingOf(checkpointing: Checkpointing, layers: number): Keeping {
  if (typeof checkpointing !== "boolean") return checkpointing;
  const parts = Array<number>(layers).fill(checkpointing ? 0 : PARTS.length);
  return { parts, expandedWeights: false };
}

/**
 * How many ways of keeping there are, from 0, the least, to all. Each keeps more than the one before: first
 * expanded weights, one layer's worth of memory that saves time in all; then part after part, of the top
 * layer first, whose backward pass gives the memory back soonest.
 */
export function countKeepings(layers: number): number {
  return layers * PARTS.length + 2;
}

/** The way of keeping at `index` of those that `countKeepings` counts. */
export function keepingAt(index: number, layers: number): Keeping {
  const steps = Math.max(0, index - 1);
  const whole = Math.floor(steps / layers);
  const isAhead = (layer: number) => layer >= layers - (steps % layers);
  const parts = Array.from({ length: layers }, (_, layer) => whole + (isAhead(layer) ? 1 : 0));
  return { parts, expandedWeights: index > 0 };
}

/** How many layers are run again, at least in part. */
export function countRepeated({ parts }: Keeping): number {
  return parts.filter((kept) => kept < PARTS.length).length;
}

/** The part of a block's activations that outlives its forward pass. */
export function keptOf(activations: BlockActivations, parts: number): Partial<BlockActivations> {
  const names = [...ALWAYS, ...PARTS.slice(0, parts).flat()];
  return Object.fromEntries(names.map((name) => [name, activations[name]]));
}
