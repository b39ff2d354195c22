// Everything of a run that can be refused without a GPU: config, model folder, data, checkpoint, adapter.
import { invariant, throwIfAborted } from "../../base/error.ts";
import { formatCount } from "../../base/format.ts";
import type { TrainConfig } from "../../config.ts";
import { type Batches, createBatches } from "../../data/batches.ts";
import { type Dataset, encodeDataset, packDataset } from "../../data/dataset.ts";
import { countUnlabeled, type RowList } from "../../data/pack.ts";
import type { Host, TrainRequest } from "../../engine.ts";
import type { AdapterConfig, AdapterTarget } from "../../formats/peft.ts";
import type { LoraMatrices } from "../../model/adapter.ts";
import {
  type CheckpointState,
  chooseCheckpoint,
  NoCheckpointError,
} from "../../train/checkpoint.ts";
import { planSteps, type StepPlan } from "../../train/plan.ts";
import {
  encodeOptionsOf,
  packOptionsOf,
  refusePromptsOnly,
  refuseVarlenRows,
} from "../datasets/data-options.ts";
import { abortable } from "../datasets/data-source.ts";
import { fingerprintExamples, fingerprintModel } from "./fingerprint.ts";
import { firstMatrices } from "./first-matrices.ts";
import {
  chooseTemplate,
  type ChosenTemplate,
  type ModelFolder,
  openModelFolder,
} from "../model-folder.ts";
import { identityOf, refuseChangedRun } from "./run-identity.ts";
import { refuseOtherLength } from "./run-length.ts";
import { adapterOf } from "./run-parts.ts";
import { refuseUsedFolder } from "./used-folder.ts";

export interface Prepared {
  readonly request: TrainRequest;
  readonly opened: ModelFolder;
  readonly chosen: ChosenTemplate;
  readonly adapterConfig: AdapterConfig;
  readonly targets: readonly AdapterTarget[];
  readonly batches: Batches;
  readonly trainRows: RowList;
  readonly plan: StepPlan;
  readonly evaluationRows: RowList;
  /** What a resumed part of the run must have in common with it. */
  readonly identity: Readonly<Record<string, unknown>>;
  readonly resumed: Resumed | undefined;
}

interface Resumed {
  readonly name: string;
  readonly state: CheckpointState;
}

/** Also the matrices to begin with, where they are not fresh ones: by themselves, so that they can go. */
export async function prepareRun(
  host: Host,
  asked: TrainRequest,
): Promise<{ prepared: Prepared; matrices?: ReadonlyMap<string, LoraMatrices> }> {
  refusePromptsOnly(asked.config);
  refuseVarlenRows(asked.config);
  if (asked.resume === undefined) await refuseUsedFolder(asked.workDir);
  const resumed = await findCheckpoint(host, asked);
  const request = { ...asked, config: withSeedOf(resumed, asked) };
  const { config, onEvent, workDir, signal } = request;
  const opened = await openModelFolder(request.model);
  const chosen = chooseTemplate(config.prompt_template, opened);
  const { adapterConfig, targets } = adapterOf(config, opened.architecture, request.base);
  const matrices = resumed ? undefined : await readFirst(request, opened, targets);
  throwIfAborted(signal);

  onEvent({ type: "phase", phase: "data" });
  const { dataset, identity } = await readData(host, request, opened, chosen);
  const place = resumed ? `${workDir.path}/${resumed.name}` : "";
  if (resumed) refuseChangedRun(identity, resumed.state, place);
  onEvent({
    type: "data",
    funnel: dataset.report,
    rows: dataset.train.length,
    evalRows: dataset.evaluation.length,
  });
  for (const message of doubts(config, opened, dataset)) {
    onEvent({ type: "warning", message });
  }
  const batches = createBatches(dataset.train, {
    rowTokens: config.max_length,
    rowsPerBatch: config.batch_size,
    seed: config.seed,
    shuffle: config.shuffle,
    isolateDocuments: config.use_varlen_attn,
  });
  const evaluationRows = dataset.evaluation;
  const parts = { request, opened, chosen, adapterConfig, targets, batches, evaluationRows };
  const plan = planSteps(config, batches.batchesPerEpoch);
  if (resumed) refuseOtherLength(config, plan, resumed.state, place);
  const trainRows = dataset.train;
  return {
    prepared: { ...parts, trainRows, plan, identity, resumed },
    ...(matrices && { matrices }),
  };
}

/** The rows, and what a run that learns from them is known by. */
async function readData(
  { sha256 }: Host,
  { config, data, signal }: TrainRequest,
  opened: ModelFolder,
  chosen: ChosenTemplate,
): Promise<{ dataset: Dataset; identity: Record<string, unknown> }> {
  const encoded = await encodeDataset(
    data.map((source) => abortable(source, signal)),
    encodeOptionsOf(config, opened.tokenizer, chosen),
  );
  const dataset = packDataset(encoded, packOptionsOf(config));
  const fingerprints = {
    ...(await fingerprintModel(opened, sha256)),
    data: await fingerprintExamples(encoded.examples, sha256),
  };
  throwIfAborted(signal);
  return { dataset, identity: identityOf(config, dataset.report, fingerprints) };
}

/** The checkpoint to go on from; undefined where the run is to begin. */
async function findCheckpoint(
  host: Host,
  { workDir, resume, onEvent }: TrainRequest,
): Promise<Resumed | undefined> {
  if (resume === undefined) return undefined;
  const mayBegin = resume === "last-or-new";
  try {
    const wanted = mayBegin ? "last" : resume;
    const { warnings, ...found } = await chooseCheckpoint(workDir, wanted, host.sha256);
    for (const message of warnings) onEvent({ type: "warning", message });
    return found;
  } catch (error) {
    if (!mayBegin || !(error instanceof NoCheckpointError)) throw error;
    const [problem = ""] = error.message.split("\n");
    onEvent({ type: "warning", message: `${problem} The run begins anew.` });
    return undefined;
  }
}

/** XTuner goes on with the checkpoint's seed, whichever is asked for. */
function withSeedOf(resumed: Resumed | undefined, { config, onEvent }: TrainRequest): TrainConfig {
  const seed = resumed?.state.run["seed"];
  if (config.compat === "none" || typeof seed !== "number" || seed === config.seed) return config;
  onEvent({
    type: "warning",
    message: `The run goes on with the seed of its checkpoint, ${seed}, and not with ${config.seed}.`,
  });
  return { ...config, seed };
}

async function readFirst(
  { config, loadFrom }: TrainRequest,
  opened: ModelFolder,
  targets: readonly AdapterTarget[],
): Promise<ReadonlyMap<string, LoraMatrices> | undefined> {
  invariant(
    (loadFrom === undefined) === (config.load_from === ""),
    () => `load_from is "${config.load_from}", and the folder given is ${loadFrom?.path ?? "none"}`,
  );
  return loadFrom && firstMatrices(loadFrom, opened, targets);
}

/** What is allowed and yet hardly meant. */
function doubts(
  config: TrainConfig,
  { architecture: { maxPositions } }: ModelFolder,
  { train, evaluation }: Dataset,
): string[] {
  const { max_length: rowTokens, eval_split: share } = config;
  // Elsewhere such rows are left out of the data.
  const empty = config.compat === "none" ? 0 : countUnlabeled(train);
  return [
    ...(rowTokens > maxPositions
      ? [`max_length is ${rowTokens}; the model was made for at most ${maxPositions} tokens.`]
      : []),
    ...(share > 0 && evaluation.length === 0
      ? [`eval_split ${share} leaves no row to take a held-out loss on.`]
      : []),
    ...(empty > 0
      ? [
          `${formatCount(empty)} of ${formatCount(train.length)} rows have no token to learn. XTuner's loss is NaN on them; here they teach nothing.`,
        ]
      : []),
  ];
}
