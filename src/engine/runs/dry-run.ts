// What a run would be, without running it: everything that training does before it takes the GPU, and nothing
// is written. It refuses what training would refuse, by the same functions.
import { throwIfAborted } from "../../base/error.ts";
import type { Forecast, Host, TrainRequest } from "../../engine.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { StepPlan } from "../../train/plan.ts";
import { repeats } from "../../model/keeping.ts";
import { estimateRun } from "./estimate.ts";
import { actOf } from "../load-model.ts";
import { prepareRun } from "./prepare-run.ts";
import { memoryLimit, planMemory } from "./run-memory.ts";

export async function dryRun(gpu: Gpu, host: Host, asked: TrainRequest): Promise<Forecast> {
  const { prepared } = await prepareRun(host, asked);
  const { request, opened, evaluationRows, resumed, plan } = prepared;
  const { config, signal } = request;
  const holdsOut = evaluationRows.length > 0;
  const needs = { source: opened, config, holdsOut, isResumed: resumed !== undefined };
  const limit = memoryLimit(gpu, config, host.freeGpuBytes?.());
  const { checkpointing, memory } = await planMemory(gpu, needs, limit);
  throwIfAborted(signal);
  const size = await estimateRun(gpu, { model: request.model, config, holdsOut });
  return {
    adapterName: gpu.name,
    computeDtype: actOf(gpu, config.compute_dtype),
    unit: plan.unit,
    steps: plan.steps,
    firstStep: resumed?.state.step ?? 0,
    batchesPerEpoch: plan.batchesPerEpoch,
    schedule: scheduleOf(plan),
    memory,
    checkpointing: repeats(checkpointing),
    trainableParameters: size.trainableParameters,
    checkpointBytes: size.checkpointBytes,
  };
}

/** A schedule with more steps than this is looked at here and there only. */
const STEPS_SEEN = 100_000;

function scheduleOf({ steps, learningRate }: StepPlan): Forecast["schedule"] {
  const stride = Math.max(1, Math.ceil(steps / STEPS_SEEN));
  let peakStep = 0;
  for (let step = 0; step < steps; step += stride) {
    if (learningRate(step) > learningRate(peakStep)) peakStep = step;
  }
  return {
    first: learningRate(0),
    peak: learningRate(peakStep),
    peakStep: peakStep + 1,
    last: learningRate(Math.max(0, steps - 1)),
  };
}
