// Products with a frozen weight from tiles in workgroup memory, in sizes that suit different GPUs.
import type { Gpu } from "../gpu/device.ts";
import { workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import quadsLib from "../../shaders/lib/matmul-quads.wgsl?raw";
import shader from "../../shaders/matmul-tile.wgsl?raw";
import { multipliedIn, type Product, productShaders } from "./matmul-operands.ts";
import { recordInSlices } from "./matmul-slices.ts";

/** What a workgroup makes of the result, and the steps of the inner dimension that it holds at a time. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Rows that a thread makes four columns of: 4 or 8. */
  readonly threadRows: number;
}

// The first is where most GPUs are near their best; the others are for few rows, for small GPUs, for more
// threads, and for more steps between two barriers.
const TILES: Readonly<Record<string, Tile>> = {
  "tile 64x128x16": { rows: 64, columns: 128, depth: 16, threadRows: 8 },
  "tile 64x128x32": { rows: 64, columns: 128, depth: 32, threadRows: 8 },
  "tile 128x64x16": { rows: 128, columns: 64, depth: 16, threadRows: 8 },
  "tile 64x64x16": { rows: 64, columns: 64, depth: 16, threadRows: 8 },
  "tile 64x64x16x4": { rows: 64, columns: 64, depth: 16, threadRows: 4 },
  "tile 32x32x16": { rows: 32, columns: 32, depth: 16, threadRows: 4 },
  "tile 16x64x32": { rows: 16, columns: 64, depth: 32, threadRows: 4 },
};

/** The variants that a device has the threads and the workgroup memory for. */
export function tileVariants(gpu: Gpu, type: "f32" | "f16"): string[] {
  return Object.entries(TILES)
    .filter(([, tile]) => fits(gpu, tile, type))
    .map(([name]) => name);
}

const shaderFor = productShaders({
  label: "matmul-tile",
  files: [quadsLib, shader],
  hasTable: true,
});

/** Records a product in a variant of this family. False if `variant` is none, or the device cannot run it. */
export function recordTile(recorder: Recorder, product: Product, variant: string): boolean {
  const tile = TILES[variant];
  const type = multipliedIn(product);
  if (!tile || !fits(recorder.gpu, tile, type)) return false;
  recordInSlices(recorder, product, tile, ({ types, constants, buffers, params, slices }) =>
    recorder.dispatch(shaderFor(product), {
      entry: product.entry,
      types: { ...types, Shared: type },
      constants: {
        ...constants,
        TILE_ROWS: tile.rows,
        TILE_COLUMNS: tile.columns,
        TILE_DEPTH: tile.depth,
        THREAD_ROWS: tile.threadRows,
        RAGGED_DEPTH: product.depth % tile.depth !== 0,
      },
      buffers,
      params,
      grid: [
        workgroups(product.columns, tile.columns),
        workgroups(product.rows, tile.rows),
        slices,
      ],
      flops: product.flops,
    }),
  );
  return true;
}

// Of NF4's table, which only that storage takes.
const TABLE_BYTES = 64;

function fits(gpu: Gpu, { rows, columns, depth, threadRows }: Tile, type: "f32" | "f16"): boolean {
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = gpu.device.limits;
  const threads = (columns / 4) * (rows / threadRows);
  const quadBytes = type === "f32" ? 16 : 8;
  const bytes = depth * (rows / 4 + 1 + columns / 4 + 1) * quadBytes + TABLE_BYTES;
  return threads <= maxComputeInvocationsPerWorkgroup && bytes <= maxComputeWorkgroupStorageSize;
}
