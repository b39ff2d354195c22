// Which variants of the kernels a piece of work uses: found by trying on the adapter at hand, and kept.
//
// Trying is on a device of its own, so that a variant that a driver falls over takes no run with it. It may take
// the process: what is about to be tried is written down before, and is left alone when that has happened twice.
// What the time was too short for is tried at the next start, which goes on from what is known.
import type { Host, KernelTable } from "../../engine.ts";
import type { Choices } from "../../gpu/choices.ts";
import { DeviceLostError, type Gpu, type GpuOptions, openGpu } from "../../gpu/device.ts";
import type { TrialSizes, Tunable } from "../../kernels/tunable.ts";
import { TUNABLES } from "../../kernels/tunables.ts";
import { KernelCache, type KnownTrial, type KnownTrials } from "./kernel-cache.ts";
import {
  answers,
  type Came,
  cameOf,
  crashed,
  isOf,
  isSound,
  isTried,
  MOST_UNENDED,
  turnOf,
  type TurnEnd,
  usable,
} from "./known-variants.ts";
import { seldom } from "../seldom.ts";
import {
  type Fault,
  type SlotTrial,
  type TryOptions,
  tryVariants,
  type VariantTrial,
} from "./try-variants.ts";

/** off: what kernels take untried. quick: tried in seconds, on real GPUs. full: all, for as long as it takes. */
export type TuneMode = "off" | "quick" | "full";

/** Names the kernels of this build. */
export const KERNELS_ID: string = KERNELS_BUILD;

/** What is about to be computed. */
export interface Work {
  readonly sizes: TrialSizes;
  /** Kernels that are of no use to it are not tried. */
  readonly uses: readonly ("training" | "generation")[];
}

/** `kernel` tells what is tried now, if anything still is, and what came of the last. */
export type OnTrying = (done: number, total: number, kernel: Trying) => void;

export interface Trying {
  readonly slot?: string;
  /** How much of its trying is done, 0 to 1; not there when it begins. */
  readonly share?: number;
  readonly last?: SlotTrial;
}

export interface Listener {
  /** Called when there is something to try, with 0, after each kernel, and as one comes on. */
  readonly onTrying?: OnTrying | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TunerOptions {
  readonly mode?: TuneMode;
  readonly gpu?: GpuOptions;
  readonly tunables?: readonly Tunable[];
  readonly kernels?: string;
}

/** A driver's reset over a variant took the device of the work too, before that was begun. */
export class LostInTrialError extends DeviceLostError {
  constructor() {
    super("while kernel variants were tried", "");
  }
}

/** Milliseconds after which `quick` starts nothing more. */
const BUDGET = 5000;
/** Bytes of a result that `quick` checks: with more, the host would take longer to compare than the GPU to run. */
const QUICK_BYTES = 2 ** 20;

export class Tuner {
  readonly mode: TuneMode;
  readonly #host: Host;
  readonly #options: GpuOptions;
  readonly #tunables: readonly Tunable[];
  readonly #kernels: string;

  constructor(
    host: Host,
    { mode = "quick", gpu = {}, tunables = TUNABLES, kernels = KERNELS_ID }: TunerOptions = {},
  ) {
    this.mode = mode;
    this.#host = host;
    this.#options = gpu;
    this.#tunables = tunables;
    this.#kernels = kernels;
  }

  /**
   * The choices for a piece of work on `gpu`, tried now where they are not known yet. Kernels that were not tried
   * are not in them. Throws an AbortedError or a LostInTrialError alone.
   */
  async choose(gpu: Gpu, work: Work, listener: Listener = {}): Promise<Choices> {
    if (!triesOn(gpu, this.mode)) return {};
    const { slots } = await this.#know(gpu, work, this.mode, listener);
    if (gpu.isLost) throw new LostInTrialError();
    return this.#choicesOf(gpu, slots);
  }

  /** What is known of these sizes on `gpu`; with `mode` what is not known is tried, or all of it anew. */
  async table(gpu: Gpu, work: Work, mode?: TuneMode, listener?: Listener): Promise<KernelTable> {
    const own = this.#wanted(gpu, work).map(({ tunable, slot, names }) => ({
      slot,
      names,
      untried: untriedOf(gpu, tunable, names),
    }));
    const cache = this.#cache(gpu);
    const tries = mode !== undefined && triesOn(gpu, mode);
    const known = tries
      ? [await this.#know(gpu, work, mode, listener ?? {}, { anew: true })]
      : await cache.readAll();
    return {
      adapterName: gpu.name,
      kernels: this.#kernels,
      why: whyNot(gpu, mode ?? this.mode),
      slots: own,
      tried: known.map(({ sizes, slots, unended }) => ({
        sizes,
        slots,
        unended: Object.keys(unended).filter((slot) => !slots.some((trial) => trial.slot === slot)),
      })),
    };
  }

  /** Whether all of these choices, made at another time, are among what `gpu` might run. */
  canRun(gpu: Gpu, { sizes }: Work, choices: Choices): boolean {
    const tunables = new Map(this.#tunables.map((tunable) => [tunable.slot, tunable]));
    return Object.entries(choices).every(([slot, name]) =>
      tunables.get(slot)?.candidates(gpu, sizes).includes(name),
    );
  }

  /** The first variants too, where they won: what runs is what was measured, whatever a kernel's own default is. */
  #choicesOf(gpu: Gpu, slots: readonly KnownTrial[]): Choices {
    const tunables = new Map(this.#tunables.map((tunable) => [tunable.slot, tunable]));
    return Object.fromEntries(
      slots
        .filter((trial) => isDecided(gpu, tunables.get(trial.slot), trial))
        .map(({ slot, chosen }): [string, string] => [slot, chosen])
        .toSorted(([a], [b]) => (a < b ? -1 : 1)),
    );
  }

  #cache(gpu: Gpu): KernelCache {
    return new KernelCache(this.#host, gpu, this.#kernels);
  }

  /** The kernels that have a choice on this adapter and are of use. */
  #wanted(gpu: Gpu, { sizes, uses }: Work): Wanted[] {
    return this.#tunables
      .filter(({ use }) => use === undefined || uses.includes(use))
      .map((tunable) => ({
        tunable,
        slot: tunable.slot,
        names: tunable.candidates(gpu, sizes),
      }))
      .filter(({ names }) => names.length > 1);
  }

  async #know(
    gpu: Gpu,
    work: Work,
    mode: TuneMode,
    listener: Listener,
    { anew = false } = {},
  ): Promise<KnownTrials> {
    const { sizes } = work;
    const wanted = this.#wanted(gpu, work);
    const cache = this.#cache(gpu);
    const kept = await cache.read(sizes);
    const slots = new Map(kept?.slots.map((trial) => [trial.slot, trial]));
    const unended = new Map(anew ? [] : Object.entries(kept?.unended ?? {}));
    const isLeftAlone = (slot: string) => (unended.get(slot) ?? 0) >= MOST_UNENDED;
    for (const { slot, names } of wanted) {
      if (isLeftAlone(slot)) slots.set(slot, crashed(slot, names, slots.get(slot)));
    }
    const missing = wanted
      .filter(({ slot, names }) => {
        return anew || (!isLeftAlone(slot) && !answers(slots.get(slot), names, mode));
      })
      .map((next) => ({
        ...next,
        known: anew ? undefined : usable(slots.get(next.slot), next.names, mode),
      }));
    const save = () => {
      const sound = [...slots.values()].filter(isSound);
      return cache.write({ sizes, slots: sound, unended: Object.fromEntries(unended) });
    };
    // A kernel that others take part in is tried with what was found for them: they stand before it.
    const choicesSoFar = () => this.#choicesOf(gpu, [...slots.values()]);
    await this.#try(missing, sizes, mode, listener, choicesSoFar, async (slot, came) => {
      // Written down before, so that the next start knows of it if this one does not live to tell.
      if (came === "begun") unended.set(slot, (unended.get(slot) ?? 0) + 1);
      else if (came !== "lost") unended.delete(slot);
      if (typeof came === "object") slots.set(slot, came);
      await save();
    });
    const known = wanted.flatMap(({ slot, names }) => {
      const trial = slots.get(slot);
      return trial && isOf(trial, names) ? [trial] : [];
    });
    return { sizes, slots: known, unended: Object.fromEntries(unended) };
  }

  /** Tries kernel after kernel until all are done or the time is up. */
  async #try(
    missing: readonly Missing[],
    sizes: TrialSizes,
    mode: TuneMode,
    { onTrying, signal }: Listener,
    choicesSoFar: () => Choices,
    note: (slot: string, came: Came) => Promise<void>,
  ): Promise<void> {
    if (missing.length === 0) return;
    const { now } = this.#host;
    const isFull = mode === "full";
    const end = isFull ? Infinity : now() + BUDGET;
    const checkedBytes = isFull ? Infinity : QUICK_BYTES;
    const options = { now, isOver: () => now() > end, checkedBytes, signal };
    const device = new OwnDevice(this.#host, this.#options);
    const { tell } = seldom((done: number, slot: string, share: number) => {
      onTrying?.(done, missing.length, { slot, share });
    });
    let last: SlotTrial | undefined;
    try {
      for (const [done, { known, ...wanted }] of missing.entries()) {
        const { slot } = wanted;
        onTrying?.(done, missing.length, { slot, ...(last && { last }) });
        last = undefined;
        let found = known;
        const plain = shareOfPlain(wanted.names, known);
        for (const isRiskyTurn of [false, true]) {
          const names = turnOf(wanted.names, found, isRiskyTurn);
          if (options.isOver() || names.length < 2) continue;
          const [from, to] = isRiskyTurn ? [plain, 1] : [0, plain];
          const onShare = (share: number) => tell(done, slot, from + share * (to - from));
          await note(slot, "begun");
          let came: Came = "left";
          try {
            const part = { ...wanted, names };
            const choices = choicesSoFar();
            const turn = await trySlot(device, part, sizes, { ...options, choices, onShare });
            if (turn) came = cameOf(turn, wanted.names, found, isFull);
          } finally {
            await note(slot, came);
          }
          if (typeof came === "object") last = came;
          if (typeof came !== "object" || !isSound(came)) break;
          found = came;
        }
      }
      onTrying?.(missing.length, missing.length, { ...(last && { last }) });
    } finally {
      device.close();
    }
  }
}

/** How much of a kernel's trying its first turn is. */
function shareOfPlain(names: readonly string[], known: KnownTrial | undefined): number {
  const [plain = 0, risky = 0] = [false, true].map(
    (isRisky) => turnOf(names, known, isRisky).length,
  );
  return plain / Math.max(1, plain + risky);
}

/** A device that may be lost, and is then opened anew. */
class OwnDevice {
  readonly #host: Host;
  readonly #options: GpuOptions;
  #gpu: Gpu | undefined;
  /** What was being compiled on it last. */
  #compiling: Promise<unknown> = Promise.resolve();

  constructor(host: Host, options: GpuOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** Undefined where there is no second device to be had. */
  async open(): Promise<Gpu | undefined> {
    if (this.#gpu && !this.#gpu.isLost) return this.#gpu;
    this.close();
    this.#gpu = undefined;
    try {
      this.#gpu = await openGpu(await this.#host.requestAdapter(), this.#options);
    } catch {
      // Then nothing is tried.
    }
    return this.#gpu;
  }

  /** To be told what is compiled on it. */
  readonly compiles = (work: Promise<unknown>): void => {
    this.#compiling = Promise.allSettled([this.#compiling, work]);
  };

  /**
   * Closes it when nothing is under way on it any more. Destroyed before, it would hold up the whole thread until
   * compilers, which may take minutes, and the GPU are done.
   */
  close(): void {
    const gpu = this.#gpu;
    if (!gpu) return;
    const idle = [this.#compiling, gpu.device.queue.onSubmittedWorkDone()];
    void Promise.allSettled(idle).then(() => gpu.abandon()); // never rejects
  }
}

/** Tries one kernel; where the device is lost over a variant, again without that. */
async function trySlot(
  device: OwnDevice,
  { tunable, names }: Wanted,
  sizes: TrialSizes,
  options: TryOptions,
): Promise<TurnEnd | undefined> {
  const dropped = new Map<string, Fault>();
  for (;;) {
    const gpu = await device.open();
    if (!gpu) return undefined;
    const left = names.filter((name) => !dropped.has(name));
    const part = { ...tunable, candidates: () => left };
    const trial = await tryVariants(gpu, part, sizes, {
      ...options,
      onCompiling: device.compiles,
    });
    const tried = new Map(trial.variants.map((variant) => [variant.name, variant]));
    const variants = names.map((name): VariantTrial => {
      const fault = dropped.get(name);
      return fault === undefined ? (tried.get(name) ?? { name }) : { name, fault };
    });
    const [first, ...others] = trial.variants;
    const faulty = others.flatMap(({ name, fault }) => (fault ? [{ name, fault }] : []));
    if (!gpu.isLost || first?.fault !== undefined || faulty.length === 0) {
      return { trial: { ...trial, variants }, isLost: gpu.isLost };
    }
    for (const { name, fault } of faulty) dropped.set(name, fault);
  }
}

interface Wanted {
  readonly tunable: Tunable;
  readonly slot: string;
  readonly names: readonly string[];
}

interface Missing extends Wanted {
  /** What there is to go on from. */
  readonly known: KnownTrial | undefined;
}

/** Software keeps what its kernels take untried: compiling others takes longer than they could win. */
function triesOn({ info, onlyCounts }: Gpu, mode: TuneMode): boolean {
  if (mode === "off" || onlyCounts) return false;
  return mode === "full" || !info.isFallbackAdapter;
}

function whyNot(gpu: Gpu, mode: TuneMode): KernelTable["why"] {
  if (mode === "off") return "off";
  return triesOn(gpu, mode) ? undefined : "software";
}

/**
 * Whether a trial says what to take. With nothing but the first variant timed it says nothing of the one that the
 * kernel takes untried, which may be better: the time was up, or the first one itself went wrong.
 */
function isDecided(
  gpu: Gpu,
  tunable: Tunable | undefined,
  { variants, chosen }: KnownTrial,
): boolean {
  const names = variants.map(({ name }) => name);
  if (!variants.some(isTried)) return false;
  const [first] = names;
  const untried = tunable ? untriedOf(gpu, tunable, names) : first;
  if (chosen !== first || untried === first) return true;
  const own = variants.find(({ name }) => name === untried);
  return !own || isTried(own);
}

function untriedOf(gpu: Gpu, tunable: Tunable, names: readonly string[]): string {
  return tunable.untried?.(gpu) ?? names[0] ?? "";
}
