// The head: normed rows to logits, to losses, to the gradient of the rows.
//
// Only rows with a target come here, packed by the final norm, a chunk of them at a time: the gradient is
// written over the logits, so that logits of all rows never exist together, and a run dispatches no chunk
// that begins past its rows. What a last chunk has behind them is rows of zeros, which give exact zeros.
import type { Gpu } from "../gpu/device.ts";
import type { Recorder } from "../gpu/program.ts";
import type { StoredTensor, Tensor } from "../gpu/tensor.ts";
import {
  crossEntropyEvaluate,
  crossEntropyForwardBackward,
  crossEntropySum,
} from "../kernels/cross-entropy.ts";
import { gemv } from "../kernels/gemv.ts";
import { loraDown, loraGradients, loraUpBackward } from "../kernels/lora.ts";
import { matmulBackward, matmulForward } from "../kernels/matmul.ts";
import type { LoraSlot } from "./adapter.ts";
import type { BatchTensors } from "./batch.ts";
import type { Recording } from "./linear.ts";
import { headLinear } from "./linears.ts";
import type { Model } from "./transformer.ts";
import { KIND_OF } from "./weight-loader.ts";
import type { TableShard } from "./weights.ts";

/** A chunk of logits takes this much memory, or has this many rows, whichever is more. */
const LOGITS_BYTES = 64 * 2 ** 20;
/**
 * So many rows keep a GPU busy that reads the head once for them. The gradient of the rows is the scarce one: as small
 * as the rows, it makes few workgroups for long sums, one to each 128 rows and columns on matrix units, and is made in
 * slices where that is too few (kernels/matmul-slices.ts).
 */
const LOGITS_ROWS = 512;

/**
 * Rows of logits that are made at one time, as far as one tensor may hold them. Not a matter of free memory:
 * where the head has an adapter, its gradients are summed chunk by chunk, and would differ in the last bits.
 */
export function logitRows(gpu: Gpu, vocab: number, tokens: number): number {
  const rowBytes = vocab * 4;
  const wanted = Math.max(LOGITS_ROWS, Math.floor(LOGITS_BYTES / rowBytes));
  return Math.max(1, Math.min(tokens, wanted, Math.floor(gpu.maxTensorBytes / rowBytes)));
}

/** Loss of the labeled rows, and its gradient with respect to them. */
export function recordLoss(
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
  forEachChunk(recorder, tokens, rows, (first, count) => {
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
  });
  crossEntropySum(recorder, { values: losses, targets: batch.targets, state, into: "loss" });
}

/** Losses of the labeled rows, and whether their targets were ranked first; f32 [tokens] each. */
export function recordEvaluation(
  recording: Recording,
  model: Model,
  {
    normed,
    batch: { targets },
    state,
    losses,
    correct,
  }: {
    normed: Tensor;
    batch: BatchTensors;
    state: StoredTensor;
    losses: StoredTensor;
    correct: StoredTensor;
  },
): void {
  const { recorder } = recording;
  const { gpu, architecture } = model;
  const tokens = normed.shape[0] ?? 0;
  const rows = logitRows(gpu, architecture.vocab, tokens);
  const logits = recorder.transient("logits", "f32", [rows, architecture.vocab]);
  const headH = recordHeadDown(recording, model, normed);
  forEachChunk(recorder, tokens, rows, (first, count) => {
    recordLogits(recording, model, { normed, headH, logits, first, count });
    const at = { logits, targets, firstRow: first, rows: count };
    crossEntropyEvaluate(recorder, { ...at, loss: losses, correct });
  });
  crossEntropySum(recorder, { values: losses, targets, state, into: "loss" });
  crossEntropySum(recorder, { values: correct, targets, state, into: "correct" });
}

/** Records every chunk of rows; a run over fewer rows leaves out those that begin past them. */
function forEachChunk(
  recorder: Recorder,
  tokens: number,
  rows: number,
  record: (first: number, count: number) => void,
): void {
  for (let first = 0; first < tokens; first += rows) {
    recorder.fromRow(first, () => record(first, Math.min(rows, tokens - first)));
  }
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

/**
 * Logits of rows [first, first + count) of `normed` into the first rows of `logits`. `isToken` says that the
 * program makes one token at a time, for which a product of many rows would be a waste.
 */
export function recordLogits(
  { recorder }: Recording,
  { architecture, weights, adapter }: Model,
  part: {
    normed: Tensor;
    headH: Tensor | undefined;
    logits: Tensor;
    first: number;
    count: number;
    isToken?: boolean;
  },
): void {
  const product = part.isToken ? gemv : matmulForward;
  const lora = adapter?.slots.get(headLinear(architecture).label);
  for (const shard of weights.head) {
    product(recorder, {
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

function plainOf({ tensor, encoding, rows }: TableShard) {
  const inputs = (tensor.shape.at(-1) ?? 0) * (encoding === "f32" ? 1 : 2);
  return { tensor, shape: [rows, inputs], kind: KIND_OF[encoding] } as const;
}
