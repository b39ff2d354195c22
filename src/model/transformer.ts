// The stack as recorded programs: tokens to loss, loss to the adapter's gradients.
import { invariant } from "../base/error.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Program, Recorder } from "../gpu/program.ts";
import type { StepScalars } from "../gpu/step-scalars.ts";
import type { StoredTensor, Tensor } from "../gpu/tensor.ts";
import type { Workspace } from "../gpu/workspace.ts";
import { embed } from "../kernels/embed.ts";
import { rmsNormBackward, rmsNormForward } from "../kernels/rms-norm.ts";
import type { Adapter } from "./adapter.ts";
import type { Architecture } from "./architecture.ts";
import type { BatchTensors } from "./batch.ts";
import { recordBlockBackward } from "./block-backward.ts";
import { type Block, recordBlock, type SequenceInputs, sequenceParts } from "./block.ts";
import { recordEvaluation, recordHeadDown, recordLogits, recordLoss } from "./head.ts";
import { type Checkpointing, keepingOf, keptOf } from "./keeping.ts";
import type { Recording } from "./linear.ts";
import type { LinearName } from "./families.ts";
import { blockLinears } from "./linears.ts";
import type { Weights } from "./weights.ts";

/** A model on the GPU: frozen weights, an adapter or none, and the arena its programs share. */
export interface Model {
  readonly gpu: Gpu;
  readonly architecture: Architecture;
  readonly weights: Weights;
  readonly adapter: Adapter | undefined;
  /** Storage type of activations. */
  readonly act: "f32" | "f16";
  readonly workspace: Workspace;
  readonly step: StepScalars;
}

export interface TrainProgramOptions {
  readonly batch: BatchTensors;
  /** The optimizer's state, for the loss scale and the loss sum. */
  readonly state: StoredTensor;
  /** What of each block is kept; the rest is run again before its backward pass. */
  readonly checkpointing: Checkpointing;
  readonly dropout: number;
}

/** Forward and backward of one micro-batch: adds to the adapter's gradients and to the loss sum. */
export async function buildTrainProgram(
  model: Model,
  { batch, state, checkpointing, dropout }: TrainProgramOptions,
): Promise<Program> {
  const { gpu, architecture, weights, act } = model;
  const recorder = new Recorder(gpu, "train", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout };
  const inputs = sequenceInputs(model, batch);
  const blocks = blocksOf(model);
  const tokens = batch.ids.shape[0] ?? 0;

  recorder.phase = "forward";
  let x = recordEmbedding(recording, model, batch.ids);
  const keeping = keepingOf(checkpointing, blocks.length);
  const kept: ReturnType<typeof keptOf>[] = [];
  for (const block of blocks) {
    const out = recorder.transient(`layers.${block.index}.out`, "f32", x.shape);
    const once = keeping.expandedWeights ? keepingWeights(recording, block) : recording;
    const parts = sequenceParts(once, architecture, block, inputs);
    const activations = recordBlock(once, architecture, block, parts, x, out);
    kept.push(keptOf(activations, keeping, block.index));
    x = out;
  }

  const dResidual = recorder.transient("d_residual", "f32", [tokens, architecture.hidden]);
  const normed = recorder.transient("final_normed", act, [tokens, architecture.hidden]);
  const { finalNorm } = weights;
  const { epsilon } = architecture;
  const { labeled, places } = batch;
  recorder.phase = "head and loss";
  rmsNormForward(recorder, { x, weight: finalNorm, y: normed, epsilon, rowOf: labeled });
  const dNormed = recorder.transient("d_final_normed", act, [tokens, architecture.hidden]);
  recordLoss(recording, model, { normed, dNormed, batch, state });
  rmsNormBackward(recorder, {
    dy: dNormed,
    x,
    weight: finalNorm,
    dx: dResidual,
    epsilon,
    accumulate: false,
    placeOf: places,
  });

  for (const block of blocks.toReversed()) {
    const known = kept[block.index];
    invariant(known !== undefined, () => `nothing was kept of layer ${block.index}`);
    const again = keeping.expandedWeights ? keepingWeights(recording, block) : recording;
    const parts = sequenceParts(again, architecture, block, inputs);
    recorder.phase = "recompute";
    const activations = recordBlock(again, architecture, block, parts, known.x, undefined, known);
    const isFirst = block.index === 0;
    recorder.phase = "backward";
    recordBlockBackward(again, architecture, block, inputs, activations, dResidual, isFirst);
  }
  return recorder.build();
}

/** A recording in which a block's expanded weights stay from one use to the next. */
function keepingWeights(recording: Recording, { qkv, attentionOut }: Block): Recording {
  return { ...recording, expanded: { tensors: new Map(), pair: [qkv, attentionOut] } };
}

export interface EvaluateProgramOptions {
  readonly batch: BatchTensors;
  readonly state: StoredTensor;
}

/**
 * Forward alone: the loss of each row with a target, and whether that was ranked first; f32 [tokens] each,
 * of which those rows come first.
 */
export async function buildEvaluateProgram(
  model: Model,
  { batch, state }: EvaluateProgramOptions,
): Promise<{ program: Program; losses: StoredTensor; correct: StoredTensor }> {
  const { gpu, act } = model;
  const recorder = new Recorder(gpu, "evaluate", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout: 0 };
  const tokens = batch.ids.shape[0] ?? 0;
  const losses = gpu.allocate("evaluate.losses", "f32", [tokens]);
  const correct = gpu.allocate("evaluate.correct", "f32", [tokens]);
  const normed = recordForward(recording, model, batch, batch.labeled);
  recordEvaluation(recording, model, { normed, batch, state, losses, correct });
  try {
    return { program: await recorder.build(), losses, correct };
  } catch (error) {
    for (const tensor of [losses, correct]) gpu.free(tensor);
    throw error;
  }
}

/** Logits of every token, f32 [tokens, vocab]: for tests and small comparisons only. */
export async function buildLogitsProgram(
  model: Model,
  batch: BatchTensors,
): Promise<{ program: Program; logits: StoredTensor }> {
  const { gpu, architecture, act } = model;
  const recorder = new Recorder(gpu, "logits", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout: 0 };
  const tokens = batch.ids.shape[0] ?? 0;
  const logits = gpu.allocate("logits", "f32", [tokens, architecture.vocab]);
  const normed = recordForward(recording, model, batch);
  const headH = recordHeadDown(recording, model, normed);
  recordLogits(recording, model, { normed, headH, logits, first: 0, count: tokens });
  return { program: await recorder.build(), logits };
}

/** The blocks of a model in order, each map with what the adapter has for it. */
export function blocksOf({ architecture, weights, adapter }: Model): Block[] {
  return weights.blocks.map(({ norms, linears }, index) => {
    const shapes = blockLinears(architecture, index);
    const linear = (name: LinearName) => {
      const shape = shapes[name];
      return { shape, ...linears[name], lora: adapter?.slots.get(shape.label) };
    };
    const kind = architecture.layerKinds[index];
    invariant(kind !== undefined, () => `no layer ${index}`);
    return {
      index,
      norms,
      kind,
      qkv: linear("qkv"),
      attentionOut: linear("attentionOut"),
      gateUp: linear("gateUp"),
      down: linear("down"),
    };
  });
}

/** Records the look-up of ids, u32 [tokens]. Returns what the first block reads, f32 [tokens, hidden]. */
export function recordEmbedding(
  { recorder }: Recording,
  { architecture, weights }: Model,
  ids: Tensor,
): Tensor {
  const { hidden, embeddingScale: scale } = architecture;
  const x = recorder.transient("embedded", "f32", [ids.shape[0] ?? 0, hidden]);
  for (const { tensor, encoding, firstRow } of weights.embedding) {
    embed(recorder, { ids, table: tensor, encoding, y: x, firstRow, scale });
  }
  return x;
}

function sequenceInputs({ weights }: Model, batch: BatchTensors): SequenceInputs {
  const { positions, segmentStart } = batch;
  return { positions, segmentStart, ropeTables: weights.ropeTables };
}

/** Tokens to the normed output of the last block: of all of them, or of those that `rowOf` lists. */
function recordForward(
  recording: Recording,
  model: Model,
  batch: BatchTensors,
  rowOf?: Tensor,
): Tensor {
  const { recorder, act } = recording;
  const { architecture, weights } = model;
  const inputs = sequenceInputs(model, batch);
  let x = recordEmbedding(recording, model, batch.ids);
  for (const block of blocksOf(model)) {
    const out = recorder.transient(`layers.${block.index}.out`, "f32", x.shape);
    const parts = sequenceParts(recording, architecture, block, inputs);
    recordBlock(recording, architecture, block, parts, x, out);
    x = out;
  }
  const normed = recorder.transient("final_normed", act, x.shape);
  const { epsilon } = architecture;
  rmsNormForward(recorder, { x, weight: weights.finalNorm, y: normed, epsilon, rowOf });
  return normed;
}
