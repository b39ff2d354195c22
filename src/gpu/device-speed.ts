// How fast a device is, as far as it is known before a program was timed: what its first run is cut by.
import type { Gpu } from "./device.ts";

/** What an adapter is taken for of which nothing is known: a slow one. In operations a second. */
const UNKNOWN = 1e9;

/** A program that was never timed may be so much slower than the one of its device that was. */
const CAUTION = 8;

/** Runs of less work say more of the way there and back than of the device. */
const WORTH_SEEING = 1e7;

/** What the last program that was timed did on a device. */
const timed = new WeakMap<Gpu, number>();

/** The most that was seen of a device on which none was timed yet: as weights are quantized, for instance. */
const seen = new WeakMap<Gpu, number>();

/** What a program that was never timed may be expected to do at the least. */
export function cautiousSpeed(gpu: Gpu): number {
  return Math.max(UNKNOWN, (timed.get(gpu) ?? seen.get(gpu) ?? 0) / CAUTION);
}

export function setTimedSpeed(gpu: Gpu, speed: number): void {
  timed.set(gpu, speed);
}

/**
 * Where no program was timed yet, sees when one is done that was just submitted, and that nobody waits for.
 * What was queued before it, and the way back, are taken for its time too: that errs on the slow side, and so
 * on that of short submits. `begun` is by performance.now().
 */
export function watchRun(gpu: Gpu, begun: number, work: number): void {
  if (timed.has(gpu) || work < WORTH_SEEING || gpu.onlyCounts) return;
  const see = () => {
    const seconds = (performance.now() - begun) / 1000;
    const speed = work / Math.max(seconds, 1e-4); // some clocks are coarse
    seen.set(gpu, Math.max(speed, seen.get(gpu) ?? 0));
  };
  gpu.device.queue.onSubmittedWorkDone().then(see, () => {});
}
