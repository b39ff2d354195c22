// Causal grouped-query attention within documents, without a matrix of scores.
import attention from "../../shaders/attention.wgsl?raw";
import pieces from "../../shaders/lib/attention-pieces.wgsl?raw";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import type { AttentionLayout } from "./attention-layout.ts";
import {
  ATTENTION_PARAMS,
  type AttentionOperands,
  attentionParams,
  checkOperands,
  FORWARD_BINDINGS,
  pairsOf,
  ROWS_SOURCE,
} from "./attention-operands.ts";
import { lanesPass, recordLanesForward } from "./attention-lanes.ts";
import { matrixNamed, recordMatrixForward, runsForward } from "./attention-matrix.ts";
import { fitsForward, recordTileForward, tileNamed } from "./attention-tile.ts";
import { untriedForward } from "./attention-untried.ts";

// Rows of one workgroup.
const TILE = 32;
// Dimensions of a head that a workgroup sums in one slot of registers.
const SLOT_DIMENSIONS = 32;
// Slots a thread has registers for. A longer head takes more workgroups, each with scores of its own.
const MAX_SLOTS = 4;

/** Comes after the text that says where keys and values are. */
export const DIRECT_SOURCE = [pieces, attention] as const;

const shader = {
  label: "attention",
  source: [...ROWS_SOURCE, ...DIRECT_SOURCE],
  bindings: FORWARD_BINDINGS,
  params: ATTENTION_PARAMS,
} as const satisfies Shader<string, string>;

/** o = softmax(scale · q · kᵀ) · v for every query and head, and the log of each softmax's sum. */
export function attentionForward(recorder: Recorder, operands: AttentionOperands): void {
  const { qkv, segmentStart, lse, layout, o } = operands;
  const { heads, headSize } = layout;
  const tokens = checkOperands("attentionForward", operands);
  const act = qkv.dtype === "f16" ? "f16" : "f32";
  const choice = recorder.choice(`attention.${act}.forward`) ?? untriedForward(recorder.gpu, act);
  const lanes = lanesPass(recorder.gpu, choice, qkv, headSize);
  if (lanes) {
    recordLanesForward(recorder, operands, lanes);
    return;
  }
  const matrix = matrixNamed(choice);
  if (matrix && runsForward(recorder.gpu, matrix, headSize)) {
    recordMatrixForward(recorder, operands, matrix);
    return;
  }
  const tile = tileNamed(choice);
  if (tile && fitsForward(recorder.gpu, tile, act, tokens, layout)) {
    recordTileForward(recorder, operands, tile);
    return;
  }
  recorder.dispatch(shader, {
    ...directCall(tokens, layout),
    types: { Act: qkv.dtype },
    buffers: { qkv, segment_start: segmentStart, o, lse },
    params: attentionParams(tokens, layout, operands),
    flops: 4 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/** What is the same wherever keys and values are. */
export function directCall(tokens: number, { heads, headSize }: AttentionLayout) {
  const needed = workgroups(headSize, SLOT_DIMENSIONS);
  // 1, 2 or 4, to have few variants of the shader.
  const slots = needed < 3 ? needed : MAX_SLOTS;
  return {
    entry: "forward",
    constants: { SLOTS: slots },
    grid: [workgroups(tokens, TILE), heads, workgroups(headSize, slots * SLOT_DIMENSIONS)],
  } as const;
}
