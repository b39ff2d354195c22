// Subgroups and what they multiply: the names WebGPU has for them, and what an adapter tells of them.
import type { Gpu } from "./device.ts";

/** Matrices that a subgroup multiplies together: experimental in Dawn and Chromium, under this name alone. */
export const SUBGROUP_MATRIX = {
  feature: "chromium-experimental-subgroup-matrix",
  enable: "chromium_experimental_subgroup_matrix",
} as const;

export const SUBGROUPS = { feature: "subgroups", enable: "subgroups" } as const;

/** `@subgroup_size` in shaders. */
export const SUBGROUP_SIZE = {
  feature: "subgroup-size-control",
  enable: "subgroup_size_control",
} as const;

/**
 * How shaders that count on subgroups of so many lanes get them: "whole" where all are of that size, "sized" where
 * it is asked for; undefined where they cannot.
 */
export function subgroupsOf(gpu: Gpu, lanes: number): "whole" | "sized" | undefined {
  const { subgroupMinSize: least = 0, subgroupMaxSize: most = 0 } = gpu.info;
  if (!gpu.hasSubgroups) return undefined;
  if (least === lanes && most === lanes) return "whole";
  return gpu.hasSubgroupSizes && least <= lanes && lanes <= most ? "sized" : undefined;
}

/** A size of matrices that an adapter multiplies: left [M, K] · right [K, N], added to a result [M, N]. */
export interface SubgroupMatrixConfig {
  /** Of left and right; we use "f16" and "f32". */
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What this adapter multiplies; nothing where WebGPU tells of none. */
export function matrixConfigsOf(info: GPUAdapterInfo): readonly SubgroupMatrixConfig[] {
  const { subgroupMatrixConfigs } = info as Experimental;
  return [...(subgroupMatrixConfigs ?? [])].map(
    // Plain objects: those of WebGPU have their fields on a prototype.
    ({ componentType, resultComponentType, M, N, K }) => {
      return { componentType, resultComponentType, M, N, K };
    },
  );
}

interface Experimental {
  readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig>;
}
