// Attention by subgroup matrices, in the sizes of unit that an adapter tells of.
//
// "matrix 32 of 16x16x16 f16" walks over 32 keys at a time and multiplies units of 16 × 16 × 16 in f16.
// "emulated" in place of "matrix" computes the same without subgroup matrices, to check it by.
import attentionMatrix from "../../shaders/attention-matrix.wgsl?raw";
import entry from "../../shaders/lib/attention-entry.wgsl?raw";
import emulatedEntry from "../../shaders/lib/attention-entry-emulated.wgsl?raw";
import sizedEntry from "../../shaders/lib/attention-entry-sized.wgsl?raw";
import list from "../../shaders/lib/attention-list.wgsl?raw";
import rows from "../../shaders/lib/attention-rows.wgsl?raw";
import emulatedUnits from "../../shaders/lib/attention-units-emulated.wgsl?raw";
import units from "../../shaders/lib/attention-units.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUP_MATRIX, SUBGROUP_SIZE, SUBGROUPS } from "../gpu/subgroups.ts";
import {
  ATTENTION_PARAMS,
  type AttentionOperands,
  attentionParams,
  FORWARD_BINDINGS,
  pairsOf,
} from "./attention-operands.ts";

/** How a kernel multiplies by matrices. */
export interface MatrixVariant {
  readonly isEmulated: boolean;
  /** Rows of the other side that are walked over at a time. */
  readonly other: number;
  readonly unit: { readonly rows: number; readonly columns: number; readonly depth: number };
  /** What is multiplied. */
  readonly type: "f32" | "f16";
}

// Lanes of a subgroup: what NVIDIA and Apple have, and AMD can be asked for.
export const LANES = 32;
const OWN = 64;
// Columns of values that a subgroup has registers for.
const MAX_VALUE_COLUMNS = 128;

const base = { label: "attention-matrix", bindings: FORWARD_BINDINGS, params: ATTENTION_PARAMS };

const SHADERS = {
  whole: {
    ...base,
    source: [rows, list, units, attentionMatrix, entry],
    enables: [SUBGROUPS.enable, SUBGROUP_MATRIX.enable],
  },
  sized: {
    ...base,
    label: "attention-matrix-sized",
    source: [rows, list, units, attentionMatrix, sizedEntry],
    enables: [SUBGROUPS.enable, SUBGROUP_MATRIX.enable, SUBGROUP_SIZE.enable],
  },
  emulated: {
    ...base,
    label: "attention-matrix-emulated",
    source: [rows, list, emulatedUnits, attentionMatrix, emulatedEntry],
  },
} as const satisfies Readonly<Record<string, Shader<string, string>>>;

/** Records `attentionForward` over operands that it has checked. */
export function recordMatrixForward(
  recorder: Recorder,
  operands: AttentionOperands,
  variant: MatrixVariant,
): void {
  const { qkv, segmentStart, o, lse, layout } = operands;
  const { heads, kvHeads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  const { valueColumns, ...constants } = constantsFor(variant, headSize);
  recorder.dispatch(SHADERS[subgroupsOf(recorder.gpu, variant)], {
    entry: "forward",
    types: { Act: qkv.dtype, Shared: variant.type },
    constants: { ...constants, VALUE_COLUMNS: valueColumns },
    buffers: { qkv, segment_start: segmentStart, o, lse },
    params: attentionParams(tokens, layout, operands),
    grid: [
      workgroups((tokens * heads) / kvHeads, OWN),
      kvHeads,
      workgroups(headSize, valueColumns),
    ],
    flops: 4 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/** Whether subgroups have LANES lanes, may be asked to, or are not needed. */
export function subgroupsOf(gpu: Gpu, { isEmulated }: MatrixVariant): keyof typeof SHADERS {
  if (isEmulated) return "emulated";
  return gpu.hasSubgroupSizes ? "sized" : "whole";
}

export function matrixNamed(name: string | undefined): MatrixVariant | undefined {
  const found = /^(matrix|emulated) (16|32) of (\d+)x(\d+)x(\d+) (f16|f32)$/.exec(name ?? "");
  if (!found) return undefined;
  const [, kind, other, unitRows, columns, depth, type] = found;
  return {
    isEmulated: kind === "emulated",
    other: Number(other),
    unit: { rows: Number(unitRows), columns: Number(columns), depth: Number(depth) },
    type: type === "f16" ? "f16" : "f32",
  };
}

/** Names of what `gpu` multiplies by matrices for activations of `act`: never in a narrower type. */
export function matrixVariants(
  gpu: Gpu,
  act: "f32" | "f16",
  runs: (variant: MatrixVariant) => boolean,
): readonly string[] {
  return gpu.matrixConfigs
    .filter(({ componentType, resultComponentType: result }) => {
      return result === "f32" && (componentType === "f32" || componentType === act);
    })
    .flatMap(({ M, N, K, componentType }) =>
      [32, 16].map((other) => `matrix ${other} of ${M}x${N}x${K} ${componentType}`),
    )
    .filter((name) => {
      const variant = matrixNamed(name);
      return variant !== undefined && runs(variant);
    });
}

/** Whether `gpu` has the units, the subgroups and the workgroup memory that `recordMatrixForward` takes. */
export function runsForward(gpu: Gpu, variant: MatrixVariant, headSize: number): boolean {
  const { other, type } = variant;
  const { HEAD_COLUMNS, PADDING_QUADS, valueColumns } = constantsFor(variant, headSize);
  const quadBytes = type === "f32" ? 16 : 8;
  const stagedQuads = other * (Math.max(HEAD_COLUMNS, valueColumns) / 4 + PADDING_QUADS);
  const weightQuads = OWN * (other / 4 + PADDING_QUADS);
  const scoreBytes = OWN * (other / 4 + 1) * 16;
  const bytes = (stagedQuads + weightQuads) * quadBytes + scoreBytes + 4 * LANES * 4 + 16;
  return runsUnits(gpu, variant) && bytes <= gpu.device.limits.maxComputeWorkgroupStorageSize;
}

/** Whether units fill the 16 rows of a subgroup, and the adapter has them. */
export function runsUnits(gpu: Gpu, { isEmulated, other, unit, type }: MatrixVariant): boolean {
  const { rows: unitRows, columns, depth } = unit;
  const fills =
    [8, 16].includes(unitRows) && [columns, depth].every((n) => n % 8 === 0 && other % n === 0);
  if (!fills || isEmulated) return fills && (type === "f32" || gpu.hasF16);
  const isSized = gpu.hasSubgroupSizes;
  const { subgroupMinSize: least, subgroupMaxSize: most } = gpu.info;
  return (
    (isSized ? least <= LANES && LANES <= most : least === LANES && most === LANES) &&
    gpu.matrixConfigs.some(
      ({ M, N, K, componentType, resultComponentType }) =>
        M === unitRows &&
        N === columns &&
        K === depth &&
        componentType === type &&
        resultComponentType === "f32",
    )
  );
}

function constantsFor({ other, unit, type }: MatrixVariant, headSize: number) {
  return {
    LANES,
    UNIT_ROWS: unit.rows,
    UNIT_COLUMNS: unit.columns,
    UNIT_DEPTH: unit.depth,
    OTHER: other,
    HEAD_COLUMNS: Math.ceil(headSize / unit.depth) * unit.depth,
    // Keeps rows on 16 bytes, and neighbors out of each other's banks.
    PADDING_QUADS: type === "f16" ? 2 : 1,
    valueColumns: Math.min(Math.ceil(headSize / other) * other, MAX_VALUE_COLUMNS),
  };
}
