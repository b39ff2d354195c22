// A run from its request to its summary: read, load, prepare, train, and tell what happens.
import { throwIfAborted } from "../../base/error.ts";
import type { Host, RunSummary, TrainEvent, TrainRequest } from "../../engine.ts";
import { type Choices, isSameChoice } from "../../gpu/choices.ts";
import { type Gpu, OutOfMemoryError } from "../../gpu/device.ts";
import type { LoraMatrices } from "../../model/adapter.ts";
import { allLinears } from "../../model/linears.ts";
import type { Model } from "../../model/transformer.ts";
import { type CheckpointState, restoreCheckpoint, saveCheckpoint } from "../../train/checkpoint.ts";
import type { MemoryEstimate } from "../../train/memory.ts";
import type { StepPlan } from "../../train/plan.ts";
import { runTraining } from "../../train/run.ts";
import { adapterCompanions } from "../exports/adapter-companions.ts";
import { evaluateRun } from "./evaluate-run.ts";
import { type Prepared, prepareRun } from "./prepare-run.ts";
import { RunLog } from "./run-log.ts";
import { explainOutOfMemory, memoryLimit, planMemory } from "./run-memory.ts";
import { allocateRun, type RunParts } from "./run-parts.ts";
import { KERNELS_ID, Tuner } from "../tuning/tune.ts";
import { trainingWork } from "../tuning/work-sizes.ts";
import { recentSteps } from "./xtuner-log.ts";
import { keepConfig, openXtunerLog } from "./xtuner-run.ts";

export async function train(
  gpu: Gpu,
  host: Host,
  asked: TrainRequest,
  tuner = new Tuner(host, { mode: "off" }),
): Promise<RunSummary> {
  const started = host.now();
  const { prepared, ...first } = await prepareRun(host, asked);
  const { request, opened, evaluationRows, resumed } = prepared;
  const { config, onEvent, signal } = request; // not what was asked: the seed may be the checkpoint's
  const holdsOut = evaluationRows.length > 0;
  // Before kernels are tried: that takes memory too, and may not have given it back.
  const limit = memoryLimit(gpu, config, host.freeGpuBytes?.());
  const choices = await chooseKernels(gpu, prepared, tuner);
  gpu.choices = choices; // what is recorded from now on, and counted before
  const needs = { source: opened, config, holdsOut, isResumed: resumed !== undefined };
  const { checkpointing, memory } = await planMemory(gpu, needs, limit);
  throwIfAborted(signal);

  gpu.peakBytes = gpu.allocatedBytes; // what came before is no part of this run
  let parts: RunParts | undefined;
  try {
    parts = await allocateRun(gpu, opened, { config, checkpointing, holdsOut }, onEvent, signal);
    await startAdapter(parts, prepared, first.matrices);
    delete first.matrices; // as much again as the adapter on the GPU
    return await runPrepared(host, prepared, { ...parts, choices, started, memory });
  } catch (error) {
    parts?.free();
    parts = undefined;
    throw error instanceof OutOfMemoryError
      ? await explainOutOfMemory(gpu, needs, checkpointing === true, error)
      : error;
  } finally {
    parts?.free();
  }
}

/**
 * A run goes on with the choices that it began with, so that its numbers stay the same to the bit, where the
 * adapter and the kernels are the same. `off` is for where a driver computes nonsense, and is obeyed.
 */
async function chooseKernels(
  gpu: Gpu,
  { request: { config, onEvent, signal }, opened, resumed }: Prepared,
  tuner: Tuner,
): Promise<Choices> {
  const work = trainingWork(gpu, config, opened.architecture);
  if (resumed && tuner.mode !== "off" && isOwnMachine(resumed.state, gpu, work.sizes.act)) {
    const { choices = {} } = resumed.state;
    // The same adapter may have fewer features or less memory of a workgroup than it had: toggles, drivers.
    if (tuner.canRun(gpu, work, choices)) return choices;
  }
  return tuner.choose(gpu, work, {
    signal,
    onTrying(done, total, kernel) {
      if (done === 0 && kernel.share === undefined) onEvent({ type: "phase", phase: "tune" });
      onEvent({ type: "tuning", done, total, ...kernel });
    },
  });
}

function isOwnMachine(state: CheckpointState, gpu: Gpu, act: "f32" | "f16"): boolean {
  const { adapterName, computeDtype, kernels } = state;
  return adapterName === gpu.name && computeDtype === act && kernels === KERNELS_ID;
}

async function startAdapter(
  { model, stepper }: RunParts,
  prepared: Prepared,
  matrices: ReadonlyMap<string, LoraMatrices> | undefined,
): Promise<void> {
  const { resumed, opened, request } = prepared;
  const { adapter, gpu } = model;
  if (!adapter) return;
  if (!resumed) {
    if (matrices) adapter.write(matrices);
    else adapter.initialize(request.config.seed);
    return;
  }
  const parts = { gpu, adapter, optimizerState: stepper.state };
  const linears = allLinears(opened.architecture);
  await restoreCheckpoint(parts, request.workDir, resumed.name, resumed.state, linears);
  const difference = differenceFrom(resumed.state, model);
  if (difference === undefined) return;
  request.onEvent({
    type: "warning",
    message: `${difference} the run goes on, but not bit for bit as it would have.`,
  });
}

/** What there is to say of a checkpoint that was made by other means; undefined if it was not. */
function differenceFrom(state: CheckpointState, { gpu, act }: Model): string | undefined {
  const { adapterName, computeDtype, choices = {} } = state;
  if (adapterName !== gpu.name || computeDtype !== act) {
    return `The checkpoint was made on ${adapterName} in ${computeDtype}; on ${gpu.name} in ${act}`;
  }
  if (!isOwnMachine(state, gpu, act)) {
    return "The checkpoint was made by the kernels of another version of Hone; with those of this one";
  }
  return isSameChoice(choices, gpu.choices)
    ? undefined
    : "The checkpoint was made by other variants of the kernels; with those of now";
}

interface RunTools extends RunParts {
  readonly choices: Choices;
  readonly started: number;
  readonly memory: MemoryEstimate;
}

async function runPrepared(host: Host, prepared: Prepared, tools: RunTools): Promise<RunSummary> {
  const { request, batches, plan } = prepared;
  const { model, stepper, started } = tools;
  const log = await openLog(prepared);
  const done = doneBefore(prepared, log);
  await keepConfig(request);
  const { gpu } = model;
  const xtuner =
    plan.unit === "step" ? undefined : await openXtunerLog(host, prepared, gpu, log.recent);
  const onEvent = (event: TrainEvent) => {
    log.take(event);
    request.onEvent(event);
    xtuner?.take(event);
  };
  onEvent({ type: "plan", plan: describePlan(plan, tools, done.step) });
  onEvent({ type: "phase", phase: "train" });
  // Lines that wait are written, whatever happens.
  const flush = async () => {
    await Promise.all([log.flush(), xtuner?.flush()]);
  };
  let timeToFirstStepSeconds = Number.NaN;
  const summary = await runTraining({
    plan,
    stepper,
    batchAt: (index) => batches.at(index),
    done,
    now: host.now,
    signal: request.signal,
    pausing: request.pausing,
    onStep(report) {
      if (Number.isNaN(timeToFirstStepSeconds)) {
        timeToFirstStepSeconds = (host.now() - started) / 1000;
      }
      onEvent({ type: "step", ...report });
    },
    onPause(type, step) {
      onEvent({ type, step });
      if (type === "paused") return;
      // A chat in the meantime has had the same device, with choices of its own.
      gpu.requireSound();
      gpu.choices = tools.choices;
    },
    async evaluate(step, moment) {
      xtuner?.evaluating(moment);
      const isDone = await evaluateRun(host, prepared, tools, { step, moment }, onEvent);
      if (isDone) await xtuner?.evaluated(moment, step, plan.savesAfter(step));
      return isDone;
    },
    async save(progress) {
      xtuner?.saving(progress.step);
      // A checkpoint is not to be ahead of the lines about its steps: a resumed run would not write them.
      await flush();
      return saveRun(host, prepared, tools, progress, onEvent);
    },
  }).catch(async (error: unknown) => {
    await flush();
    throw error;
  });
  await flush();
  return { ...summary, timeToFirstStepSeconds, peakGpuBytes: gpu.peakBytes };
}

function describePlan(
  { steps }: StepPlan,
  { model, stepper, memory }: RunTools,
  firstStep: number,
): Extract<TrainEvent, { type: "plan" }>["plan"] {
  return {
    adapterName: model.gpu.name,
    computeDtype: model.act,
    steps,
    firstStep,
    trainableParameters: model.adapter?.parameterCount ?? 0,
    dispatchesPerMicroBatch: stepper.trainProgram.dispatchCount,
    memory,
  };
}

function openLog({ request, resumed, evaluationRows, plan }: Prepared): Promise<RunLog> {
  const { config, workDir, onEvent } = request;
  const step = resumed?.state.step ?? 0;
  const times = plan.evaluationsAfter(step).length;
  return RunLog.open(workDir, {
    firstStep: step,
    loggingSteps: config.logging_steps,
    evaluation: {
      questions: times * config.evaluation_inputs.length,
      holdsOut: times > 0 && evaluationRows.length > 0,
    },
    recentSteps: recentSteps(config.accumulative_counts),
    onFault: (message) => onEvent({ type: "warning", message }),
  });
}

function doneBefore({ resumed }: Prepared, { isEvaluated }: RunLog) {
  if (!resumed) return { step: 0, tokens: 0, checkpoint: "", isEvaluated };
  const { step, tokens } = resumed.state;
  return { step, tokens, checkpoint: resumed.name, isEvaluated };
}

async function saveRun(
  host: Host,
  { request, chosen, opened, adapterConfig, targets, identity }: Prepared,
  { model, stepper, choices }: RunTools,
  progress: { step: number; microBatches: number; tokens: number },
  onEvent: (event: TrainEvent) => void,
): Promise<string> {
  const { config, workDir } = request;
  const { gpu, adapter, act } = model;
  if (!adapter) throw new Error("internal: a run without an adapter has nothing to save");
  const name = await saveCheckpoint(
    { gpu, adapter, optimizerState: stepper.state },
    {
      workDir,
      state: {
        ...progress,
        adapterName: gpu.name,
        computeDtype: act,
        kernels: KERNELS_ID,
        choices,
        run: identity,
      },
      companions: adapterCompanions({ config, chosen, opened, adapterConfig, targets }),
      limit: config.save_total_limit,
      naming: config.compat === "none" ? "plain" : "xtuner",
      sha256: host.sha256,
    },
  );
  onEvent({ type: "checkpoint", step: progress.step, name });
  return name;
}
