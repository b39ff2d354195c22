// What is about to be computed, as far as it decides which variant of a kernel is the fastest.
import type { TrainConfig } from "../../config.ts";
import type { KernelsRequest, KernelTable } from "../../engine.ts";
import type { AdapterTarget } from "../../formats/peft.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { TrialSizes } from "../../kernels/tunable.ts";
import type { Architecture } from "../../model/architecture.ts";
import { chunkSizes } from "../../model/prefill-plan.ts";
import { actOf, type LoadOptions } from "../load-model.ts";
import type { Tuner, Work } from "./tune.ts";

export function trainingWork(gpu: Gpu, config: TrainConfig, architecture: Architecture): Work {
  const sizes = {
    ...sizesOf(architecture),
    rank: config.lora.r,
    tokens: config.max_length * config.batch_size,
    act: actOf(gpu, config.compute_dtype),
  };
  const answers = config.evaluation_inputs.length > 0;
  return { sizes, uses: answers ? ["training", "generation"] : ["training"] };
}

/** A model that reads or writes, with an adapter or without. */
export function inferenceWork(
  gpu: Gpu,
  architecture: Architecture,
  { computeDtype = "auto", targets = [], ...rows }: InferenceOptions,
): Work {
  const sizes = {
    ...sizesOf(architecture),
    rank: targets.reduce((most, { rank }) => Math.max(most, rank), 0),
    tokens:
      "tokens" in rows
        ? rows.tokens
        : Math.max(...chunkSizes(gpu.info.isFallbackAdapter, rows.capacity)),
    act: actOf(gpu, computeDtype),
  };
  return { sizes, uses: "tokens" in rows ? [] : ["generation"] };
}

/** `tokens`: rows of a pass that only reads. `capacity`: tokens of prompt and answer, of one that writes. */
type InferenceOptions = {
  readonly computeDtype?: LoadOptions["computeDtype"] | undefined;
  readonly targets?: readonly AdapterTarget[] | undefined;
} & ({ readonly tokens: number } | { readonly capacity: number });

function sizesOf(architecture: Architecture): Omit<TrialSizes, "rank" | "tokens" | "act"> {
  const { hidden, intermediate, heads, kvHeads, headSize } = architecture;
  return { hidden, intermediate, heads, kvHeads, headSize };
}

/** A model of one to two billion parameters, and rows of 2,048 tokens. */
const TYPICAL = {
  hidden: 2048,
  intermediate: 8192,
  heads: 32,
  kvHeads: 8,
  headSize: 64,
  rank: 16,
  tokens: 2048,
} as const;

/** What software gets through in a minute or so. */
const SMALL = {
  hidden: 256,
  intermediate: 512,
  heads: 4,
  kvHeads: 2,
  headSize: 64,
  rank: 16,
  tokens: 128,
} as const;

export async function tellKernels(
  gpu: Gpu,
  tuner: Tuner,
  { sizes, tune, onTrying, signal }: KernelsRequest = {},
): Promise<KernelTable> {
  const act = actOf(gpu, "auto");
  const own = sizes ?? { ...(gpu.info.isFallbackAdapter ? SMALL : TYPICAL), act };
  const work: Work = { sizes: own, uses: ["training", "generation"] };
  return tuner.table(gpu, work, tune, { onTrying, signal });
}
