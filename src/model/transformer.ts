// The stack as recorded programs: tokens to loss, loss to the adapter's gradients.
//
// The loss is taken a chunk of rows at a time, with the gradient written over the logits, so that
// logits of all rows never exist together.
import { invariant } from "../base/error.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Program, Recorder } from "../gpu/program.ts";
import type { StepScalars } from "../gpu/step-scalars.ts";
import type { StoredTensor, Tensor } from "../gpu/tensor.ts";
import type { Workspace } from "../gpu/workspace.ts";
import {
  crossEntropyEvaluate,
  crossEntropyForwardBackward,
  crossEntropySum,
} from "../kernels/cross-entropy.ts";
import { embed } from "../kernels/embed.ts";
import { loraDown, loraGradients, loraUpBackward } from "../kernels/lora.ts";
import { matmulBackward, matmulForward } from "../kernels/matmul.ts";
import { rmsNormBackward, rmsNormForward } from "../kernels/rms-norm.ts";
import type { Adapter, LoraSlot } from "./adapter.ts";
import type { Architecture } from "./architecture.ts";
import { recordBlockBackward } from "./block-backward.ts";
import {
  type Block,
  type BlockActivations,
  recordBlock,
  type SequenceInputs,
  sequenceParts,
} from "./block.ts";
import { type Checkpointing, keepingOf, keptOf } from "./keeping.ts";
import type { Recording } from "./linear.ts";
import type { LinearName } from "./families.ts";
import { blockLinears, headLinear } from "./linears.ts";
import { KIND_OF, type TableShard, type Weights } from "./weights.ts";

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

/** The tensors that the host fills before a run; u32 [tokens] each. */
export interface BatchTensors {
  readonly ids: StoredTensor;
  readonly targets: StoredTensor;
  readonly positions: StoredTensor;
  readonly segmentStart: StoredTensor;
}

export function allocateBatch(gpu: Gpu, tokens: number): BatchTensors {
  const make = (name: string) => gpu.allocate(`batch.${name}`, "u32", [tokens]);
  return {
    ids: make("ids"),
    targets: make("targets"),
    positions: make("positions"),
    segmentStart: make("segment_start"),
  };
}

/** The most memory that a chunk of logits may take. Larger chunks gain nothing. */
const LOGITS_BYTES = 64 * 2 ** 20;

/** Rows of logits that are made at one time. */
export function logitRows(gpu: Gpu, vocab: number, tokens: number): number {
  const limit = Math.min(LOGITS_BYTES, gpu.maxTensorBytes);
  return Math.max(1, Math.min(tokens, Math.floor(limit / (vocab * 4))));
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

  let x = recordEmbedding(recording, model, batch.ids);
  const keeping = keepingOf(checkpointing, blocks.length);
  const kept: Partial<BlockActivations>[] = [];
  for (const block of blocks) {
    const out = recorder.transient(`layers.${block.index}.out`, "f32", x.shape);
    const parts = sequenceParts(recording, architecture, block, inputs);
    const activations = recordBlock(recording, architecture, block, parts, x, out);
    kept.push(keptOf(activations, keeping.parts[block.index] ?? 0));
    x = out;
  }

  const dResidual = recorder.transient("d_residual", "f32", [tokens, architecture.hidden]);
  const normed = recorder.transient("final_normed", act, [tokens, architecture.hidden]);
  const { finalNorm } = weights;
  const { epsilon } = architecture;
  rmsNormForward(recorder, { x, weight: finalNorm, y: normed, epsilon });
  const dNormed = recorder.transient("d_final_normed", act, [tokens, architecture.hidden]);
  recordHeadAndLoss(recording, model, { normed, dNormed, batch, state });
  rmsNormBackward(recorder, {
    dy: dNormed,
    x,
    weight: finalNorm,
    dx: dResidual,
    epsilon,
    accumulate: false,
  });

  for (const block of blocks.toReversed()) {
    const known = kept[block.index] ?? {};
    invariant(known.x !== undefined, () => `nothing was kept of layer ${block.index}`);
    const again: Recording = {
      ...recording,
      ...(keeping.expandedWeights && { expanded: new Map() }),
    };
    const parts = sequenceParts(again, architecture, block, inputs);
    const activations = recordBlock(again, architecture, block, parts, known.x, undefined, known);
    const isFirst = block.index === 0;
    recordBlockBackward(again, architecture, block, inputs, activations, dResidual, isFirst);
  }
  return recorder.build();
}

export interface EvaluateProgramOptions {
  readonly batch: BatchTensors;
  readonly state: StoredTensor;
}

/** Forward alone: per-token loss and whether the target was ranked first, f32 [tokens] each. */
export async function buildEvaluateProgram(
  model: Model,
  { batch, state }: EvaluateProgramOptions,
): Promise<{ program: Program; losses: StoredTensor; correct: StoredTensor }> {
  const { gpu, architecture, act } = model;
  const recorder = new Recorder(gpu, "evaluate", model.workspace, model.step);
  const recording: Recording = { recorder, act, dropout: 0 };
  const tokens = batch.ids.shape[0] ?? 0;
  const losses = gpu.allocate("evaluate.losses", "f32", [tokens]);
  const correct = gpu.allocate("evaluate.correct", "f32", [tokens]);
  const normed = recordForward(recording, model, batch);
  const rows = logitRows(gpu, architecture.vocab, tokens);
  const logits = recorder.transient("logits", "f32", [rows, architecture.vocab]);
  const headH = recordHeadDown(recording, model, normed);
  for (let first = 0; first < tokens; first += rows) {
    const count = Math.min(rows, tokens - first);
    recordLogits(recording, model, { normed, headH, logits, first, count });
    const at = { logits, targets: batch.targets, firstRow: first, rows: count };
    crossEntropyEvaluate(recorder, { ...at, loss: losses, correct });
  }
  crossEntropySum(recorder, { values: losses, state, into: "loss" });
  crossEntropySum(recorder, { values: correct, state, into: "correct" });
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

/** Tokens to the normed output of the last block. */
function recordForward(recording: Recording, model: Model, batch: BatchTensors): Tensor {
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
  rmsNormForward(recorder, { x, weight: weights.finalNorm, y: normed, epsilon });
  return normed;
}

/** The adapter's h for the head, of all rows at once; undefined where the head has no adapter. */
export function recordHeadDown(
  { recorder, dropout }: Recording,
  { architecture, adapter }: Model,
  normed: Tensor,
): Tensor | undefined {
  const { label, moduleId } = headLinear(architecture);
  const lora = adapter?.slots.get(label);
  if (!lora) return undefined;
  const h = recorder.transient("head.h", "f32", [normed.shape[0] ?? 0, lora.rank]);
  const mask = dropout > 0 ? { dropout: { probability: dropout, moduleId } } : {};
  loraDown(recorder, { x: normed, a: lora.a, h, rank: lora.rank, scales: lora.scales, ...mask });
  return h;
}

/** Logits of rows [first, first + count) of `normed` into the first rows of `logits`. */
export function recordLogits(
  { recorder }: Recording,
  { architecture, weights, adapter }: Model,
  part: {
    normed: Tensor;
    headH: Tensor | undefined;
    logits: Tensor;
    first: number;
    count: number;
  },
): void {
  const lora = adapter?.slots.get(headLinear(architecture).label);
  for (const shard of weights.head) {
    matmulForward(recorder, {
      x: part.normed,
      weight: plainOf(shard),
      y: part.logits,
      rows: part.count,
      xRow: part.first,
      yColumn: shard.firstRow,
      ...(lora && part.headH && { lora: shardLora(lora, part.headH, shard) }),
    });
  }
}

/** The slice of the head's B that belongs to a shard's rows. */
function shardLora(lora: LoraSlot, h: Tensor, { firstRow, rows }: TableShard) {
  const b: StoredTensor = {
    ...lora.b,
    shape: [rows, lora.rank],
    bytes: rows * lora.rank * 4,
    at: { buffer: lora.b.at.buffer, offset: lora.b.at.offset + firstRow * lora.rank * 4 },
  };
  return { h, b, rank: lora.rank, segmentEnds: [rows] };
}

/** Loss, and its gradient with respect to the normed output of the last block. */
function recordHeadAndLoss(
  recording: Recording,
  model: Model,
  {
    normed,
    dNormed,
    batch,
    state,
  }: { normed: Tensor; dNormed: Tensor; batch: BatchTensors; state: StoredTensor },
): void {
  const { recorder, dropout } = recording;
  const { gpu, architecture, weights, adapter } = model;
  const tokens = normed.shape[0] ?? 0;
  const rows = logitRows(gpu, architecture.vocab, tokens);
  const losses = recorder.transient("losses", "f32", [tokens]);
  const logits = recorder.transient("logits", "f32", [rows, architecture.vocab]);
  const shape = headLinear(architecture);
  const lora = adapter?.slots.get(shape.label);
  const mask = dropout > 0 ? { dropout: { probability: dropout, moduleId: shape.moduleId } } : {};
  const headH = recordHeadDown(recording, model, normed);
  for (let first = 0; first < tokens; first += rows) {
    const count = Math.min(rows, tokens - first);
    recordLogits(recording, model, { normed, headH, logits, first, count });
    crossEntropyForwardBackward(recorder, {
      logits,
      targets: batch.targets,
      loss: losses,
      state,
      firstRow: first,
      rows: count,
    });
    let dh: Tensor | undefined;
    if (lora?.da && lora.db && headH) {
      const { rank, scales, b, da, db } = lora;
      const segmentEnds = [shape.outputs];
      const chunk = { dy: logits, rows: count, xRow: first };
      dh = recorder.transient("head.dh", "f32", headH.shape);
      loraUpBackward(recorder, { ...chunk, b, dh, rank, scales, segmentEnds });
      const made = { h: headH, dh, da, db, rank, segmentEnds };
      loraGradients(recorder, { ...chunk, x: normed, ...made, ...mask });
    }
    weights.head.forEach((shard, index) => {
      const isLast = index === weights.head.length - 1;
      matmulBackward(recorder, {
        dy: logits,
        weight: plainOf(shard),
        dx: dNormed,
        rows: count,
        dyColumn: shard.firstRow,
        dxRow: first,
        accumulate: index > 0,
        ...(isLast && dh && lora
          ? { lora: { dh, a: lora.a, rank: lora.rank, segments: 1, ...mask } }
          : {}),
      });
    });
  }
  crossEntropySum(recorder, { values: losses, state, into: "loss" });
}

function plainOf({ tensor, encoding, rows }: TableShard) {
  const inputs = (tensor.shape.at(-1) ?? 0) * (encoding === "f32" ? 1 : 2);
  return { tensor, shape: [rows, inputs], kind: KIND_OF[encoding] } as const;
}
