// Attention for adapters that pay for loads, not for multiplications: software ones with subgroups of 4 lanes or more.
import attentionLanes from "../../shaders/attention-lanes.wgsl?raw";
import lanesLib from "../../shaders/lib/attention-lanes.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { MAX_WORKGROUPS, type Shader, type Variant, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUPS } from "../gpu/subgroups.ts";
import type { Tensor } from "../gpu/tensor.ts";
import {
  ATTENTION_PARAMS,
  type AttentionOperands,
  attentionParams,
  FORWARD_BINDINGS,
  pairsOf,
  ROWS_SOURCE,
} from "./attention-operands.ts";
import { lanesOf } from "./matmul-lanes.ts";
import { WIDEN_SOURCE } from "./weight.ts";

export const LANES_VARIANT = "lanes 8x8";

// Rows of one workgroup, of either side.
const OWN = 8;
// Quads of a result that a lane has registers for. A longer head takes more workgroups, each with scores of its own.
const MAX_SLOTS = 4;

/** What attention is made with on software, where nothing is tried; undefined on a GPU, and without subgroups. */
export function untriedVariant(gpu: Gpu): string | undefined {
  return gpu.info.isFallbackAdapter && lanesOf(gpu) > 0 ? LANES_VARIANT : undefined;
}

/** How a pass is made over lanes. */
export interface LanesPass {
  /** The types and constants of its shader. */
  readonly variant: Variant;
  /** Workgroups along the tokens. */
  readonly across: number;
  /** Workgroups that share a head. */
  readonly slices: number;
}

/** The same for qkv [tokens, …]. Undefined if `variant` is another, or the device cannot run it. */
export function lanesPass(
  gpu: Gpu,
  variant: string | undefined,
  { dtype, shape: [tokens = 0] }: Tensor,
  headSize: number,
): LanesPass | undefined {
  const lanes = lanesOf(gpu);
  const across = workgroups(tokens, OWN);
  // Of more rows others make more in one workgroup.
  if (variant !== LANES_VARIANT || lanes === 0 || across > MAX_WORKGROUPS) return undefined;
  const needed = workgroups(headSize, 4 * lanes);
  // 1, 2 or 4, to have few variants of the shader.
  const slots = needed < 3 ? needed : MAX_SLOTS;
  return {
    variant: {
      // f16 is loaded in pairs: these adapters load number by number.
      types: { Act: dtype, Quad: dtype === "f16" ? "vec2u" : "vec4f" },
      constants: { LANES: lanes, SLOTS: slots },
    },
    across,
    slices: workgroups(headSize, 4 * lanes * slots),
  };
}

/** The text that both passes are made of, for activations of a type. */
export function lanesSource({ dtype }: Tensor): readonly string[] {
  return [...ROWS_SOURCE, WIDEN_SOURCE[dtype === "f16" ? "packed-f16" : "native"], lanesLib];
}

function shaderFor(qkv: Tensor) {
  return {
    label: "attention-lanes",
    source: [...lanesSource(qkv), attentionLanes],
    bindings: FORWARD_BINDINGS,
    params: ATTENTION_PARAMS,
    enables: [SUBGROUPS.enable],
  } as const satisfies Shader<string, string>;
}

/** Records `attentionForward` over operands that it has checked. */
export function recordLanesForward(
  recorder: Recorder,
  operands: AttentionOperands,
  { variant, across, slices }: LanesPass,
): void {
  const { qkv, segmentStart, o, lse, layout } = operands;
  const { heads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  recorder.dispatch(shaderFor(qkv), {
    ...variant,
    entry: "forward",
    buffers: { qkv, segment_start: segmentStart, o, lse },
    params: attentionParams(tokens, layout, operands),
    grid: [across, heads, slices],
    flops: 4 * pairsOf(tokens, operands) * heads * headSize,
  });
}
