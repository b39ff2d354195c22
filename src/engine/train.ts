// A run from its request to its summary: read, load, prepare, train, and tell what happens.
import type { TrainConfig } from "../config.ts";
import { serializeConfig } from "../config-read.ts";
import { type Batches, createBatches } from "../data/batches.ts";
import { buildDataset } from "../data/dataset.ts";
import { formatNamed } from "../data/formats.ts";
import type { PackedRow } from "../data/pack.ts";
import type { Host, RunSummary, TrainEvent, TrainRequest } from "../engine.ts";
import type { AdapterConfig, AdapterTarget } from "../formats/peft.ts";
import { type Gpu, OutOfMemoryError } from "../gpu/device.ts";
import { allLinears } from "../model/linears.ts";
import {
  type CheckpointState,
  chooseCheckpoint,
  restoreCheckpoint,
  saveCheckpoint,
} from "../train/checkpoint.ts";
import type { MemoryEstimate } from "../train/memory.ts";
import { planSteps, runTraining } from "../train/run.ts";
import type { MicroBatch } from "../train/step.ts";
import { adapterCompanions } from "./adapter-companions.ts";
import { Answerer } from "./chat.ts";
import {
  chooseTemplate,
  type ChosenTemplate,
  type ModelFolder,
  openModelFolder,
} from "./model-folder.ts";
import { identityOf, refuseChangedRun } from "./run-identity.ts";
import { RunLog } from "./run-log.ts";
import { explainOutOfMemory, memoryLimit, planMemory } from "./run-memory.ts";
import { adapterOf, allocateRun, ANSWER_TOKENS, type RunParts } from "./run-parts.ts";

interface Prepared {
  readonly request: TrainRequest;
  readonly opened: ModelFolder;
  readonly chosen: ChosenTemplate;
  readonly adapterConfig: AdapterConfig;
  readonly targets: readonly AdapterTarget[];
  readonly batches: Batches;
  readonly evaluationRows: readonly PackedRow[];
  /** What a resumed part of the run must have in common with it. */
  readonly identity: Readonly<Record<string, unknown>>;
  readonly resumed: { readonly name: string; readonly state: CheckpointState } | undefined;
}

export async function train(gpu: Gpu, host: Host, request: TrainRequest): Promise<RunSummary> {
  const started = host.now();
  const prepared = await prepare(host, request);
  const { opened, evaluationRows, resumed } = prepared;
  const { config, onEvent } = request;
  const holdsOut = evaluationRows.length > 0;
  const needs = { source: opened, config, holdsOut, isResumed: resumed !== undefined };
  const limit = memoryLimit(gpu, config, host.freeGpuBytes?.());
  const { checkpointing, memory } = await planMemory(gpu, needs, limit);

  gpu.peakBytes = gpu.allocatedBytes; // what came before is no part of this run
  let parts: RunParts | undefined;
  try {
    parts = await allocateRun(gpu, opened, { config, checkpointing, holdsOut }, onEvent);
    await startAdapter(parts, prepared);
    return await runPrepared(host, prepared, { ...parts, started, memory });
  } catch (error) {
    parts?.free();
    parts = undefined;
    throw error instanceof OutOfMemoryError
      ? await explainOutOfMemory(gpu, needs, checkpointing, error)
      : error;
  } finally {
    parts?.free();
  }
}

/** Everything that can be refused without a GPU: config, model folder, data, checkpoint. */
async function prepare(host: Host, request: TrainRequest): Promise<Prepared> {
  const { config, onEvent, workDir, resume } = request;
  const opened = await openModelFolder(request.model);
  const chosen = chooseTemplate(config.prompt_template, opened);
  const { adapterConfig, targets } = adapterOf(config, opened.architecture);

  let resumed: Prepared["resumed"];
  if (resume !== undefined) {
    const { warnings, ...found } = await chooseCheckpoint(workDir, resume, host.sha256);
    for (const message of warnings) onEvent({ type: "warning", message });
    resumed = found;
  }

  onEvent({ type: "phase", phase: "data" });
  const dataset = await buildDataset(request.data, {
    tokenizer: opened.tokenizer,
    template: chosen.template,
    system: config.system,
    maxLength: config.max_length,
    format: formatNamed(config.dataset_format),
    pack: config.pack_to_max_length,
    seed: config.seed,
    shuffle: config.shuffle,
    evalSplit: config.eval_split,
  });
  const identity = identityOf(config, dataset.report);
  if (resumed) refuseChangedRun(identity, resumed.state, `${workDir.path}/${resumed.name}`);
  onEvent({
    type: "data",
    funnel: dataset.report,
    rows: dataset.train.length,
    evalRows: dataset.evaluation.length,
  });
  for (const message of doubts(config, opened, dataset.evaluation.length)) {
    onEvent({ type: "warning", message });
  }
  const batches = createBatches(dataset.train, {
    rowTokens: config.max_length,
    rowsPerBatch: config.batch_size,
    seed: config.seed,
    shuffle: config.shuffle,
    isolateDocuments: config.use_varlen_attn,
  });
  return {
    request,
    opened,
    chosen,
    adapterConfig,
    targets,
    batches,
    evaluationRows: dataset.evaluation,
    identity,
    resumed,
  };
}

/** What is allowed and yet hardly meant. */
function doubts(config: TrainConfig, { architecture }: ModelFolder, heldOut: number): string[] {
  const { max_length: rowTokens, eval_split: share } = config;
  const { maxPositions } = architecture;
  return [
    ...(rowTokens > maxPositions
      ? [`max_length is ${rowTokens}; the model was made for at most ${maxPositions} tokens.`]
      : []),
    ...(share > 0 && heldOut === 0
      ? [`eval_split ${share} leaves no row to take a held-out loss on.`]
      : []),
  ];
}

async function startAdapter({ model, stepper }: RunParts, prepared: Prepared): Promise<void> {
  const { resumed, opened, request } = prepared;
  const { adapter, gpu } = model;
  if (!adapter) return;
  if (!resumed) {
    adapter.initialize(request.config.seed);
    return;
  }
  const parts = { gpu, adapter, optimizerState: stepper.state };
  const linears = allLinears(opened.architecture);
  await restoreCheckpoint(parts, request.workDir, resumed.name, resumed.state, linears);
  const { adapterName, computeDtype } = resumed.state;
  if (adapterName === gpu.name && computeDtype === model.act) return;
  request.onEvent({
    type: "warning",
    message: `The checkpoint was made on ${adapterName} in ${computeDtype}; on ${gpu.name} in ${model.act} the run goes on, but not bit for bit as it would have.`,
  });
}

interface RunTools extends RunParts {
  readonly started: number;
  readonly memory: MemoryEstimate;
}

async function runPrepared(host: Host, prepared: Prepared, tools: RunTools): Promise<RunSummary> {
  const { request, batches, resumed } = prepared;
  const { config, workDir } = request;
  const { model, stepper, started } = tools;
  const plan = planSteps(config, batches.batchesPerEpoch);
  const done = {
    step: resumed?.state.step ?? 0,
    tokens: resumed?.state.tokens ?? 0,
    checkpoint: resumed?.name ?? "",
  };
  const log = await RunLog.open(workDir, done.step, config.logging_steps);
  const onEvent = (event: TrainEvent) => {
    log.take(event);
    request.onEvent(event);
  };
  await workDir.write("config.yaml", serializeConfig(config));
  onEvent({
    type: "plan",
    plan: {
      adapterName: model.gpu.name,
      computeDtype: model.act,
      steps: plan.steps,
      firstStep: done.step,
      trainableParameters: model.adapter?.parameterCount ?? 0,
      dispatchesPerMicroBatch: stepper.trainProgram.dispatchCount,
      memory: tools.memory,
    },
  });
  onEvent({ type: "phase", phase: "train" });
  let timeToFirstStepSeconds = Number.NaN;
  const summary = await runTraining({
    config,
    plan,
    stepper,
    batchAt: (index) => batches.at(index),
    done,
    now: host.now,
    signal: request.signal,
    onStep(report) {
      if (Number.isNaN(timeToFirstStepSeconds)) {
        timeToFirstStepSeconds = (host.now() - started) / 1000;
      }
      onEvent({ type: "step", ...report });
    },
    evaluate: (step) => evaluateRun(host, prepared, tools, step, onEvent),
    async save(progress) {
      // A checkpoint is never ahead of the lines about its steps: a resumed run would not write them.
      await log.flush();
      return saveRun(host, prepared, tools, progress, onEvent);
    },
  }).catch(async (error: unknown) => {
    // Its lines are written too; what ended the run is told, not what may befall them.
    await log.flush().catch(() => {});
    throw error;
  });
  await log.flush();
  return { ...summary, timeToFirstStepSeconds, peakGpuBytes: model.gpu.peakBytes };
}

async function evaluateRun(
  host: Host,
  prepared: Prepared,
  { generator, evaluator }: RunTools,
  step: number,
  onEvent: (event: TrainEvent) => void,
): Promise<void> {
  const { config } = prepared.request;
  if (generator) {
    generator.reset();
    const answerer = new Answerer(generator, prepared.opened, prepared.chosen, host.now);
    for (const input of config.evaluation_inputs) {
      const output = await answer(answerer, config, input);
      onEvent({ type: "sample", step, input, output });
    }
  }
  if (evaluator) {
    const report = await evaluator.total(heldOutBatches(prepared));
    onEvent({ type: "eval", step, ...report });
  }
}

/** Greedy, so that what is compared between steps is the adapter and not a die. */
async function answer(answerer: Answerer, config: TrainConfig, input: string): Promise<string> {
  const system = config.system === "" ? [] : [{ role: "system", content: config.system } as const];
  const { text } = await answerer.reply([...system, { role: "user", content: input }], {
    maxNewTokens: ANSWER_TOKENS,
    temperature: 0,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    seed: config.seed,
    stopWords: [],
  });
  return text;
}

function heldOutBatches({ request: { config }, evaluationRows }: Prepared): MicroBatch[] {
  const held = createBatches(evaluationRows, {
    rowTokens: config.max_length,
    rowsPerBatch: config.batch_size,
    seed: config.seed,
    shuffle: false,
    isolateDocuments: config.use_varlen_attn,
  });
  return Array.from({ length: held.batchesPerEpoch }, (_, index) => held.at(index));
}

async function saveRun(
  host: Host,
  { request, chosen, opened, adapterConfig, targets, identity }: Prepared,
  { model, stepper }: RunTools,
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
        run: identity,
      },
      companions: adapterCompanions({ config, chosen, opened, adapterConfig, targets }),
      limit: config.save_total_limit,
      sha256: host.sha256,
    },
  );
  onEvent({ type: "checkpoint", step: progress.step, name });
  return name;
}
