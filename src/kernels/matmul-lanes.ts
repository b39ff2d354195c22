// Products with a frozen weight for adapters that pay for loads, not for multiplications: software ones with
// subgroups of 8 lanes or more.
import type { Gpu } from "../gpu/device.ts";
import { workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUPS } from "../gpu/subgroups.ts";
import shader from "../../shaders/matmul-lanes.wgsl?raw";
import { type Product, productShaders } from "./matmul-operands.ts";

export const LANES_VARIANT = "lanes 8x4";

// Lanes of a workgroup, and rows of the result that it makes; and columns: four a lane.
const LANES = 8;
const COLUMNS = 32;

/** Whether this is what products are made with where nothing was tried: nothing is tried on software adapters. */
export function prefersLanes({ hasSubgroups, info }: Gpu): boolean {
  const { isFallbackAdapter, subgroupMinSize = 0 } = info;
  return hasSubgroups && isFallbackAdapter && subgroupMinSize >= LANES;
}

const shaderFor = productShaders({
  label: "matmul-lanes",
  files: [shader],
  enables: [SUBGROUPS.enable],
});

/** Records a product in this variant. False if `variant` is another, or the device cannot run it. */
export function recordLanes(recorder: Recorder, product: Product, variant: string): boolean {
  const { hasSubgroups, info } = recorder.gpu;
  const canRun = hasSubgroups && (info.subgroupMinSize ?? 0) >= LANES;
  if (variant !== LANES_VARIANT || !canRun) return false;
  const { entry, types, constants, buffers, params, rows, columns, flops } = product;
  recorder.dispatch(shaderFor(product), {
    entry,
    types: { ...types, Shared: "f32" },
    constants,
    buffers,
    params,
    grid: [workgroups(columns, COLUMNS), workgroups(rows, LANES)],
    flops,
  });
  return true;
}
