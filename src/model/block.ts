// One decoder block: its forward pass, and its backward pass from what forward kept.
//
//   mid = x + attention_out(attention(rope(qkv(norm(x)))))
//   out = mid + down(swiglu(gate_up(norm(mid))))
//
// x, mid and out are the residual stream, f32 [tokens, hidden].
import type { Tensor } from "../gpu/tensor.ts";
import {
  attentionBackwardKeys,
  attentionBackwardQueries,
  attentionForward,
  type AttentionLayout,
  attentionRowDot,
} from "../kernels/attention.ts";
import { rmsNormBackward, rmsNormForward } from "../kernels/rms-norm.ts";
import { ropeBackward, ropeForward } from "../kernels/rope.ts";
import { swigluBackward, swigluForward } from "../kernels/swiglu.ts";
import type { Architecture } from "./architecture.ts";
import {
  type Linear,
  type Recording,
  recordLinear,
  recordLinearBackward,
  recordLoraDown,
} from "./linear.ts";

export interface Block {
  readonly index: number;
  readonly attentionNorm: Tensor;
  readonly mlpNorm: Tensor;
  readonly qkv: Linear;
  readonly attentionOut: Linear;
  readonly gateUp: Linear;
  readonly down: Linear;
}

/** What every block of a program reads besides its weights. */
export interface SequenceInputs {
  /** u32 [tokens] each. */
  readonly positions: Tensor;
  readonly segmentStart: Tensor;
  /** cos and sin, f32 [maxPositions, headSize]. */
  readonly ropeTable: Tensor;
}

/** The activations that a block's backward pass reads. */
export interface BlockActivations {
  readonly x: Tensor;
  readonly normed: Tensor;
  readonly qkv: Tensor;
  readonly qkvH: Tensor | undefined;
  readonly attended: Tensor;
  readonly logSumExp: Tensor;
  readonly attendedH: Tensor | undefined;
  readonly mid: Tensor;
  readonly midNormed: Tensor;
  readonly gateUp: Tensor;
  readonly gateUpH: Tensor | undefined;
  readonly hidden: Tensor;
  readonly hiddenH: Tensor | undefined;
}

/** Where the heads lie in a row of the fused qkv map: all queries, then all keys, then all values. */
export function attentionLayout({ heads, kvHeads, headSize }: Architecture): AttentionLayout {
  return {
    heads,
    kvHeads,
    headSize,
    stride: (heads + 2 * kvHeads) * headSize,
    qGroupStride: (heads / kvHeads) * headSize,
    kBase: heads * headSize,
    vBase: (heads + kvHeads) * headSize,
    kStride: headSize,
  };
}

/**
 * Records a block. `out` gets the residual stream after it; without `out` the last map is left away,
 * which is all that a backward pass needs of a recomputed block.
 */
export function recordBlock(
  recording: Recording,
  architecture: Architecture,
  block: Block,
  inputs: SequenceInputs,
  x: Tensor,
  out: Tensor | undefined,
): BlockActivations {
  const { recorder, act } = recording;
  const { hidden: width, epsilon, intermediate, heads, headSize } = architecture;
  const tokens = x.shape[0] ?? 0;
  const layout = attentionLayout(architecture);
  const make = (name: string, columns: number, dtype: "f32" | "f16" = act) =>
    recorder.transient(`layers.${block.index}.${name}`, dtype, [tokens, columns]);

  const normed = make("normed", width);
  rmsNormForward(recorder, { x, weight: block.attentionNorm, y: normed, epsilon });
  const qkv = make("qkv", layout.stride);
  const qkvH = recordLinear(recording, block.qkv, { x: normed, y: qkv });
  const { positions, segmentStart, ropeTable } = inputs;
  ropeForward(recorder, { qkv, positions, table: ropeTable, layout });
  const attended = make("attended", heads * headSize);
  const logSumExp = make("log_sum_exp", heads, "f32");
  attentionForward(recorder, { qkv, segmentStart, o: attended, lse: logSumExp, layout });
  const mid = make("mid", width, "f32");
  const attendedH = recordLinear(recording, block.attentionOut, {
    x: attended,
    y: mid,
    residual: x,
  });

  const midNormed = make("mid_normed", width);
  rmsNormForward(recorder, { x: mid, weight: block.mlpNorm, y: midNormed, epsilon });
  const gateUp = make("gate_up", 2 * intermediate);
  const gateUpH = recordLinear(recording, block.gateUp, { x: midNormed, y: gateUp });
  const hidden = make("hidden", intermediate);
  swigluForward(recorder, { gu: gateUp, h: hidden });
  const hiddenH = out
    ? recordLinear(recording, block.down, { x: hidden, y: out, residual: mid })
    : recordLoraDown(recording, block.down, hidden);

  return {
    x,
    normed,
    qkv,
    qkvH,
    attended,
    logSumExp,
    attendedH,
    mid,
    midNormed,
    gateUp,
    gateUpH,
    hidden,
    hiddenH,
  };
}

/**
 * Records a block's backward pass. `dResidual` f32 [tokens, hidden] comes in as the gradient of the
 * block's output and goes out as that of its input. The first block's input has no one to want its
 * gradient: `isFirst` leaves that part away. `gateUp` and `qkv` are overwritten.
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
  const { recorder, act } = recording;
  const { epsilon, heads } = architecture;
  const layout = attentionLayout(architecture);
  const like = (name: string, tensor: Tensor, dtype: "f32" | "f16" = act) =>
    recorder.transient(`layers.${block.index}.d_${name}`, dtype, tensor.shape);

  const dHidden = like("hidden", kept.hidden);
  const { hidden, hiddenH } = kept;
  recordLinearBackward(recording, block.down, {
    dy: dResidual,
    x: hidden,
    h: hiddenH,
    dx: dHidden,
  });
  swigluBackward(recorder, { gu: kept.gateUp, dh: dHidden, dgu: kept.gateUp });
  const dMidNormed = like("mid_normed", kept.midNormed);
  recordLinearBackward(recording, block.gateUp, {
    dy: kept.gateUp,
    x: kept.midNormed,
    h: kept.gateUpH,
    dx: dMidNormed,
  });
  rmsNormBackward(recorder, {
    dy: dMidNormed,
    x: kept.mid,
    weight: block.mlpNorm,
    dx: dResidual,
    epsilon,
    accumulate: true,
  });

  const dAttended = like("attended", kept.attended);
  recordLinearBackward(recording, block.attentionOut, {
    dy: dResidual,
    x: kept.attended,
    h: kept.attendedH,
    dx: dAttended,
  });
  const { segmentStart } = inputs;
  const tokens = kept.x.shape[0] ?? 0;
  const rowDot = recorder.transient(`layers.${block.index}.row_dot`, "f32", [tokens, heads]);
  attentionRowDot(recorder, { o: kept.attended, dO: dAttended, rowDot, layout });
  const dqkv = like("qkv", kept.qkv);
  const shared = { qkv: kept.qkv, segmentStart, dO: dAttended, lse: kept.logSumExp, rowDot };
  attentionBackwardKeys(recorder, { ...shared, dqkv, layout });
  attentionBackwardQueries(recorder, { ...shared, dqkv, layout });
  ropeBackward(recorder, {
    qkv: dqkv,
    positions: inputs.positions,
    table: inputs.ropeTable,
    layout,
  });
  const dNormed = isFirst ? undefined : like("normed", kept.normed);
  recordLinearBackward(recording, block.qkv, {
    dy: dqkv,
    x: kept.normed,
    h: kept.qkvH,
    dx: dNormed,
  });
  if (!dNormed) return;
  rmsNormBackward(recorder, {
    dy: dNormed,
    x: kept.x,
    weight: block.attentionNorm,
    dx: dResidual,
    epsilon,
    accumulate: true,
  });
}
