// Products with a frozen weight for adapters that pay for loads, not for multiplications: software ones with
// subgroups of 4 lanes or more.
import type { Gpu } from "../gpu/device.ts";
import { MAX_WORKGROUPS, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUPS } from "../gpu/subgroups.ts";
import shader from "../../shaders/matmul-lanes.wgsl?raw";
import { type Product, productShaders } from "./matmul-operands.ts";

export const LANES_VARIANT = "lanes 8x4";

// What a workgroup of 8 lanes makes of the result: four columns a lane.
const ROWS = 8;
const COLUMNS = 32;

/** Lanes that hand rows to each other: 8 or 4, and 0 where subgroups may be smaller or are not there. */
export function lanesOf({ hasSubgroups, info }: Gpu): number {
  const { subgroupMinSize = 0 } = info;
  if (!hasSubgroups || subgroupMinSize < 4) return 0;
  return subgroupMinSize < 8 ? 4 : 8;
}

/** What products are made with on software, where nothing is tried; undefined on a GPU, and without subgroups. */
export function untriedVariant(gpu: Gpu): string | undefined {
  return gpu.info.isFallbackAdapter && lanesOf(gpu) > 0 ? LANES_VARIANT : undefined;
}

const shaderFor = productShaders({
  label: "matmul-lanes",
  files: [shader],
  enables: [SUBGROUPS.enable],
});

/** Records a product in this variant. False if `variant` is another, or the device cannot run it. */
export function recordLanes(recorder: Recorder, product: Product, variant: string): boolean {
  const lanes = lanesOf(recorder.gpu);
  if (variant !== LANES_VARIANT || lanes === 0) return false;
  const { entry, types, constants, buffers, params, rows, columns, flops } = product;
  const [across, down] = [workgroups(columns, COLUMNS), workgroups(rows, ROWS)];
  if (down > MAX_WORKGROUPS) return false; // others make more rows in one
  recorder.dispatch(shaderFor(product), {
    entry,
    types: { ...types, Shared: "f32" },
    constants: { ...constants, LANES: lanes },
    buffers,
    params,
    grid: [across, down],
    flops,
  });
  return true;
}
