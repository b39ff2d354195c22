// Attention by subgroup matrices, in the sizes of unit that an adapter tells of.
//
// "matrix 32 of 16x16x16 f16" walks over 32 keys at a time and multiplies units of 16 × 16 × 16 in f16.
// "emulated" in place of "matrix" computes the same without subgroup matrices, to check it by.
import attentionMatrix from "../../shaders/attention-matrix.wgsl?raw";
import entry from "../../shaders/lib/attention-entry.wgsl?raw";
import emulatedEntry from "../../shaders/lib/attention-entry-emulated.wgsl?raw";
import sizedEntry from "../../shaders/lib/attention-entry-sized.wgsl?raw";
import held from "../../shaders/lib/attention-held.wgsl?raw";
import emulatedHeld from "../../shaders/lib/attention-held-emulated.wgsl?raw";
import list from "../../shaders/lib/attention-list.wgsl?raw";
import unitMemory from "../../shaders/lib/attention-unit-memory.wgsl?raw";
import emulatedUnits from "../../shaders/lib/attention-units-emulated.wgsl?raw";
import units from "../../shaders/lib/attention-units.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUP_MATRIX, SUBGROUP_SIZE, SUBGROUPS, subgroupsOf } from "../gpu/subgroups.ts";
import type { AttentionLayout } from "./attention-layout.ts";
import {
  ATTENTION_PARAMS,
  type AttentionOperands,
  attentionParams,
  FORWARD_BINDINGS,
  pairsOf,
  ROWS_SOURCE,
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
const LANES = 32;
const OWN = 64;
// Columns of values that a subgroup has registers for.
const MAX_VALUE_COLUMNS = 128;

/** What kernels of both passes multiply by: subgroup matrices, or what stands in for them. */
export const UNITS = [unitMemory, units, held];
export const EMULATED_UNITS = [unitMemory, emulatedUnits, emulatedHeld];

/** What comes after the text that says where keys and values are, in three ways to subgroups. */
export const MATRIX_SOURCES = {
  whole: {
    source: [list, ...UNITS, attentionMatrix, entry],
    enables: [SUBGROUPS.enable, SUBGROUP_MATRIX.enable],
  },
  sized: {
    source: [list, ...UNITS, attentionMatrix, sizedEntry],
    enables: [SUBGROUPS.enable, SUBGROUP_MATRIX.enable, SUBGROUP_SIZE.enable],
  },
  emulated: { source: [list, ...EMULATED_UNITS, attentionMatrix, emulatedEntry], enables: [] },
} as const;

export type MatrixWay = keyof typeof MATRIX_SOURCES;

/** What `make` makes for each of them, labeled after `label`. */
export function byWay<T>(
  label: string,
  make: (label: string, source: readonly string[], enables: readonly string[]) => T,
): Readonly<Record<MatrixWay, T>> {
  const { whole, sized, emulated } = MATRIX_SOURCES;
  return {
    whole: make(label, whole.source, whole.enables),
    sized: make(`${label}-sized`, sized.source, sized.enables),
    emulated: make(`${label}-emulated`, emulated.source, emulated.enables),
  };
}

const SHADERS = byWay("attention-matrix", (label, source, enables) => ({
  label,
  source: [...ROWS_SOURCE, ...source],
  enables,
  bindings: FORWARD_BINDINGS,
  params: ATTENTION_PARAMS,
}));

/** Records `attentionForward` over operands that it has checked. */
export function recordMatrixForward(
  recorder: Recorder,
  operands: AttentionOperands,
  variant: MatrixVariant,
): void {
  const { qkv, segmentStart, o, lse, layout } = operands;
  const { heads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  const { types, ...call } = matrixCall(variant, tokens, layout);
  recorder.dispatch(SHADERS[wayOf(recorder.gpu, variant)], {
    ...call,
    types: { Act: qkv.dtype, ...types },
    buffers: { qkv, segment_start: segmentStart, o, lse },
    params: attentionParams(tokens, layout, operands),
    flops: 4 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/** What is the same wherever keys and values are. */
export function matrixCall(
  variant: MatrixVariant,
  tokens: number,
  { heads, kvHeads, headSize }: AttentionLayout,
) {
  const { valueColumns, ...constants } = constantsFor(variant, headSize);
  return {
    entry: "forward",
    types: { Shared: variant.type },
    constants: { ...constants, VALUE_COLUMNS: valueColumns },
    grid: [
      workgroups((tokens * heads) / kvHeads, OWN),
      kvHeads,
      workgroups(headSize, valueColumns),
    ],
  } as const;
}

/** Whether subgroups have LANES lanes, may be asked to, or are not needed. */
export function wayOf(gpu: Gpu, { isEmulated }: MatrixVariant): MatrixWay {
  return isEmulated ? "emulated" : (subgroupsOf(gpu, LANES) ?? "whole");
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
  const { other, unit } = variant;
  const { HEAD_COLUMNS, valueColumns } = constantsFor(variant, headSize);
  const columns = Math.max(HEAD_COLUMNS, valueColumns);
  const bytes =
    memoryBytes(variant, {
      staged: (other * columns) / unit.columns ** 2,
      weights: (OWN / unit.rows) * (other / unit.columns),
      scores: (OWN / unit.rows) * (other / unit.columns),
    }) +
    4 * LANES * 4 +
    16;
  return (
    columns / unit.columns <= MOST_HELD &&
    runsUnits(gpu, variant) &&
    bytes <= gpu.device.limits.maxComputeWorkgroupStorageSize
  );
}

/** Units side by side of which a subgroup holds its rows: so many have names in lib/attention-held.wgsl. */
export const MOST_HELD = 16;

/** How units lie in workgroup memory, for lib/attention-unit-memory.wgsl. */
export function memoryConstants({ unit, type }: MatrixVariant) {
  return {
    LANES,
    UNIT_ROWS: unit.rows,
    EDGE: unit.columns,
    // 16 bytes where a row has 32; shorter rows, and units of f32, which are read in pairs, fill all banks as they are.
    PADDING_QUADS: type === "f16" && unit.columns > 8 ? 2 : 0,
    // 32 bytes: the next unit begins in other banks.
    GAP_QUADS: type === "f16" ? 4 : 2,
  };
}

/** Bytes of workgroup memory for so many units. */
export function memoryBytes(
  variant: MatrixVariant,
  count: { staged: number; weights: number; scores: number },
): number {
  const { UNIT_ROWS, EDGE, PADDING_QUADS, GAP_QUADS } = memoryConstants(variant);
  const stride = EDGE / 4 + PADDING_QUADS;
  const quads = count.staged * (EDGE * stride + GAP_QUADS) + count.weights * UNIT_ROWS * stride;
  const scoreQuads = count.scores * UNIT_ROWS * (EDGE / 4 + Math.floor(EDGE / 16));
  return quads * (variant.type === "f32" ? 16 : 8) + scoreQuads * 16;
}

/** Whether units fill the 16 rows of a subgroup and lie whole in squares, and the adapter has them. */
export function runsUnits(gpu: Gpu, { isEmulated, other, unit, type }: MatrixVariant): boolean {
  const { rows: unitRows, columns, depth } = unit;
  const fills =
    [8, 16].includes(unitRows) &&
    [8, 16].includes(columns) &&
    depth === columns &&
    unitRows <= columns &&
    other % columns === 0;
  if (!fills || isEmulated) return fills && (type === "f32" || gpu.hasF16);
  return (
    subgroupsOf(gpu, LANES) !== undefined &&
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

function constantsFor(variant: MatrixVariant, headSize: number) {
  const { other, unit } = variant;
  return {
    ...memoryConstants(variant),
    OTHER: other,
    HEAD_COLUMNS: Math.ceil(headSize / unit.columns) * unit.columns,
    valueColumns: Math.min(Math.ceil(headSize / other) * other, MAX_VALUE_COLUMNS),
  };
}
