// One decoder block, forward; block-backward.ts goes back over what it kept.
//
//   mid = x + attention_out(attention(rope(qkv(norm(x)))))
//   out = mid + down(glu(gate_up(norm(mid))))
//
// x, mid and out are the residual stream, f32 [tokens, hidden]. Some families norm every query and key
// head before the rotary turn, and some what attention and feed-forward hand to the residual stream.
import { invariant } from "../base/error.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { AttentionLayout } from "../kernels/attention-layout.ts";
import { attentionForward } from "../kernels/attention.ts";
import type { RopeTurn } from "../kernels/matmul-rope.ts";
import { gluForward } from "../kernels/glu.ts";
import { headNormForward } from "../kernels/head-norm.ts";
import { rmsNormForward } from "../kernels/rms-norm.ts";
import type { Architecture, LayerKind } from "./architecture.ts";
import type { LinearName } from "./families.ts";
import { type Linear, type LinearOperands, type Recording, recordLinear } from "./linear.ts";
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

/**
 * The activations that a block's backward pass reads, but for what it makes itself: the gated activation
 * comes again with its gradient.
 */
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
  /** Undefined, too, where it was neither kept nor needed to run the block again. */
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
  /** As `recordLinear`. */
  linear(linear: Linear, operands: LinearOperands): Tensor | undefined;
  /** How queries and keys are turned; absent where `attend` does it. */
  readonly rope?: RopeTurn;
  /** Attends. Returns log Σ exp(scores) where it makes it. */
  attend(qkv: Tensor, attended: Tensor, layout: AttentionLayout): Tensor | undefined;
}

/** What of a block is known before it is recorded. */
export type KnownActivations = Partial<BlockActivations>;

/**
 * Records a block. `out` gets the residual stream after it; without `out` the last step is left away,
 * which is all that a backward pass needs of a block that is run again. What is `known` from an earlier
 * run is not made again.
 */
export function recordBlock(
  recording: Recording,
  architecture: Architecture,
  block: Block,
  parts: BlockParts,
  x: Tensor,
  out: Tensor | undefined,
  known: KnownActivations = {},
): BlockActivations {
  const { recorder, act } = recording;
  const { hidden: width, epsilon, intermediate } = architecture;
  const { norms } = block;
  const tokens = x.shape[0] ?? 0;
  const make: Make = (name, columns, dtype = act) =>
    recorder.transient(`layers.${block.index}.${name}`, dtype, [tokens, columns]);
  const context = { recording, architecture, block, parts, make, known };

  const attention = recordAttention(context, x);
  const fromAttention = recordAttentionOut(context, x, attention.attended);
  const { mid } = fromAttention;

  let { midNormed, gateUp, gateUpH } = known;
  if (!midNormed) {
    midNormed = make("mid_normed", width);
    rmsNormForward(recorder, { x: mid, weight: norms.mlp, y: midNormed, epsilon });
  }
  if (!gateUp) {
    gateUp = make("gate_up", 2 * intermediate);
    gateUpH = parts.linear(block.gateUp, { x: midNormed, y: gateUp, h: gateUpH });
  }
  const fromMlp = recordMlpOut(context, mid, gateUp, out);
  return { x, ...attention, ...fromAttention, midNormed, gateUp, gateUpH, ...fromMlp };
}

/** A transient of the block, [tokens, columns], in the storage type of activations if none is named. */
type Make = (name: string, columns: number, dtype?: "f32" | "f16") => Tensor;

interface BlockContext {
  readonly recording: Recording;
  readonly architecture: Architecture;
  readonly block: Block;
  readonly parts: BlockParts;
  readonly make: Make;
  readonly known: KnownActivations;
}

/** From the residual stream to what the heads attended to. */
function recordAttention(context: BlockContext, x: Tensor) {
  const { recording, architecture, block, parts, make, known } = context;
  const { hidden: width, epsilon, heads, headSize } = architecture;
  const layout = attentionLayout(architecture);
  let { normed, attended, logSumExp } = known;
  if (!normed) {
    normed = make("normed", width);
    rmsNormForward(recording.recorder, { x, weight: block.norms.attention, y: normed, epsilon });
  }
  const heard = known.qkv
    ? { qkv: known.qkv, rawQkv: known.rawQkv, qkvH: known.qkvH }
    : recordQkv(context, normed, layout);
  if (!attended) {
    attended = make("attended", heads * headSize);
    logSumExp = parts.attend(heard.qkv, attended, layout);
  }
  return { normed, ...heard, attended, logSumExp };
}

/** Queries, keys and values, the first two normed where the family does that, and turned. */
function recordQkv(
  { recording, architecture, block, parts, make, known }: BlockContext,
  normed: Tensor,
  layout: AttentionLayout,
) {
  const { recorder } = recording;
  const { query: queryWeight, key: keyWeight } = block.norms;
  const { rope } = parts;
  const mapped = make("qkv", layout.stride);
  if (!queryWeight || !keyWeight) {
    const qkvH = parts.linear(block.qkv, { x: normed, y: mapped, h: known.qkvH, rope });
    return { qkv: mapped, rawQkv: undefined, qkvH };
  }
  const qkvH = parts.linear(block.qkv, { x: normed, y: mapped, h: known.qkvH });
  const qkv = make("qkv_normed", layout.stride);
  const { epsilon } = architecture;
  headNormForward(recorder, { x: mapped, y: qkv, queryWeight, keyWeight, layout, epsilon, rope });
  return { qkv, rawQkv: mapped, qkvH };
}

/** mid = x + attention_out(attended), with what the map makes normed first where the family does that. */
function recordAttentionOut(
  { recording, architecture, block, parts, make, known }: BlockContext,
  x: Tensor,
  attended: Tensor,
): Pick<BlockActivations, "mid" | "attendedH" | "attentionAdd"> {
  const { hidden, epsilon } = architecture;
  const { attendedH: h, attentionAdd } = known;
  if (known.mid) return { mid: known.mid, attendedH: h, attentionAdd };
  const { postAttention: weight } = block.norms;
  const mid = make("mid", hidden, "f32");
  const shared = { x: attended, h };
  if (!weight) {
    const attendedH = parts.linear(block.attentionOut, { ...shared, y: mid, residual: x });
    return { mid, attendedH, attentionAdd: undefined };
  }
  const made = make("attention_out_made", hidden, "f32");
  const attendedH = parts.linear(block.attentionOut, { ...shared, y: made });
  rmsNormForward(recording.recorder, { x: made, weight, y: mid, epsilon, residual: x });
  return { mid, attendedH, attentionAdd: made };
}

/** out = mid + down(glu(gateUp)), as `recordAttentionOut`. Without `out`, only what a backward pass reads. */
function recordMlpOut(
  { recording, architecture, block, parts, make, known }: BlockContext,
  mid: Tensor,
  gateUp: Tensor,
  out: Tensor | undefined,
): Pick<BlockActivations, "hiddenH" | "mlpAdd"> {
  const { recorder } = recording;
  const { hidden: width, epsilon, intermediate, activation } = architecture;
  const { postMlp: weight } = block.norms;
  const { hiddenH: h, mlpAdd } = known;
  if (!out && (mlpAdd || !weight)) return { hiddenH: h, mlpAdd };
  const hidden = make("hidden", intermediate);
  gluForward(recorder, { gu: gateUp, h: hidden, activation });
  if (out && !weight) {
    const hiddenH = parts.linear(block.down, { x: hidden, y: out, residual: mid, h });
    return { hiddenH, mlpAdd: undefined };
  }
  const made = make("down_made", width, "f32");
  const hiddenH = parts.linear(block.down, { x: hidden, y: made, h });
  if (out && weight) rmsNormForward(recorder, { x: made, weight, y: out, epsilon, residual: mid });
  return { hiddenH, mlpAdd: made };
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
  const layout = attentionLayout(architecture);
  return {
    linear: (linear, operands) => recordLinear(recording, linear, operands),
    rope: { positions, table: tableOf(inputs, kind), layout },
    attend(qkv, attended) {
      const [tokens = 0] = qkv.shape;
      const sums = [2, tokens, layout.heads];
      const lse = recorder.transient(`layers.${index}.log_sum_exp`, "f32", sums);
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
