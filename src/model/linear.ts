// A frozen linear map with its adapter: forward, and backward to the input and the adapter.
//
//   y  = x·Wᵀ + bias + h·Bᵀ,   h = s · drop(x)·Aᵀ
//   dh = s · dy·B,   dA += dhᵀ·drop(x),   dB += dyᵀ·h,   dx = dy·W + mask ∘ (dh·A)
//
// W is expanded into a scratch tensor just before its use; the memory plan gives all maps one scratch. Where
// there is memory for a whole layer's, small ones are expanded together, and those of a layer that is run
// again stay for its backward pass.
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, type Tensor } from "../gpu/tensor.ts";
import { dequantizePair } from "../kernels/dequantize-pair.ts";
import { dequantize } from "../kernels/dequantize.ts";
import type { Nf4Weight, PlainWeight } from "../kernels/weight.ts";
import { loraDown, loraGradients, loraUpBackward } from "../kernels/lora.ts";
import type { RopeTurn } from "../kernels/matmul-rope.ts";
import { fusesNf4, matmulBackward, matmulForward } from "../kernels/matmul.ts";
import type { LoraSlot } from "./adapter.ts";
import type { LinearShape } from "./linears.ts";
import type { FrozenLinear } from "./weights.ts";

export interface Linear extends FrozenLinear {
  readonly shape: LinearShape;
  readonly lora: LoraSlot | undefined;
}

/** What recordings of one program have in common. */
export interface Recording {
  readonly recorder: Recorder;
  /** Storage type of activations and expanded weights. */
  readonly act: "f32" | "f16";
  /** Of the adapter's input; 0 outside training. */
  readonly dropout: number;
  /** Absent where every use of a weight expands it anew. */
  readonly expanded?: ExpandedWeights;
}

/** The weights of a layer that are expanded and kept for whoever wants them next. */
export interface ExpandedWeights {
  /** By the label of their map. */
  readonly tensors: Map<string, Tensor>;
  /** Two small maps: whoever expands the one expands the other in the same dispatch. */
  readonly pair: readonly [Linear, Linear];
}

/** Operands of a map; what is optional is undefined where it has no part. */
export interface LinearOperands {
  readonly x: Tensor;
  readonly y: Tensor;
  /** Added to y; not y itself. */
  readonly residual?: Tensor;
  /** The h of an earlier recording over the same x, which is then not made again. */
  readonly h?: Tensor | undefined;
  /** y is queries, keys and values, of which the first two are to be turned. */
  readonly rope?: RopeTurn | undefined;
}

/**
 * Records y = x·Wᵀ (+ bias, + residual) with the adapter. Returns h, which backward wants, or undefined where
 * no adapter acts.
 */
export function recordLinear(
  recording: Recording,
  linear: Linear,
  { x, y, residual, rope, h = recordLoraDown(recording, linear, x) }: LinearOperands,
): Tensor | undefined {
  const { recorder } = recording;
  matmulForward(recorder, {
    x,
    weight: recordWeight(recording, linear, matrixShape(x)[0]),
    y,
    ...(residual && { residual }),
    ...(linear.bias && { bias: linear.bias }),
    ...(h && linear.lora && { lora: loraOf(linear.lora, h) }),
    rope,
  });
  return h;
}

/** Records h = s · drop(x)·Aᵀ alone, for a backward pass that does not want y again. */
export function recordLoraDown(
  { recorder, dropout }: Recording,
  { shape, lora }: Linear,
  x: Tensor,
): Tensor | undefined {
  if (!lora) return undefined;
  const [rows] = matrixShape(x);
  const h = recorder.transient(`${shape.label}.h`, "f32", [
    rows,
    shape.segments.length * lora.rank,
  ]);
  loraDown(recorder, {
    x,
    a: lora.a,
    h,
    rank: lora.rank,
    scales: lora.scales,
    ...dropoutOf(dropout, shape),
  });
  return h;
}

/**
 * Records the gradients of the adapter, and dx where it is wanted. `dx` is written, not added to.
 * `h` is what `recordLinear` returned.
 */
export function recordLinearBackward(
  recording: Recording,
  linear: Linear,
  { dy, x, h, dx }: { dy: Tensor; x: Tensor; h: Tensor | undefined; dx: Tensor | undefined },
): void {
  const dh = recordInputGradient(recording, linear, { dy, dx });
  recordAdapterGradients(recording, linear, { dy, x, h, dh });
}

/** Records dx where it is wanted, and dh, which it returns; undefined where no adapter learns. */
export function recordInputGradient(
  recording: Recording,
  linear: Linear,
  { dy, dx }: { dy: Tensor; dx: Tensor | undefined },
): Tensor | undefined {
  const { recorder, dropout } = recording;
  const { shape, lora } = linear;
  const [rows] = matrixShape(dy);
  const segments = shape.segments.length;
  let dh: Tensor | undefined;
  if (lora?.da && lora.db) {
    const { rank, scales, b } = lora;
    dh = recorder.transient(`${shape.label}.dh`, "f32", [rows, segments * rank]);
    loraUpBackward(recorder, { dy, b, dh, rank, scales, segmentEnds: endsOf(shape) });
  }
  if (dx) {
    const side = dh && lora && { dh, a: lora.a, rank: lora.rank, segments };
    matmulBackward(recorder, {
      dy,
      weight: recordWeight(recording, linear, rows),
      dx,
      ...(side && { lora: { ...side, ...dropoutOf(dropout, shape) } }),
    });
  }
  return dh;
}

/** Records what is added to the gradients of A and B, where an adapter learns. */
export function recordAdapterGradients(
  { recorder, dropout }: Recording,
  { shape, lora }: Linear,
  { dy, x, h, dh }: { dy: Tensor; x: Tensor; h: Tensor | undefined; dh: Tensor | undefined },
): void {
  if (!lora?.da || !lora.db || !h || !dh) return;
  const { rank, da, db } = lora;
  const operands = { dy, x, h, dh, da, db, rank, segmentEnds: endsOf(shape) };
  loraGradients(recorder, { ...operands, ...dropoutOf(dropout, shape) });
}

/** The weight as a product of `rows` rows reads it: as it is stored, or expanded from NF4. */
function recordWeight(
  { recorder, act, expanded }: Recording,
  { shape, weight }: Linear,
  rows: number,
): PlainWeight | Nf4Weight {
  if (!("codes" in weight) || fusesNf4(recorder, rows)) return weight;
  const known = expanded?.tensors.get(shape.label);
  if (known) return native(known);
  const own = { weight, out: scratchFor(recorder, act, shape) };
  const isPaired =
    expanded?.pair.some((map) => map.shape === shape) &&
    expanded.pair.every((map) => (map.shape.outputs * map.shape.inputs) % 8 === 0);
  const other = isPaired ? expanded?.pair.find((map) => map.shape !== shape) : undefined;
  if (other && "codes" in other.weight && !expanded?.tensors.has(other.shape.label)) {
    const beside = { weight: other.weight, out: scratchFor(recorder, act, other.shape) };
    dequantizePair(recorder, own, beside);
    expanded?.tensors.set(other.shape.label, beside.out);
  } else {
    dequantize(recorder, own);
  }
  expanded?.tensors.set(shape.label, own.out);
  return native(own.out);
}

function scratchFor(
  recorder: Recorder,
  act: "f32" | "f16",
  { label, outputs, inputs }: LinearShape,
): Tensor {
  return recorder.transient(`${label}.weight`, act, [outputs, inputs]);
}

function native(tensor: Tensor): PlainWeight {
  const [outputs, inputs] = matrixShape(tensor);
  return { tensor, shape: [outputs, inputs], kind: "native" };
}

/** An adapter's part of a product, of which `recordLoraDown` made h. */
export function loraOf(slot: LoraSlot, h: Tensor) {
  return { h, b: slot.b, rank: slot.rank, segmentEnds: endsOf(slot.shape) };
}

/** One past the last output row of each segment. */
function endsOf({ segments }: LinearShape): number[] {
  let end = 0;
  return segments.map(({ rows }) => (end += rows));
}

function dropoutOf(probability: number, { moduleId }: LinearShape) {
  return probability > 0 ? { dropout: { probability, moduleId } } : {};
}
