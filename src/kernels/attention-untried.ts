// What attention is made with where nothing was tried, because the time was too short or none was to be taken.
//
// The direct kernels read keys anew for every query head. A processor's caches keep up with that, a GPU's do not:
// it takes tiles, and of those that its workgroup memory holds the one that takes least of it.
import type { Gpu } from "../gpu/device.ts";
import { untriedVariant as untriedLanes } from "./attention-lanes.ts";
import { backwardTiles } from "./attention-tile-backward.ts";
import { forwardTiles } from "./attention-tile.ts";

// Every tile is right for heads of every length: those that a slice is longer than have zeros behind them.
const ANY_SIZE = Infinity;

/** Training's forward pass. */
export function untriedForward(gpu: Gpu, act: "f32" | "f16"): string {
  return untriedLanes(gpu) ?? tileOf(gpu, forwardTiles(gpu, act, ANY_SIZE));
}

/** Training's backward pass. */
export function untriedBackward(gpu: Gpu, act: "f32" | "f16"): string {
  return untriedLanes(gpu) ?? tileOf(gpu, backwardTiles(gpu, act, ANY_SIZE));
}

/** A forward pass whose choice is one for both types of activations: the first tile that is offered to either. */
export function untriedShared(gpu: Gpu): string {
  const forF16 = forwardTiles(gpu, "f16", ANY_SIZE);
  const forBoth = forwardTiles(gpu, "f32", ANY_SIZE).filter((name) => forF16.includes(name));
  return tileOf(gpu, forBoth);
}

function tileOf({ info }: Gpu, [first = "direct"]: readonly string[]): string {
  return info.isFallbackAdapter ? "direct" : first;
}
