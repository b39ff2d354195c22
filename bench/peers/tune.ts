// The variants of Hone's kernels for a comparison's sizes, found as every command finds them.
import { type TuneMode, Tuner } from "../../src/engine/tuning/tune.ts";
import type { Choices } from "../../src/gpu/choices.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { nodeHost } from "../../src/hosts/node.ts";
import type { AdapterChoice } from "../../src/hosts/node-gpu.ts";
import type { TrialSizes } from "../../src/kernels/tunable.ts";

/** Finds the choices for what is about to be recorded on `gpu`, and has its recorders use them. */
export type Tune = (gpu: Gpu, sizes: TrialSizes) => Promise<Choices>;

export function tuning(adapter: AdapterChoice, mode: TuneMode): Tune {
  const tuner = new Tuner(nodeHost({ adapter }), { mode });
  return async (gpu, sizes) => {
    gpu.choices = await tuner.choose(gpu, { sizes, uses: ["training", "generation"] });
    return gpu.choices;
  };
}
