// One decoder block, forward; block-backward.ts goes back over what it kept.
//
//   mid = x + attention_out(attention(rope(qkv(norm(x)))))
//   out = mid + down(glu(gate_up(norm(mid))))
//
// x, mid and out are the residual stream, f32 [tokens, hidden]. Some families norm every query and key
// head before the rotary turn, and some what attention and feed-forward hand to the residual stream.
import { invariant } from "../base/error.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attentionForward, type AttentionLayout } from "../kernels/attention.ts";
import { gluForward } from "../kernels/glu.ts";
import { headNormForward } from "../kernels/head-norm.ts";
import { rmsNormForward } from "../kernels/rms-norm.ts";
import { ropeForward } from "../kernels/rope.ts";
import type { Architecture, LayerKind } from "./architecture.ts";
import type { LinearName } from "./families.ts";
import { type Linear, type Recording, recordLinear, recordLoraDown } from "./linear.ts";
import type { BlockNorms } from "./weights.ts";

export type Block = Readonly<Record<LinearName, Linear>> & {
  readonly index: number;
  readonly norms: BlockNorms;
  readonly kind: LayerKind;
};

/** What every block of a program reads besides its weights. */
export interface SequenceInputs {
  /** u32 [tokens] each. */
  readonly positions: Tensor;
  readonly segmentStart: Tensor;
  /** For each of the architecture's ropes: cos and sin, f32 [maxPositions, rotaryDims]. */
  readonly ropeTables: readonly Tensor[];
}

/** The activations that a block's backward pass reads. */
export interface BlockActivations {
  readonly x: Tensor;
  readonly normed: Tensor;
  /** Before the heads were normed; undefined where they are not. */
  readonly rawQkv: Tensor | undefined;
  readonly qkv: Tensor;
  readonly qkvH: Tensor | undefined;
  readonly attended: Tensor;
  readonly logSumExp: Tensor | undefined;
  readonly attendedH: Tensor | undefined;
  /** What the map out of attention made; undefined where that went straight to the residual stream. */
  readonly attentionAdd: Tensor | undefined;
  readonly mid: Tensor;
  readonly midNormed: Tensor;
  readonly gateUp: Tensor;
  readonly gateUpH: Tensor | undefined;
  readonly hidden: Tensor;
  readonly hiddenH: Tensor | undefined;
  /** As `attentionAdd`, of the feed-forward part. */
  readonly mlpAdd: Tensor | undefined;
}

/** Where the heads lie in a row of the fused qkv map. */
export function attentionLayout(architecture: Architecture): AttentionLayout {
  const { heads, kvHeads, headSize, family } = architecture;
  const group = heads / kvHeads;
  const stride = (heads + 2 * kvHeads) * headSize;
  const shared = { heads, kvHeads, headSize, stride };
  if (family.headOrder === "grouped") {
    const groupStride = (group + 2) * headSize;
    return {
      ...shared,
      qGroupStride: groupStride,
      kBase: group * headSize,
      vBase: (group + 1) * headSize,
      kStride: groupStride,
    };
  }
  return {
    ...shared,
    qGroupStride: group * headSize,
    kBase: heads * headSize,
    vBase: (heads + kvHeads) * headSize,
    kStride: headSize,
  };
}

/** How a program runs the parts that training and generation do differently. */
export interface BlockParts {
  linear(linear: Linear, operands: { x: Tensor; y: Tensor; residual?: Tensor }): Tensor | undefined;
  /** Turns the heads of qkv in place, and attends. Returns log Σ exp(scores) where it makes it. */
  attend(qkv: Tensor, attended: Tensor, layout: AttentionLayout): Tensor | undefined;
}

/**
 * Records a block. `out` gets the residual stream after it; without `out` the last step is left away,
 * which is all that a backward pass needs of a recomputed block.
 */
export function recordBlock(
  recording: Recording,
  architecture: Architecture,
  block: Block,
  parts: BlockParts,
  x: Tensor,
  out: Tensor | undefined,
): BlockActivations {
  const { recorder, act } = recording;
  const { hidden: width, epsilon, intermediate, activation } = architecture;
  const { norms } = block;
  const tokens = x.shape[0] ?? 0;
  const make: Make = (name, columns, dtype = act) =>
    recorder.transient(`layers.${block.index}.${name}`, dtype, [tokens, columns]);
  const context = { recording, architecture, block, parts, make };

  const attention = recordAttention(context, x);
  const mid = make("mid", width, "f32");
  const { attentionOut, down } = block;
  const fromAttention = recordAdd(context, attentionOut, norms.postAttention, {
    name: "attention_out",
    input: attention.attended,
    to: x,
    y: mid,
  });

  const midNormed = make("mid_normed", width);
  rmsNormForward(recorder, { x: mid, weight: norms.mlp, y: midNormed, epsilon });
  const gateUp = make("gate_up", 2 * intermediate);
  const gateUpH = parts.linear(block.gateUp, { x: midNormed, y: gateUp });
  const hidden = make("hidden", intermediate);
  gluForward(recorder, { gu: gateUp, h: hidden, activation });
  const fromMlp = recordAdd(context, down, norms.postMlp, {
    name: "down",
    input: hidden,
    to: mid,
    y: out,
  });

  return {
    x,
    ...attention,
    attendedH: fromAttention.h,
    attentionAdd: fromAttention.made,
    mid,
    midNormed,
    gateUp,
    gateUpH,
    hidden,
    hiddenH: fromMlp.h,
    mlpAdd: fromMlp.made,
  };
}

/** A transient of the block, [tokens, columns], in the storage type of activations if none is named. */
type Make = (name: string, columns: number, dtype?: "f32" | "f16") => Tensor;

interface BlockContext {
  readonly recording: Recording;
  readonly architecture: Architecture;
  readonly block: Block;
  readonly parts: BlockParts;
  readonly make: Make;
}

/** From the residual stream to what the heads attended to. */
function recordAttention(
  { recording: { recorder }, architecture, block, parts, make }: BlockContext,
  x: Tensor,
) {
  const { hidden: width, epsilon, heads, headSize } = architecture;
  const { attention: weight, query: queryWeight, key: keyWeight } = block.norms;
  const layout = attentionLayout(architecture);
  const normed = make("normed", width);
  rmsNormForward(recorder, { x, weight, y: normed, epsilon });
  const mapped = make("qkv", layout.stride);
  const qkvH = parts.linear(block.qkv, { x: normed, y: mapped });
  let qkv = mapped;
  if (queryWeight && keyWeight) {
    qkv = make("qkv_normed", layout.stride);
    headNormForward(recorder, { x: mapped, y: qkv, queryWeight, keyWeight, layout, epsilon });
  }
  const attended = make("attended", heads * headSize);
  const logSumExp = parts.attend(qkv, attended, layout);
  return {
    normed,
    rawQkv: qkv === mapped ? undefined : mapped,
    qkv,
    qkvH,
    attended,
    logSumExp,
  };
}

/**
 * y = to + linear(input), with what the map makes normed first where the family does that. Without `y`,
 * only what a backward pass reads.
 */
function recordAdd(
  { recording, architecture, parts, make }: BlockContext,
  linear: Linear,
  norm: Tensor | undefined,
  { name, input, to, y }: { name: string; input: Tensor; to: Tensor; y: Tensor | undefined },
): { h: Tensor | undefined; made: Tensor | undefined } {
  const { hidden, epsilon } = architecture;
  if (norm) {
    const made = make(`${name}_made`, hidden, "f32");
    const h = parts.linear(linear, { x: input, y: made });
    if (y) {
      const { recorder } = recording;
      rmsNormForward(recorder, { x: made, weight: norm, y, epsilon, residual: to });
    }
    return { h, made };
  }
  const h = y
    ? parts.linear(linear, { x: input, y, residual: to })
    : recordLoraDown(recording, linear, input);
  return { h, made: undefined };
}

/** The parts of a program over whole sequences. */
export function sequenceParts(
  recording: Recording,
  architecture: Architecture,
  { kind, index }: Block,
  inputs: SequenceInputs,
): BlockParts {
  const { recorder } = recording;
  const { positions, segmentStart } = inputs;
  return {
    linear: (linear, operands) => recordLinear(recording, linear, operands),
    attend(qkv, attended, layout) {
      const [tokens = 0] = qkv.shape;
      const lse = recorder.transient(`layers.${index}.log_sum_exp`, "f32", [tokens, layout.heads]);
      ropeForward(recorder, { qkv, positions, table: tableOf(inputs, kind), layout });
      const shared = { qkv, segmentStart, lse, layout, ...scoresOf(architecture, kind) };
      attentionForward(recorder, { ...shared, o: attended });
      return lse;
    },
  };
}

/** How an attention kernel makes and masks scores in a layer. */
export function scoresOf({ attentionScale }: Architecture, { window }: LayerKind) {
  return { scale: attentionScale, ...(window !== undefined && { window }) };
}

export function tableOf(
  { ropeTables }: Pick<SequenceInputs, "ropeTables">,
  { rope }: LayerKind,
): Tensor {
  const table = ropeTables[rope];
  invariant(table !== undefined, () => `no rotary table ${rope}`);
  return table;
}
