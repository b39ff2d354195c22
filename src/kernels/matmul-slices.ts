// Products of few result tiles and a very long inner dimension, in slices of it.
//
// The gradient of the head's rows is one: 512 rows of 2048 numbers over 128,256 outputs are 64 tiles of 128 × 128,
// and a large GPU would leave half of its processors idle for as long as the outputs are many. So the third dimension
// of the grid deals the inner one out: each slice stores sums of its own, in f32, and a second kernel adds them up in
// order. How many there are follows from the product's shape and the variant's tile: a second run gives the same bits.
import type { Gpu } from "../gpu/device.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import shader from "../../shaders/matmul-slices.wgsl?raw";
import type { Product } from "./matmul-operands.ts";

/** What a workgroup makes of the result, and the steps of the inner dimension that it takes at a time. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
}

/** How the inner dimension is dealt out. */
interface Slices {
  readonly count: number;
  /** Steps of each but the last, whole tiles. */
  readonly length: number;
}

/** Large GPUs have 60 to 150 processors, and run two workgroups or more on each. */
const WORKGROUPS = 256;

/** Sums of more slices take memory, and time to add up, that another slice does not win. */
const MOST_SLICES = 8;

/** So many steps take far longer than what a slice costs: to begin, and to store and read its sums. */
const LEAST_STEPS = 4096;

/**
 * The slices that a product is made in; undefined for one that is made at once, as all are on software, which has few
 * processors. Only the backward pass without an adapter knows how. `product.slices` is obeyed wherever that is so.
 */
function slicesOf(gpu: Gpu, product: Product, tile: Tile): Slices | undefined {
  const { entry, constants, rows, columns, depth } = product;
  if (entry !== "backward" || constants["HAS_LORA"]) return undefined;
  const tiles = workgroups(rows, tile.rows) * workgroups(columns, tile.columns);
  const wanted = gpu.info.isFallbackAdapter
    ? 1
    : Math.min(MOST_SLICES, Math.round(WORKGROUPS / tiles), Math.floor(depth / LEAST_STEPS));
  const asked = product.slices ?? wanted;
  if (asked <= 1) return undefined;
  const length = Math.ceil(depth / asked / tile.depth) * tile.depth;
  const count = Math.ceil(depth / length); // no slice is empty
  const bytes = count * rows * columns * 4;
  return count > 1 && bytes <= gpu.maxTensorBytes ? { count, length } : undefined;
}

/** A product as a variant's shader is to make it: whole, or every slice into rows of its own. */
interface Part {
  readonly types: Product["types"];
  readonly constants: Product["constants"];
  readonly buffers: Product["buffers"];
  readonly params: Product["params"];
  /** Of the grid's third dimension. */
  readonly slices: number;
}

/** Has `record` record a product, and what adds its slices up after it. */
export function recordInSlices(
  recorder: Recorder,
  product: Product,
  tile: Tile,
  record: (part: Part) => void,
): void {
  const slices = slicesOf(recorder.gpu, product, tile);
  const { types, buffers, params, rows, columns } = product;
  const constants = { ...product.constants, IN_SLICES: slices !== undefined };
  const { dx } = buffers;
  if (!slices || !dx) {
    record({ types, constants, buffers, params, slices: 1 });
    return;
  }
  const { count, length } = slices;
  const sums = recorder.transient(`${dx.label}.slices`, "f32", [count * rows, columns]);
  record({
    types: { ...types, Out: "f32" },
    constants,
    buffers: { ...buffers, dx: sums },
    params: { ...params, x_row: 0, addend: 0, slice_steps: length },
    slices: count,
  });
  const quads = (rows * columns) / 4;
  const held = params.addend === 0 ? 1 : 2; // dx is written, and read before
  recorder.dispatch(addSlices, {
    entry: "add",
    types: { Out: types.Out },
    constants: { THREADS },
    buffers: { sums, dx },
    params: { quads, slices: count, first: (params.x_row * columns) / 4, addend: params.addend },
    grid: foldGrid(workgroups(quads, THREADS)),
    flops: count * rows * columns,
    bytes: sums.bytes + held * rows * columns * (types.Out === "f16" ? 2 : 4),
  });
}

const THREADS = 256;

const addSlices = {
  label: "matmul-slices",
  source: [gridLib, shader],
  bindings: { sums: "read", dx: "read_write" },
  params: { quads: "u32", slices: "u32", first: "u32", addend: "u32" },
} as const satisfies Shader<string, string>;
