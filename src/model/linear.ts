// A frozen linear map with its adapter: forward, and backward to the input and the adapter.
//
//   y  = x·Wᵀ + bias + h·Bᵀ,   h = s · drop(x)·Aᵀ
//   dh = s · dy·B,   dA += dhᵀ·drop(x),   dB += dyᵀ·h,   dx = dy·W + mask ∘ (dh·A)
//
// W is expanded into a scratch tensor just before its use; the memory plan gives all maps one scratch.
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, type Tensor } from "../gpu/tensor.ts";
import { dequantize } from "../kernels/dequantize.ts";
import { loraDown, loraGradients, loraUpBackward } from "../kernels/lora.ts";
import { matmulBackward, matmulForward, type PlainWeight } from "../kernels/matmul.ts";
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
}

/**
 * Records y = x·Wᵀ (+ bias, + residual) with the adapter. Returns h, which backward wants, or undefined where
 * no adapter acts. `residual` must not be `y` itself.
 */
export function recordLinear(
  recording: Recording,
  linear: Linear,
  { x, y, residual }: { x: Tensor; y: Tensor; residual?: Tensor },
): Tensor | undefined {
  const { recorder } = recording;
  const h = recordLoraDown(recording, linear, x);
  matmulForward(recorder, {
    x,
    weight: recordWeight(recording, linear),
    y,
    ...(residual && { residual }),
    ...(linear.bias && { bias: linear.bias }),
    ...(h && linear.lora && { lora: loraOf(linear.lora, h) }),
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
  const { recorder, dropout } = recording;
  const { shape, lora } = linear;
  let dh: Tensor | undefined;
  if (lora?.da && lora.db && h) {
    const { rank, scales, a, b, da, db } = lora;
    const { segments } = shape;
    dh = recorder.transient(`${shape.label}.dh`, "f32", h.shape);
    const segmentEnds = endsOf(shape);
    loraUpBackward(recorder, { dy, b, dh, rank, scales, segmentEnds });
    const made = { h, dh, da, db, rank, segmentEnds };
    loraGradients(recorder, { x, dy, ...made, ...dropoutOf(dropout, shape) });
    if (dx) {
      const weight = recordWeight(recording, linear);
      const side = { dh, a, rank, segments: segments.length, ...dropoutOf(dropout, shape) };
      matmulBackward(recorder, { dy, weight, dx, lora: side });
    }
    return;
  }
  if (dx) matmulBackward(recorder, { dy, weight: recordWeight(recording, linear), dx });
}

/** The weight as a matrix that the GEMM reads: expanded from NF4, or as it is stored. */
function recordWeight({ recorder, act }: Recording, { shape, weight }: Linear): PlainWeight {
  if (!("codes" in weight)) return weight;
  const { inputs, outputs } = shape;
  const out = recorder.transient(`${shape.label}.weight`, act, [outputs, inputs]);
  dequantize(recorder, { weight, out });
  return { tensor: out, shape: [outputs, inputs], kind: "native" };
}

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
