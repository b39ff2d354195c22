// The gradient of causal grouped-query attention within documents, without a matrix of scores.
import attentionBackwardSource from "../../shaders/attention-backward.wgsl?raw";
import pieces from "../../shaders/lib/attention-pieces.wgsl?raw";
import turnBack from "../../shaders/lib/turn-back.wgsl?raw";
import turnNone from "../../shaders/lib/turn-none.wgsl?raw";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape } from "../gpu/tensor.ts";
import { recordLanesBackward } from "./attention-lanes-backward.ts";
import { lanesPass } from "./attention-lanes.ts";
import { recordMatrixBackward, runsBackward } from "./attention-matrix-backward.ts";
import { matrixNamed } from "./attention-matrix.ts";
import {
  ATTENTION_PARAMS,
  type AttentionGradients,
  attentionParams,
  BACKWARD_BINDINGS,
  checkGradients,
  pairsOf,
  type RopeOfHeads,
  ROWS_SOURCE,
} from "./attention-operands.ts";
import { fitsBackward, recordTileBackward } from "./attention-tile-backward.ts";
import { tileNamed } from "./attention-tile.ts";
import { untriedBackward } from "./attention-untried.ts";
import { ropeBackward } from "./rope.ts";

// Rows of one workgroup, of either side.
const TILE = 32;
// Dimensions of a head that a workgroup sums in one slot of registers.
const SLOT_DIMENSIONS = 32;
// Slots a thread has registers for. A longer head takes more workgroups, each with scores of its own.
const MAX_SLOTS = 4;
const KEY_SLOTS = 2; // for dk and dv each

const shader = {
  label: "attention-backward",
  source: [...ROWS_SOURCE, pieces, turnNone, attentionBackwardSource],
  bindings: BACKWARD_BINDINGS,
  params: ATTENTION_PARAMS,
} as const satisfies Shader<string, string>;

const turningShader = {
  ...shader,
  label: "attention-backward-turned",
  source: [...ROWS_SOURCE, pieces, turnBack, attentionBackwardSource],
} as const satisfies Shader<string, string>;

/** Writes the columns of dqkv that belong to heads, from o and lse as `attentionForward` left them. */
export function attentionBackward(recorder: Recorder, operands: AttentionGradients): void {
  const { qkv, layout, dqkv, rope } = operands;
  const tokens = checkGradients("attentionBackward", operands);
  const turned = turnedInStore(rope);
  const act = qkv.dtype === "f16" ? "f16" : "f32";
  const choice = recorder.choice(`attention.${act}.backward`) ?? untriedBackward(recorder.gpu, act);
  const lanes = lanesPass(recorder.gpu, choice, qkv, layout.headSize);
  const matrix = matrixNamed(choice);
  const tile = tileNamed(choice);
  if (lanes) {
    recordLanesBackward(recorder, { ...operands, rope: turned }, lanes);
  } else if (matrix && runsBackward(recorder.gpu, matrix, layout.headSize)) {
    recordMatrixBackward(recorder, { ...operands, rope: turned }, matrix);
  } else if (tile && fitsBackward(recorder.gpu, tile, act, tokens, layout)) {
    recordTileBackward(recorder, { ...operands, rope: turned }, tile);
  } else {
    recordDirect(recorder, { ...operands, rope: turned });
  }
  if (rope && !turned) ropeBackward(recorder, { qkv: dqkv, layout, ...rope });
}

/** The rotary positions, if shaders can turn heads back as they store them: in vectors of four. */
function turnedInStore(rope: RopeOfHeads | undefined): RopeOfHeads | undefined {
  return rope && matrixShape(rope.table)[1] % 8 === 0 ? rope : undefined;
}

/** The variant that every adapter runs. */
function recordDirect(recorder: Recorder, operands: AttentionGradients): void {
  const { qkv, segmentStart, lse, layout, o, dO, dqkv, rope } = operands;
  const { heads, kvHeads, headSize } = layout;
  const [tokens] = matrixShape(qkv);
  const slots = headSize <= 2 * SLOT_DIMENSIONS ? 2 : MAX_SLOTS;
  const shared = {
    types: { Act: qkv.dtype },
    constants: { SLOTS: slots },
    params: attentionParams(tokens, layout, operands, rope?.table),
  };
  const buffers = { qkv, segment_start: segmentStart, d_o: dO, lse, d_qkv: dqkv, ...rope };
  const flops = pairsOf(tokens, operands) * heads * headSize;
  recorder.dispatch(rope ? turningShader : shader, {
    ...shared,
    entry: "backward_queries",
    buffers: { ...buffers, o },
    grid: [workgroups(tokens, TILE), heads, workgroups(headSize, slots * SLOT_DIMENSIONS)],
    flops: 6 * flops,
  });
  recorder.dispatch(rope ? turningShader : shader, {
    ...shared,
    entry: "backward_keys",
    buffers,
    grid: [workgroups(tokens, TILE), kvHeads, workgroups(headSize, KEY_SLOTS * SLOT_DIMENSIONS)],
    flops: 8 * flops,
  });
}
