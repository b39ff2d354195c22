// Which cases subgroup matrices themselves are tested on: those that the adapter under test multiplies, if any.
import type { Gpu } from "../../src/gpu/device.ts";
import { matrixVariants, type runsForward } from "../../src/kernels/attention-matrix.ts";
import type { ActivationType } from "../gpu.ts";

/** A case, and the variant it is run in. */
export type UnitCase<T> = T & { readonly variant: string };

/**
 * Each case in each variant that `gpu` offers for its heads and activations of `dtype`; `runs` is that of the pass.
 * Where there is none, `hasNone`, and a case to be seen skipped.
 */
export function unitCases<T extends { readonly headSize: number }>(
  gpu: Gpu,
  runs: typeof runsForward,
  dtype: ActivationType,
  cases: readonly [T, ...T[]],
): { readonly hasNone: boolean; readonly cases: readonly UnitCase<T>[] } {
  const offered = cases.flatMap((shape) =>
    variants(gpu, runs, dtype, shape.headSize).map((variant) => ({ ...shape, variant })),
  );
  const hasNone = offered.length === 0;
  return { hasNone, cases: hasNone ? [{ ...cases[0], variant: "no units" }] : offered };
}

function variants(
  gpu: Gpu,
  runs: typeof runsForward,
  dtype: ActivationType,
  headSize: number,
): readonly string[] {
  if (dtype === "f16" && !gpu.hasF16) return [];
  return matrixVariants(gpu, dtype, (variant) => runs(gpu, variant, headSize));
}
