// The gradient of attention by subgroup matrices; variants are named as those of the forward pass.
import attentionMatrixBackward from "../../shaders/attention-matrix-backward.wgsl?raw";
import entry from "../../shaders/lib/attention-backward-entry.wgsl?raw";
import emulatedEntry from "../../shaders/lib/attention-backward-entry-emulated.wgsl?raw";
import sizedEntry from "../../shaders/lib/attention-backward-entry-sized.wgsl?raw";
import list from "../../shaders/lib/attention-list.wgsl?raw";
import noted from "../../shaders/lib/attention-noted.wgsl?raw";
import turnBack from "../../shaders/lib/turn-back.wgsl?raw";
import turnNone from "../../shaders/lib/turn-none.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUP_MATRIX, SUBGROUP_SIZE, SUBGROUPS } from "../gpu/subgroups.ts";
import {
  EMULATED_UNITS,
  type MatrixVariant,
  memoryBytes,
  memoryConstants,
  MOST_HELD,
  runsUnits,
  wayOf,
  UNITS,
} from "./attention-matrix.ts";
import {
  ATTENTION_PARAMS,
  type AttentionGradients,
  attentionParams,
  BACKWARD_BINDINGS,
  pairsOf,
  ROWS_SOURCE,
} from "./attention-operands.ts";

const OWN = 32;
const SUBGROUP_ROWS = 16;
// A longer head has more numbers than a subgroup has registers for.
const MAX_HEAD_SIZE = 128;

/** The three ways to subgroups, with or without turning back what is stored. */
function shaders(label: string, turn: string) {
  const base = { bindings: BACKWARD_BINDINGS, params: ATTENTION_PARAMS };
  const source = [...ROWS_SOURCE, list, noted, turn];
  const enables = [SUBGROUPS.enable, SUBGROUP_MATRIX.enable];
  return {
    whole: {
      ...base,
      label,
      source: [...source, ...UNITS, attentionMatrixBackward, entry],
      enables,
    },
    sized: {
      ...base,
      label: `${label}-sized`,
      source: [...source, ...UNITS, attentionMatrixBackward, sizedEntry],
      enables: [...enables, SUBGROUP_SIZE.enable],
    },
    emulated: {
      ...base,
      label: `${label}-emulated`,
      source: [...source, ...EMULATED_UNITS, attentionMatrixBackward, emulatedEntry],
    },
  } as const satisfies Readonly<Record<string, Shader<string, string>>>;
}

const SHADERS = shaders("attention-matrix-backward", turnNone);
const TURNING_SHADERS = shaders("attention-matrix-backward-turned", turnBack);

/**
 * Records `attentionBackward` over operands that it has checked. `rope` of the operands is applied, and must
 * be one that shaders can turn back as they store.
 */
export function recordMatrixBackward(
  recorder: Recorder,
  operands: AttentionGradients,
  variant: MatrixVariant,
): void {
  const { qkv, segmentStart, lse, layout, o, dO, dqkv, rope } = operands;
  const { heads, kvHeads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  const way = wayOf(recorder.gpu, variant);
  const shader = rope ? TURNING_SHADERS[way] : SHADERS[way];
  const flops = pairsOf(tokens, operands) * heads * headSize;
  const shared = {
    types: { Act: qkv.dtype, Shared: variant.type },
    constants: constantsFor(variant, headSize),
    params: attentionParams(tokens, layout, operands, rope?.table),
  };
  const buffers = { qkv, segment_start: segmentStart, d_o: dO, lse, d_qkv: dqkv, ...rope };
  recorder.dispatch(shader, {
    ...shared,
    entry: "backward_queries",
    buffers: { ...buffers, o },
    grid: [workgroups((tokens * heads) / kvHeads, OWN), kvHeads],
    flops: 6 * flops,
  });
  recorder.dispatch(shader, {
    ...shared,
    entry: "backward_keys",
    buffers,
    grid: [workgroups(tokens, OWN), kvHeads],
    flops: 8 * flops,
  });
}

/** Whether `gpu` has the units, the subgroups and the workgroup memory that `recordMatrixBackward` takes. */
export function runsBackward(gpu: Gpu, variant: MatrixVariant, headSize: number): boolean {
  const { other, unit } = variant;
  const { COLUMNS } = constantsFor(variant, headSize);
  const ownUnits = (2 * OWN * other) / (unit.rows * unit.columns);
  const bytes =
    memoryBytes(variant, {
      staged: (2 * other * COLUMNS) / unit.columns ** 2,
      weights: ownUnits,
      scores: Math.max(ownUnits, (SUBGROUP_ROWS * COLUMNS) / (unit.rows * unit.columns)),
    }) +
    32 * 6 * 4 +
    128 * 4;
  return (
    headSize <= MAX_HEAD_SIZE &&
    COLUMNS / unit.columns <= MOST_HELD &&
    runsUnits(gpu, variant) &&
    bytes <= gpu.device.limits.maxComputeWorkgroupStorageSize
  );
}

function constantsFor(variant: MatrixVariant, headSize: number) {
  return {
    ...memoryConstants(variant),
    OTHER: variant.other,
    // Two halves of whole units.
    COLUMNS: Math.ceil(headSize / 32) * 32,
    GRADIENT_FACTOR: variant.type === "f16" ? 32 : 1,
  };
}
