// What is known of a kernel's variants, what of them there is still to try, and how the one grows by the other.
import { isRisky } from "../../kernels/tunable.ts";
import type { TuneMode } from "./tune.ts";
import type { KnownTrial } from "./kernel-cache.ts";
import type { SlotTrial, VariantTrial } from "./try-variants.ts";

/**
 * A kernel whose trying was not ended so often is left alone: a driver may take the process with it. So is a variant
 * that the time was too short for so often, though it was begun.
 */
export const MOST_UNENDED = 2;
const CRASHED = {
  kind: "crashed",
  words: "the program ended, or lost the GPU, twice while variants of this kernel were tried",
} as const;

/** What came of a turn. lost: the device was, over what all variants share. left: nothing was found. */
export type Came = KnownTrial | "begun" | "left" | "lost";

/** Joins what a turn found to what was known of the kernel before. */
export function cameOf(
  { trial, isLost }: TurnEnd,
  names: readonly string[],
  known: KnownTrial | undefined,
  isFull: boolean,
): Came {
  // Memory for the operands, a device that was lost: it may be otherwise the next time, so it is told, not kept.
  if (!isSound(trial)) return isLost ? "lost" : { ...merged(trial, names, undefined), isFull };
  const joined = merged(trial, names, known);
  const hasNews = joined.variants.some(({ seconds, fault, begun }) => seconds ?? fault ?? begun);
  return hasNews ? { ...joined, isFull } : "left";
}

function merged(
  trial: SlotTrial,
  names: readonly string[],
  known: KnownTrial | undefined,
): SlotTrial {
  const [now, before] = [trial, known].map(
    (one) => new Map(one?.variants.map((variant) => [variant.name, variant])),
  );
  const variants = names.map((name): VariantTrial => {
    const [fresh, old] = [now?.get(name), before?.get(name)];
    if (fresh && isTried(fresh)) return fresh;
    if (old && isTried(old)) return old;
    const begun = (fresh?.begun ?? 0) + (old?.begun ?? 0);
    return begun > 0 ? { name, begun } : { name };
  });
  const held = known?.chosen;
  const fresh = held === undefined ? undefined : now?.get(held);
  // What had won and was not timed again has won still.
  const keeps = held !== undefined && !(fresh && isTried(fresh));
  return { slot: trial.slot, variants, chosen: keeps ? held : trial.chosen };
}

/**
 * What is tried in a turn: the first variant and the best so far, to compare with, and those of which nothing is
 * known. Risky ones have a turn of their own, when what the others came to is written down.
 */
export function turnOf(
  names: readonly string[],
  known: KnownTrial | undefined,
  isRiskyTurn: boolean,
): readonly string[] {
  const [first = ""] = names;
  const settled = new Set(known?.variants.filter(isSettled).map(({ name }) => name));
  const open = names.slice(1).filter((name) => !settled.has(name) && isRisky(name) === isRiskyTurn);
  return open.length === 0 ? [] : [...new Set([first, known?.chosen ?? first, ...open])];
}

export interface TurnEnd {
  readonly trial: SlotTrial;
  /** Whether the device was lost, and no variant but the first is to blame. */
  readonly isLost: boolean;
}

/** Whether what is known of a kernel was tried as thoroughly as is asked for, with all the variants of now. */
export function answers(
  trial: KnownTrial | undefined,
  names: readonly string[],
  mode: TuneMode,
): boolean {
  if (!trial || !isOf(trial, names) || (mode === "full" && !trial.isFull)) return false;
  return trial.variants.slice(1).every(isSettled);
}

/** A trial that can be gone on from. */
export function usable(
  trial: KnownTrial | undefined,
  names: readonly string[],
  mode: TuneMode,
): KnownTrial | undefined {
  if (!trial || !isOf(trial, names) || !isSound(trial)) return undefined;
  return mode === "full" && !trial.isFull ? undefined : trial;
}

export function isOf({ variants }: SlotTrial, names: readonly string[]): boolean {
  return JSON.stringify(variants.map(({ name }) => name)) === JSON.stringify(names);
}

/** Whether the first variant ran, with which all others are compared. */
export function isSound({ variants: [first] }: SlotTrial): boolean {
  return first?.fault === undefined;
}

export function isTried({ seconds, fault }: VariantTrial): boolean {
  return seconds !== undefined || fault !== undefined;
}

/** Whether there is nothing more to find out about a variant. */
function isSettled(variant: VariantTrial): boolean {
  return isTried(variant) || (variant.begun ?? 0) >= MOST_UNENDED;
}

/** A kernel that is left alone: what is not known of it by now is taken to be the cause. */
export function crashed(
  slot: string,
  names: readonly string[],
  known: KnownTrial | undefined,
): KnownTrial {
  const before = known && isOf(known, names) ? known : undefined;
  const [first = ""] = names;
  const variants = names.map((name, index): VariantTrial => {
    const variant = before?.variants[index] ?? { name };
    return index === 0 || isTried(variant) ? variant : { name, fault: CRASHED };
  });
  return { slot, variants, chosen: before?.chosen ?? first, isFull: before?.isFull ?? true };
}
