// The low-rank side path for adapters with thousands of threads; kernels/lora.ts records it.
import { invariant } from "../base/error.ts";
import dropoutLib from "../../shaders/lib/dropout.wgsl?raw";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import loraLib from "../../shaders/lib/lora.wgsl?raw";
import stepLib from "../../shaders/lib/step.wgsl?raw";
import sumLanesLib from "../../shaders/lib/sum-lanes.wgsl?raw";
import lanesShader from "../../shaders/lora-lanes.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import type { Shader } from "../gpu/kernel.ts";
import { LORA_OPERANDS } from "./lora-operands.ts";

export const loraLanes = {
  label: "lora-lanes",
  source: [stepLib, dropoutLib, gridLib, sumLanesLib, loraLib, lanesShader],
  ...LORA_OPERANDS,
} as const satisfies Shader<string, string>;

const THREADS = 256;

const LANES_OF: Readonly<Record<string, number>> = {
  "lanes 16": 16,
  "lanes 32": 32,
  "lanes 64": 64,
};

/** What runs where nothing was tried. */
export function untriedVariant({ info }: Gpu): string {
  return info.isFallbackAdapter ? "direct" : "lanes 32";
}

/** How the chosen variant deals the inner dimension out; undefined for the direct one. */
export function splitOf(gpu: Gpu, choice = "", rank: number, rows = Infinity) {
  const isKnown = choice === "direct" || choice in LANES_OF;
  const chosen = LANES_OF[isKnown ? choice : untriedVariant(gpu)];
  if (chosen === undefined) return undefined;
  invariant(rank > 0 && rank % 4 === 0, () => `lora: rank ${rank} is no multiple of 4`);
  // Few rows are one tile: all threads of its workgroup share it.
  const laneCount = rows <= 4 ? THREADS : chosen;
  // A block of 16 ranks for any rank that fills more than half of one.
  const quads = rank > 8 ? 4 : rank / 4;
  return {
    constants: { THREADS, LANES: laneCount, QUADS: quads },
    /** Tiles of a workgroup. */
    columns: THREADS / laneCount,
    quads,
    rankBlocks: Math.ceil(rank / (4 * quads)),
  };
}
