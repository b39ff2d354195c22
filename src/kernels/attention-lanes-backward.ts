// The gradient of attention over lanes.
import attentionLanesBackward from "../../shaders/attention-lanes-backward.wgsl?raw";
import turnBack from "../../shaders/lib/turn-back.wgsl?raw";
import turnNone from "../../shaders/lib/turn-none.wgsl?raw";
import type { Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUPS } from "../gpu/subgroups.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { type LanesPass, lanesSource } from "./attention-lanes.ts";
import {
  ATTENTION_PARAMS,
  type AttentionGradients,
  attentionParams,
  BACKWARD_BINDINGS,
  pairsOf,
} from "./attention-operands.ts";

function shaderFor(qkv: Tensor, turns: boolean) {
  return {
    label: turns ? "attention-lanes-backward-turned" : "attention-lanes-backward",
    source: [...lanesSource(qkv), turns ? turnBack : turnNone, attentionLanesBackward],
    bindings: BACKWARD_BINDINGS,
    params: ATTENTION_PARAMS,
    enables: [SUBGROUPS.enable],
  } as const satisfies Shader<string, string>;
}

/**
 * Records `attentionBackward` over operands that it has checked. `rope` of the operands is applied, and must
 * be one that shaders can turn back as they store.
 */
export function recordLanesBackward(
  recorder: Recorder,
  operands: AttentionGradients,
  { variant, across, slices }: LanesPass,
): void {
  const { qkv, segmentStart, lse, layout, o, dO, dqkv, rope } = operands;
  const { heads, kvHeads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  const shader = shaderFor(qkv, rope !== undefined);
  const shared = { ...variant, params: attentionParams(tokens, layout, operands, rope?.table) };
  const buffers = { qkv, segment_start: segmentStart, d_o: dO, lse, d_qkv: dqkv, ...rope };
  const flops = pairsOf(tokens, operands) * heads * headSize;
  recorder.dispatch(shader, {
    ...shared,
    entry: "backward_queries",
    buffers: { ...buffers, o },
    grid: [across, heads, slices],
    flops: 6 * flops,
  });
  recorder.dispatch(shader, {
    ...shared,
    entry: "backward_keys",
    buffers,
    grid: [across, kvHeads, slices],
    flops: 8 * flops,
  });
}
