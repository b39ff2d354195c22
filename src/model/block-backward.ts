// The backward pass of a decoder block, from what its forward pass kept.
import { invariant } from "../base/error.ts";
import { matrixShape, type Tensor } from "../gpu/tensor.ts";
import { attentionBackward } from "../kernels/attention-backward.ts";
import { gluBackward } from "../kernels/glu.ts";
import { headNormBackward } from "../kernels/head-norm.ts";
import { rmsNormBackward } from "../kernels/rms-norm.ts";
import type { Architecture } from "./architecture.ts";
import {
  attentionLayout,
  type Block,
  type BlockActivations,
  scoresOf,
  type SequenceInputs,
  tableOf,
} from "./block.ts";
import {
  recordAdapterGradients,
  recordInputGradient,
  type Recording,
  recordLinearBackward,
  recordLoraDown,
} from "./linear.ts";

/**
 * Records a block's backward pass. `dResidual` f32 [tokens, hidden] comes in as the gradient of the
 * block's output and goes out as that of its input. The first block's input has no one to want its
 * gradient: `isFirst` leaves that part away. `kept.gateUp` is overwritten.
 */
export function recordBlockBackward(
  recording: Recording,
  architecture: Architecture,
  block: Block,
  inputs: SequenceInputs,
  kept: BlockActivations,
  dResidual: Tensor,
  isFirst: boolean,
): void {
  const context = { recording, architecture, block, inputs, kept, dResidual };
  recordMlpBackward(context);
  const dqkv = recordAttentionBackward(context);
  const dNormed = isFirst ? undefined : like(context, "normed", kept.normed);
  recordLinearBackward(recording, block.qkv, {
    dy: dqkv,
    x: kept.normed,
    h: kept.qkvH,
    dx: dNormed,
  });
  if (!dNormed) return;
  rmsNormBackward(recording.recorder, {
    dy: dNormed,
    x: kept.x,
    weight: block.norms.attention,
    dx: dResidual,
    epsilon: architecture.epsilon,
    accumulate: true,
  });
}

interface BackwardContext {
  readonly recording: Recording;
  readonly architecture: Architecture;
  readonly block: Block;
  readonly inputs: SequenceInputs;
  readonly kept: BlockActivations;
  readonly dResidual: Tensor;
}

/** A transient for the gradient of `tensor`. */
function like(
  { recording: { recorder, act }, block }: BackwardContext,
  name: string,
  tensor: Tensor,
  dtype: "f32" | "f16" = act,
): Tensor {
  return recorder.transient(`layers.${block.index}.d_${name}`, dtype, tensor.shape);
}

/** The gradient of what a map handed to the residual stream, through the norm on its way if it has one. */
function beforeNorm(
  context: BackwardContext,
  made: Tensor | undefined,
  weight: Tensor | undefined,
  name: string,
): Tensor {
  const { recording, architecture, dResidual: dy } = context;
  if (!made || !weight) return dy;
  const dx = like(context, name, made, "f32");
  const { epsilon } = architecture;
  rmsNormBackward(recording.recorder, { x: made, weight, dy, dx, epsilon, accumulate: false });
  return dx;
}

/** The feed-forward half; adds to dResidual. */
function recordMlpBackward(context: BackwardContext): void {
  const { recording, architecture, block, kept, dResidual } = context;
  const { recorder } = recording;
  const { epsilon, activation, intermediate } = architecture;
  const dy = beforeNorm(context, kept.mlpAdd, block.norms.postMlp, "mlp_add");
  const [tokens] = matrixShape(dy);
  const label = `layers.${block.index}.d_hidden`;
  const dHidden = recorder.transient(label, recording.act, [tokens, intermediate]);
  const dh = recordInputGradient(recording, block.down, { dy, dx: dHidden });
  gluBackward(recorder, { gu: kept.gateUp, dh: dHidden, activation });
  const hidden = dHidden; // by now
  const h = kept.hiddenH ?? recordLoraDown(recording, block.down, hidden);
  recordAdapterGradients(recording, block.down, { dy, x: hidden, h, dh });
  const dMidNormed = like(context, "mid_normed", kept.midNormed);
  recordLinearBackward(recording, block.gateUp, {
    dy: kept.gateUp,
    x: kept.midNormed,
    h: kept.gateUpH,
    dx: dMidNormed,
  });
  rmsNormBackward(recorder, {
    dy: dMidNormed,
    x: kept.mid,
    weight: block.norms.mlp,
    dx: dResidual,
    epsilon,
    accumulate: true,
  });
}

/** From the gradient of the residual stream to that of what the qkv map made. */
function recordAttentionBackward(context: BackwardContext): Tensor {
  const { recording, architecture, block, inputs, kept } = context;
  const { recorder } = recording;
  const { epsilon } = architecture;
  const { qkv, rawQkv, attended, logSumExp: lse } = kept;
  const { postAttention, query: queryWeight, key: keyWeight } = block.norms;
  const dAttended = like(context, "attended", attended);
  recordLinearBackward(recording, block.attentionOut, {
    dy: beforeNorm(context, kept.attentionAdd, postAttention, "attention_add"),
    x: attended,
    h: kept.attendedH,
    dx: dAttended,
  });

  const layout = attentionLayout(architecture);
  const { segmentStart, positions } = inputs;
  invariant(
    lse !== undefined,
    () => `layer ${block.index} was recorded without its sums of scores`,
  );
  const dqkv = like(context, "qkv", qkv);
  const rope = { positions, table: tableOf(inputs, block.kind) };
  const isNormed = rawQkv && queryWeight && keyWeight;
  attentionBackward(recorder, {
    qkv,
    segmentStart,
    o: attended,
    lse,
    dO: dAttended,
    dqkv,
    layout,
    // Heads that were normed are turned back where that is undone.
    rope: isNormed ? undefined : rope,
    ...scoresOf(architecture, block.kind),
  });
  if (isNormed) {
    const norm = { queryWeight, keyWeight, layout, epsilon, rope };
    headNormBackward(recorder, { x: rawQkv, dy: dqkv, ...norm });
  }
  return dqkv;
}
