// What products with a frozen weight are made with where nothing was tried: the time was too short, or none was to be
// taken.
import type { Gpu } from "../gpu/device.ts";
import { untriedVariant as untriedLanes } from "./matmul-lanes.ts";
import { tileVariants } from "./matmul-tile.ts";

/**
 * Lanes on software that has them, tiles on a GPU: the direct kernel reads every operand from memory, which a
 * processor's caches keep up with, and a GPU's do not. `type` is the one that the product is made in.
 */
export function untriedProduct(gpu: Gpu, type: "f32" | "f16"): string {
  const [tile] = gpu.info.isFallbackAdapter ? [] : tileVariants(gpu, type);
  return untriedLanes(gpu) ?? tile ?? "direct";
}
