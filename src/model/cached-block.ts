// One decoder block over a cache of keys and values: block.ts as generation runs it.
//
// Nothing goes back over it, so that what lies between two matrices is part of one of them wherever that can
// be: heads are normed, turned and cached in one dispatch, and a gate is multiplied where it is made.
import type { Recorder } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attentionCachedAppend } from "../kernels/attention-cached-append.ts";
import { attentionCached } from "../kernels/attention-cached.ts";
import { gemv } from "../kernels/gemv.ts";
import { gluForward } from "../kernels/glu.ts";
import type { KvCache } from "../kernels/kv-cache.ts";
import { nf4Gemv } from "../kernels/nf4-gemv.ts";
import { rmsNormForward } from "../kernels/rms-norm.ts";
import type { LoraSlot } from "./adapter.ts";
import { attentionLayout, type Block, scoresOf, tableOf } from "./block.ts";
import { type Linear, loraOf, type Recording, recordLinear } from "./linear.ts";
import type { Model } from "./transformer.ts";

/** Up to this many rows, a weight is read once a row; from there on, once for all in a product. */
const FEW_ROWS = 4;

interface BlockRecording {
  readonly recording: Recording;
  readonly model: Model;
  readonly block: Block;
  readonly cache: KvCache;
}

/**
 * Records a block: x and out are the residual stream, f32 [rows, hidden], before and after it. The rows stand
 * at step.position and behind; their keys and values go into the cache.
 */
export function recordCachedBlock(
  { recording, model, block, cache }: BlockRecording,
  x: Tensor,
  out: Tensor,
): void {
  const { recorder, act } = recording;
  const { architecture, weights } = model;
  const { hidden, intermediate, heads, headSize, epsilon } = architecture;
  const { norms, kind } = block;
  const [rows = 0] = x.shape;
  const make = (name: string, columns: number, dtype: "f32" | "f16" = act) =>
    recorder.transient(`layers.${block.index}.${name}`, dtype, [rows, columns]);
  const norm = (input: Tensor, weight: Tensor, y: Tensor, residual?: Tensor) =>
    rmsNormForward(recorder, { x: input, weight, y, epsilon, residual });
  /** y = to + linear(input), with what the map makes normed first where the family does that. */
  const add = (
    linear: Linear,
    input: Tensor,
    to: Tensor,
    y: Tensor,
    weight: Tensor | undefined,
  ) => {
    const made = weight ? make(`${linear.shape.label}.made`, hidden, "f32") : y;
    recordMap(recording, linear, { x: input, y: made, ...(!weight && { residual: to }) });
    if (weight) norm(made, weight, y, to);
  };

  const layout = attentionLayout(architecture);
  const normed = make("normed", hidden);
  norm(x, norms.attention, normed);
  const qkv = make("qkv", layout.stride);
  recordMap(recording, block.qkv, { x: normed, y: qkv });
  const { query: queryWeight, key: keyWeight } = norms;
  attentionCachedAppend(recorder, {
    qkv,
    layout,
    cache,
    table: tableOf(weights, kind),
    ...(queryWeight && keyWeight && { norms: { queryWeight, keyWeight, epsilon } }),
  });
  const attended = make("attended", heads * headSize);
  attentionCached(recorder, {
    qkv,
    cache,
    o: attended,
    layout,
    ...scoresOf(architecture, kind),
  });
  const mid = make("mid", hidden, "f32");
  add(block.attentionOut, attended, x, mid, norms.postAttention);

  const midNormed = make("mid_normed", hidden);
  norm(mid, norms.mlp, midNormed);
  const gated = make("hidden", intermediate);
  recordGated(recording, model, block, midNormed, gated);
  add(block.down, gated, mid, out, norms.postMlp);
}

/** y = linear(x) (+ residual), with the adapter and the bias. */
function recordMap(
  recording: Recording,
  linear: Linear,
  operands: { readonly x: Tensor; readonly y: Tensor; readonly residual?: Tensor },
): void {
  if (isFew(operands.x)) recordFew(recording, linear, operands);
  else recordLinear(recording, linear, operands);
}

/** hidden = act(gate) ∘ up, with [gate | up] the map of x. */
function recordGated(
  recording: Recording,
  { architecture }: Model,
  { gateUp, index }: Block,
  x: Tensor,
  hidden: Tensor,
): void {
  const { activation, intermediate } = architecture;
  if (isFew(x)) {
    recordFew(recording, gateUp, { x, y: hidden, gate: activation });
    return;
  }
  const { recorder, act } = recording;
  const [rows = 0] = x.shape;
  const gu = recorder.transient(`layers.${index}.gate_up`, act, [rows, 2 * intermediate]);
  recordLinear(recording, gateUp, { x, y: gu });
  gluForward(recorder, { gu, h: hidden, activation });
}

function isFew({ shape: [rows = 0] }: Tensor): boolean {
  return rows <= FEW_ROWS;
}

/** As `recordLinear`, for few rows: every weight is unpacked and multiplied where it is read. */
function recordFew(
  recording: Recording,
  linear: Linear,
  operands: Omit<Parameters<typeof gemv>[1], "weight" | "bias" | "lora">,
): void {
  const { recorder }: { recorder: Recorder } = recording;
  const { weight, lora, bias } = linear;
  const h = lora && recordFewDown(recorder, lora, operands.x);
  const call = { ...operands, bias, ...(h && lora && { lora: loraOf(lora, h) }) };
  if ("codes" in weight) nf4Gemv(recorder, { ...call, weight });
  else gemv(recorder, { ...call, weight });
}

/** h = s · x·Aᵀ for few rows of x. */
export function recordFewDown(
  recorder: Recorder,
  { a, rank, scales, shape }: LoraSlot,
  x: Tensor,
): Tensor {
  const columns = scales.length * rank;
  const h = recorder.transient(`${shape.label}.h`, "f32", [x.shape[0] ?? 0, columns]);
  const weight = { tensor: a, shape: [columns, shape.inputs], kind: "native" } as const;
  gemv(recorder, { x, weight, y: h, scaled: { rank, scales } });
  return h;
}
