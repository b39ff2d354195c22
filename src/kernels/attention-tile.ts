// Attention from tiles in workgroup memory: for GPUs whose caches do not keep up with reading rows directly.
import attentionTile from "../../shaders/attention-tile.wgsl?raw";
import list from "../../shaders/lib/attention-list.wgsl?raw";
import tiles from "../../shaders/lib/attention-tiles.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { MAX_WORKGROUPS, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { AttentionLayout } from "./attention-layout.ts";
import {
  ATTENTION_PARAMS,
  type AttentionOperands,
  attentionParams,
  FORWARD_BINDINGS,
  pairsOf,
  ROWS_SOURCE,
} from "./attention-operands.ts";

/** How a tiled kernel stages its rows. */
export interface Tile {
  /** Quads of a head that are staged at a time: a power of two. */
  readonly sliceQuads: number;
  /** Whether what is staged is f32 though activations are f16: more memory, no conversions later. */
  readonly widens: boolean;
}

const OWN = 64;
const OTHER = 32;

/** Comes after the text that says where keys and values are. */
export const TILE_SOURCE = [list, tiles, attentionTile] as const;

const shader = {
  label: "attention-tile",
  source: [...ROWS_SOURCE, ...TILE_SOURCE],
  bindings: FORWARD_BINDINGS,
  params: ATTENTION_PARAMS,
} as const satisfies Shader<string, string>;

/** Records `attentionForward` over operands that it has checked. */
export function recordTileForward(
  recorder: Recorder,
  operands: AttentionOperands,
  tile: Tile,
): void {
  const { qkv, segmentStart, o, lse, layout } = operands;
  const { heads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  const { types, ...call } = tileCall(tile, qkv.dtype, tokens, layout);
  recorder.dispatch(shader, {
    ...call,
    types: { Act: qkv.dtype, ...types },
    buffers: { qkv, segment_start: segmentStart, o, lse },
    params: attentionParams(tokens, layout, operands),
    flops: 4 * pairsOf(tokens, operands) * heads * headSize,
  });
}

/** What is the same wherever keys and values are. */
export function tileCall(
  { sliceQuads, widens }: Tile,
  act: Tensor["dtype"],
  tokens: number,
  { heads, kvHeads, headSize }: AttentionLayout,
) {
  const lanes = lanesOf(headSize);
  return {
    entry: "forward",
    types: { Staged: widens ? "f32" : act },
    constants: {
      LANES: lanes,
      SLICE_QUADS: sliceQuads,
      // As many as fit where slices of queries and keys were.
      VALUE_ROWS: largestPowerOfTwo(((OWN + OTHER) * (sliceQuads + 1)) / (2 * lanes), OTHER),
    },
    grid: [workgroups((tokens * heads) / kvHeads, OWN), kvHeads, workgroups(headSize, 8 * lanes)],
  } as const;
}

/** Bytes of workgroup memory that `recordTileForward` takes. */
function forwardBytes({ sliceQuads, widens }: Tile, act: "f32" | "f16"): number {
  const quadBytes = widens || act === "f32" ? 16 : 8;
  return (OWN + OTHER) * (sliceQuads + 1) * quadBytes + OTHER * OWN * 4 + OWN * 8;
}

/** Threads side by side, each with two quads of the result: those of a head of 64 or 128 dimensions. */
export function lanesOf(headSize: number): number {
  return headSize <= 64 ? 8 : 16;
}

export function largestPowerOfTwo(limit: number, most: number): number {
  return Math.min(2 ** Math.floor(Math.log2(limit)), most);
}

/** "tile 32", or "tile 16 f32" where the dimensions staged at a time are widened. */
export function tileNamed(variant: string | undefined): Tile | undefined {
  const [, dimensions, widened] = /^tile (8|16|32|64)( f32)?$/.exec(variant ?? "") ?? [];
  return dimensions === undefined
    ? undefined
    : { sliceQuads: Number(dimensions) / 4, widens: widened !== undefined };
}

// The one that leaves room for most workgroups at a time stands first.
const FORWARD_TILES: Readonly<Record<"f32" | "f16", readonly string[]>> = {
  f32: ["tile 16", "tile 32"],
  f16: ["tile 32", "tile 64", "tile 16 f32", "tile 32 f32"],
};

/** Names of the tiles that `gpu` has workgroup memory for, and heads are long enough for. */
export function forwardTiles(gpu: Gpu, act: "f32" | "f16", headSize: number): readonly string[] {
  return FORWARD_TILES[act].filter((name) => {
    const tile = tileNamed(name);
    return tile && tile.sliceQuads * 4 <= headSize && fits(gpu, forwardBytes(tile, act));
  });
}

/** Whether `gpu` runs the tile over so many tokens; a choice may come from another adapter, or from fewer. */
export function fitsForward(
  gpu: Gpu,
  tile: Tile,
  act: "f32" | "f16",
  tokens: number,
  layout: AttentionLayout,
): boolean {
  return fits(gpu, forwardBytes(tile, act)) && spans(tokens, layout, OWN);
}

/** Whether workgroups of `own` rows of queries reach over all tokens; where they do not, others own more tokens. */
export function spans(tokens: number, { heads, kvHeads }: AttentionLayout, own: number): boolean {
  return workgroups((tokens * heads) / kvHeads, own) <= MAX_WORKGROUPS;
}

export function fits(gpu: Gpu, bytes: number): boolean {
  return bytes <= gpu.device.limits.maxComputeWorkgroupStorageSize;
}
