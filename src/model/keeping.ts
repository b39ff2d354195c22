// What a training program keeps of its forward pass, and what it makes again for the backward pass.
//
// Kept or made again, the numbers are the same to the bit: the same kernels read the same operands. What to
// keep is therefore a question of memory and time alone, and a resumed run may answer it anew.
import type { BlockActivations } from "./block.ts";

/**
 * What a layer may keep besides its input and the adapter's h of each map, in the order of the time that a byte saves:
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

const LOW_RANK = ["qkvH", "attendedH", "gateUpH", "hiddenH"] as const;

/** What is kept of each layer, and of the running again of one. */
export interface Keeping {
  /** Whether layers keep the adapter's h: as many f32 numbers a token as all ranks of a layer together. */
  readonly lowRank: boolean;
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

/** What of each of `layers` layers is kept. */
export function keepingOf(checkpointing: Checkpointing, layers: number): Keeping {
  if (typeof checkpointing !== "boolean") return checkpointing;
  const parts = Array<number>(layers).fill(checkpointing ? 0 : PARTS.length);
  return { lowRank: !checkpointing, parts, expandedWeights: false };
}

/**
 * How many ways of keeping there are, from 0, the least, to all. Each keeps more than the one before: first
 * the adapter's h; then expanded weights, one layer's worth of memory that saves time in all; then part after
 * part, of the top layer first, whose backward pass gives the memory back soonest.
 */
export function countKeepings(layers: number): number {
  return layers * PARTS.length + 1 + KEEPING_WEIGHTS;
}

/** The index of the least way that keeps expanded weights. */
export const KEEPING_WEIGHTS = 2;

/** The way of keeping at `index` of those that `countKeepings` counts. */
export function keepingAt(index: number, layers: number): Keeping {
  const steps = Math.max(0, index - KEEPING_WEIGHTS);
  const whole = Math.floor(steps / layers);
  const isAhead = (layer: number) => layer >= layers - (steps % layers);
  const parts = Array.from({ length: layers }, (_, layer) => whole + (isAhead(layer) ? 1 : 0));
  return { lowRank: index > 0, parts, expandedWeights: index >= KEEPING_WEIGHTS };
}

/** What is kept, for people. */
export function describeKeeping(checkpointing: Checkpointing, layers: number): string {
  if (!repeats(checkpointing)) return "everything";
  const { lowRank, expandedWeights, parts } = keepingOf(checkpointing, layers);
  return [
    "the input of every layer",
    ...(lowRank ? ["the adapter's h"] : []),
    ...(expandedWeights ? ["expanded weights of one layer"] : []),
    ...PARTS.flatMap((names, index) => {
      const count = parts.filter((kept) => kept > index).length;
      return count > 0 ? [`${names.join(" and ")} of ${count} layers`] : [];
    }),
  ].join(", ");
}

/** Whether any part of a layer is run again. */
export function repeats(checkpointing: Checkpointing): boolean {
  if (typeof checkpointing === "boolean") return checkpointing;
  return checkpointing.parts.some((kept) => kept < PARTS.length);
}

/** The part of a layer's activations that outlives its forward pass; its input always does. */
export function keptOf(
  activations: BlockActivations,
  { lowRank, parts }: Keeping,
  layer: number,
): Partial<BlockActivations> & Pick<BlockActivations, "x"> {
  const names = [...(lowRank ? LOW_RANK : []), ...PARTS.slice(0, parts[layer]).flat()];
  const kept = Object.fromEntries(names.map((name) => [name, activations[name]]));
  return { ...kept, x: activations.x };
}
