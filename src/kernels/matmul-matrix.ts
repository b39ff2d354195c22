// Products with a frozen weight by subgroup matrices, in the sizes of unit that an adapter tells of.
//
// A variant's name says all of it: "matrix 128x128x32 by 4x4 of 16x16x16" is a tile of 128 rows and 128 columns,
// 32 deep, of which each subgroup makes a block of 4 × 4 units. "numbers" at its end keeps tiles as single
// numbers. "emulated" in place of "matrix" computes the same without subgroup matrices, to check it by.
import type { Gpu } from "../gpu/device.ts";
import { workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import {
  SUBGROUP_MATRIX,
  SUBGROUP_SIZE,
  type SubgroupMatrixConfig,
  SUBGROUPS,
  subgroupsOf,
} from "../gpu/subgroups.ts";
import quadsLib from "../../shaders/lib/matmul-quads.wgsl?raw";
import block2x2 from "../../shaders/lib/matrix-block-2x2.wgsl?raw";
import block2x4 from "../../shaders/lib/matrix-block-2x4.wgsl?raw";
import block4x4 from "../../shaders/lib/matrix-block-4x4.wgsl?raw";
import emulatedLib from "../../shaders/lib/matrix-emulated.wgsl?raw";
import entryLib from "../../shaders/lib/matrix-entry.wgsl?raw";
import emulatedEntryLib from "../../shaders/lib/matrix-entry-emulated.wgsl?raw";
import sizedEntryLib from "../../shaders/lib/matrix-entry-sized.wgsl?raw";
import backwardSides from "../../shaders/lib/matrix-sides-backward.wgsl?raw";
import forwardSides from "../../shaders/lib/matrix-sides-forward.wgsl?raw";
import numberTilesLib from "../../shaders/lib/matrix-tiles-numbers.wgsl?raw";
import quadTilesLib from "../../shaders/lib/matrix-tiles-quads.wgsl?raw";
import unitsLib from "../../shaders/lib/matrix-units.wgsl?raw";
import shader from "../../shaders/matmul-matrix.wgsl?raw";
import {
  multipliedIn,
  type Product,
  productShaders,
  type ProductShader,
} from "./matmul-operands.ts";
import { recordInSlices } from "./matmul-slices.ts";

type Type = "f32" | "f16";

/** A variant, in rows and columns of the result and steps of the inner dimension. */
interface Layout {
  readonly isEmulated: boolean;
  readonly hasNumberTiles: boolean;
  readonly tile: Size;
  /** Units of a subgroup's block. */
  readonly block: string;
  readonly unit: Size;
}

interface Size {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

// Lanes of a subgroup: what NVIDIA and Apple have, and AMD and Intel can be asked for.
const LANES = 32;

/** Files of the blocks that there are. */
const BLOCKS: Readonly<Record<string, string>> = {
  "2x2": block2x2,
  "2x4": block2x4,
  "4x4": block4x4,
};

/** How subgroups share a tile. */
interface Arrangement {
  /** Units of a subgroup's block. The larger it is, the less is read from workgroup memory. */
  readonly block: string;
  /** Rows and columns of subgroups. The fewer numbers they hold, the more of them fit on a processor. */
  readonly subgroups: readonly [number, number];
  readonly depth: number;
  readonly hasNumberTiles?: boolean;
}

const ARRANGEMENTS: readonly Arrangement[] = [
  { block: "2x2", subgroups: [2, 4], depth: 32 },
  { block: "2x2", subgroups: [2, 2], depth: 32 },
  { block: "4x4", subgroups: [2, 2], depth: 32 },
  { block: "2x4", subgroups: [4, 2], depth: 32 },
  { block: "2x4", subgroups: [2, 2], depth: 32 },
  { block: "4x4", subgroups: [1, 2], depth: 32 },
  { block: "4x4", subgroups: [2, 2], depth: 16 },
  { block: "4x4", subgroups: [2, 2], depth: 64 },
  // Of 16 × 16 × 16 the one above takes more than NVIDIA's 48 KiB; this is as deep, and takes 45.6.
  { block: "2x4", subgroups: [2, 2], depth: 64 },
  { block: "2x2", subgroups: [2, 4], depth: 32, hasNumberTiles: true },
  { block: "4x4", subgroups: [2, 2], depth: 32, hasNumberTiles: true },
];

/**
 * The variants that a device has the matrices, the threads and the workgroup memory for, each once. Of units in
 * several sizes it takes the largest: what is smaller does less for what it reads.
 */
export function matrixVariants(gpu: Gpu, type: Type): string[] {
  const unitType = unitTypeOf(gpu, type);
  if (!unitType) return [];
  const [unit] = gpu.matrixConfigs
    .filter((config) => isUsable(config, unitType))
    .toSorted((a, b) => b.M * b.N * b.K - a.M * a.N * a.K);
  if (!unit) return [];
  const { M, N, K } = unit;
  const names = ARRANGEMENTS.map(({ block, subgroups, depth, hasNumberTiles }) => {
    const [unitRows = 0, unitColumns = 0] = block.split("x").map(Number);
    const rows = subgroups[0] * unitRows * M;
    const columns = subgroups[1] * unitColumns * N;
    const name = `matrix ${rows}x${columns}x${depth} by ${block} of ${M}x${N}x${K}`;
    return hasNumberTiles ? `${name} numbers` : name;
  });
  return [...new Set(names)].filter((name) => {
    const layout = layoutOf(name);
    return layout && runs(gpu, layout, unitType);
  });
}

/**
 * The type of the units that products in `type` are made with: their own where the device has such units, and f32
 * for f16 where it has none but those, as Dawn's Metal has, whose units of f16 make sums of f16. Undefined where it
 * has neither. A fact of the device, so that a product is the same every time.
 */
function unitTypeOf({ matrixConfigs }: Gpu, type: Type): Type | undefined {
  const types: readonly Type[] = type === "f16" ? ["f16", "f32"] : ["f32"];
  return types.find((unit) => matrixConfigs.some((config) => isUsable(config, unit)));
}

/** Records a product in a variant of this family. False if `variant` is none, or the device cannot run it. */
export function recordMatrix(recorder: Recorder, product: Product, variant: string): boolean {
  const layout = layoutOf(variant);
  if (!layout) return false;
  const productType = multipliedIn(product);
  // An emulation needs no units, and takes what those of the device would.
  const unitType = unitTypeOf(recorder.gpu, productType);
  const type = unitType ?? (layout.isEmulated ? productType : undefined);
  if (!type || !runs(recorder.gpu, layout, type)) return false;
  const { tile, unit } = layout;
  recordInSlices(recorder, product, tile, ({ types, constants, buffers, params, slices }) =>
    recorder.dispatch(shaderFor(recorder.gpu, layout, product), {
      entry: product.entry,
      types: { ...types, Shared: type },
      constants: {
        ...constants,
        RAGGED_DEPTH: product.depth % tile.depth !== 0,
        IS_BACKWARD: product.entry === "backward",
        LANES,
        TILE_ROWS: tile.rows,
        TILE_COLUMNS: tile.columns,
        TILE_DEPTH: tile.depth,
        UNIT_ROWS: unit.rows,
        UNIT_COLUMNS: unit.columns,
        UNIT_DEPTH: unit.depth,
        PADDING: paddingOf(type, unit),
        GAP: GAP[type],
        STAGED: stagedUnits(recorder.gpu, layout, type),
      },
      buffers,
      params,
      grid: [
        workgroups(product.rows, tile.rows),
        workgroups(product.columns, tile.columns),
        slices,
      ],
      flops: product.flops,
    }),
  );
  return true;
}

/**
 * Numbers between the rows of a unit: 16 bytes where rows have 32, of which every fifth would meet the first in a
 * bank. Rows of 16 bytes, and units of f32, which are read in pairs, fill all banks as they are.
 */
function paddingOf(type: Type, { depth }: Size): number {
  return type === "f16" && depth > 8 ? 8 : 0;
}

/** Numbers between units, 32 bytes: the next begins in other banks. */
const GAP: Readonly<Record<Type, number>> = { f32: 8, f16: 16 };

/** Sums are f32 on every path. */
function isUsable({ componentType, resultComponentType }: SubgroupMatrixConfig, type: Type) {
  return componentType === type && resultComponentType === "f32";
}

function layoutOf(variant: string): Layout | undefined {
  const parts =
    /^(matrix|emulated) (\d+)x(\d+)x(\d+) by (\dx\d) of (\d+)x(\d+)x(\d+)( numbers)?$/.exec(
      variant,
    );
  if (!parts) return undefined;
  const [, kind, rows, columns, depth, block = "", M, N, K, numbers] = parts;
  return {
    isEmulated: kind === "emulated",
    hasNumberTiles: numbers !== undefined,
    tile: { rows: Number(rows), columns: Number(columns), depth: Number(depth) },
    block,
    unit: { rows: Number(M), columns: Number(N), depth: Number(K) },
  };
}

/** What a thread may bring of a tile at once, in quads: the shader's `Quads`. */
const LEFT_LOADS: readonly number[] = [1, 2, 4, 8];
const RIGHT_LOADS: readonly number[] = [...LEFT_LOADS, 16];

/**
 * Whether the tile is made of whole blocks and brought in whole loads, and the device has what it takes. `type` is
 * that of the units.
 */
function runs(gpu: Gpu, layout: Layout, type: Type): boolean {
  const { tile, unit, block, isEmulated } = layout;
  const [blockRows = 0, blockColumns = 0] = block.split("x").map(Number);
  const subgroupRows = tile.rows / (blockRows * unit.rows);
  const subgroupColumns = tile.columns / (blockColumns * unit.columns);
  const threads = subgroupRows * subgroupColumns * LANES;
  const loads = (lines: number) => (lines * tile.depth) / 4 / threads;
  const isWhole =
    block in BLOCKS &&
    Number.isInteger(subgroupRows) &&
    Number.isInteger(subgroupColumns) &&
    tile.depth % unit.depth === 0 &&
    LEFT_LOADS.includes(loads(tile.rows)) &&
    RIGHT_LOADS.includes(loads(tile.columns));
  if (!isWhole) return false;
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = gpu.device.limits;
  const hasMatrices =
    subgroupsOf(gpu, LANES) !== undefined &&
    gpu.matrixConfigs.some(
      (config) =>
        isUsable(config, type) &&
        config.M === unit.rows &&
        config.N === unit.columns &&
        config.K === unit.depth,
    );
  return (
    (isEmulated || hasMatrices) &&
    threads <= maxComputeInvocationsPerWorkgroup &&
    workgroupBytes(layout, type, LEAST_STAGED) <= maxComputeWorkgroupStorageSize
  );
}

// Of NF4's table, which only that storage takes.
const TABLE_BYTES = 64;

/** Units of a subgroup that go through workgroup memory at a time: a sum and what is added to it, or more. */
const LEAST_STAGED = 2;

/** What units on their way may take at most: with more, fewer workgroups fit on a processor. */
const MOST_STAGED_BYTES = 16 << 10;

/** As many as there is room for; the more, the fewer barriers. */
function stagedUnits({ device }: Gpu, layout: Layout, type: Type): number {
  const [blockRows = 0, blockColumns = 0] = layout.block.split("x").map(Number);
  const fits = (count: number) =>
    count <= blockRows * blockColumns &&
    stagedBytes(layout, count) <= MOST_STAGED_BYTES &&
    workgroupBytes(layout, type, count) <= device.limits.maxComputeWorkgroupStorageSize;
  return [8, 4].find(fits) ?? LEAST_STAGED;
}

function stagedBytes({ tile, block }: Layout, count: number): number {
  const [blockRows = 0, blockColumns = 0] = block.split("x").map(Number);
  const numbers = (tile.rows * tile.columns * count) / (blockRows * blockColumns);
  return numbers * 4;
}

/** Of the larger of the two passes. */
function workgroupBytes(layout: Layout, type: Type, staged: number): number {
  const { tile, unit } = layout;
  const padding = paddingOf(type, unit);
  const left = unit.rows * (unit.depth + padding);
  const right = Math.max(
    unit.columns * (unit.depth + padding),
    unit.depth * (unit.columns + padding),
  );
  const steps = tile.depth / unit.depth;
  const numbers =
    (tile.rows / unit.rows) * steps * (left + GAP[type]) +
    (tile.columns / unit.columns) * steps * (right + GAP[type]);
  return numbers * (type === "f32" ? 4 : 2) + stagedBytes(layout, staged) + TABLE_BYTES;
}

/** Shaders by what they are made of. */
const made = new Map<string, (product: Product) => ProductShader>();

function shaderFor(gpu: Gpu, layout: Layout, product: Product): ProductShader {
  const { isEmulated, hasNumberTiles, block } = layout;
  const isSized = !isEmulated && subgroupsOf(gpu, LANES) === "sized";
  const label = [
    "matmul-matrix",
    ...(isEmulated ? ["emulated"] : []),
    ...(isSized ? ["sized"] : []),
    ...(hasNumberTiles ? ["numbers"] : []),
    block,
  ].join("-");
  const key = `${label} ${product.entry}`;
  const known = made.get(key);
  if (known) return known(product);
  const family = productShaders({
    label,
    files: [
      quadsLib,
      hasNumberTiles ? numberTilesLib : quadTilesLib,
      isEmulated ? emulatedLib : unitsLib,
      BLOCKS[block] ?? "",
      product.entry === "forward" ? forwardSides : backwardSides,
      shader,
      isEmulated ? emulatedEntryLib : isSized ? sizedEntryLib : entryLib,
    ],
    hasTable: true,
    enables: isEmulated
      ? []
      : [SUBGROUPS.enable, SUBGROUP_MATRIX.enable, ...(isSized ? [SUBGROUP_SIZE.enable] : [])],
  });
  made.set(key, family);
  return family(product);
}
