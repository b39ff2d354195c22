// The gradient of attention from tiles in workgroup memory.
import attentionTileBackward from "../../shaders/attention-tile-backward.wgsl?raw";
import list from "../../shaders/lib/attention-list.wgsl?raw";
import noted from "../../shaders/lib/attention-noted.wgsl?raw";
import tiles from "../../shaders/lib/attention-tiles.wgsl?raw";
import turnBack from "../../shaders/lib/turn-back.wgsl?raw";
import turnNone from "../../shaders/lib/turn-none.wgsl?raw";
import type { Gpu } from "../gpu/device.ts";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import type { AttentionLayout } from "./attention-layout.ts";
import {
  ATTENTION_PARAMS,
  type AttentionGradients,
  attentionParams,
  BACKWARD_BINDINGS,
  pairsOf,
  ROWS_SOURCE,
} from "./attention-operands.ts";
import { fits, lanesOf, largestPowerOfTwo, spans, type Tile, tileNamed } from "./attention-tile.ts";

// Rows of one workgroup, of either side; and of the other side.
const OWN = 32;
const OTHER = 32;

const shader = {
  label: "attention-tile-backward",
  source: [...ROWS_SOURCE, list, noted, tiles, turnNone, attentionTileBackward],
  bindings: BACKWARD_BINDINGS,
  params: ATTENTION_PARAMS,
} as const satisfies Shader<string, string>;

const turningShader = {
  ...shader,
  label: "attention-tile-backward-turned",
  source: [...ROWS_SOURCE, list, noted, tiles, turnBack, attentionTileBackward],
} as const satisfies Shader<string, string>;

/**
 * Records `attentionBackward` over operands that it has checked. `rope` of the operands is applied, and must
 * be one that shaders can turn back as they store.
 */
export function recordTileBackward(
  recorder: Recorder,
  operands: AttentionGradients,
  tile: Tile,
): void {
  const { qkv, segmentStart, lse, layout, o, dO, dqkv, rope } = operands;
  const { heads, kvHeads, headSize } = layout;
  const [tokens = 0] = qkv.shape;
  const staged = tile.widens ? "f32" : qkv.dtype;
  const lanes = lanesOf(headSize);
  const chunk = (OWN + OTHER) * (tile.sliceQuads + 1);
  const flops = pairsOf(tokens, operands) * heads * headSize;
  const slices = workgroups(headSize, 8 * lanes);
  const shared = {
    types: { Act: qkv.dtype, Staged: staged },
    constants: {
      LANES: lanes,
      SLICE_QUADS: tile.sliceQuads,
      // As many rows as fit where slices were; half of a tile in backward_queries at the most.
      CHUNK: largestPowerOfTwo(chunk / (2 * lanes), OTHER / 2),
    },
    params: attentionParams(tokens, layout, operands, rope?.table),
  };
  const buffers = { qkv, segment_start: segmentStart, d_o: dO, lse, d_qkv: dqkv, ...rope };
  recorder.dispatch(rope ? turningShader : shader, {
    ...shared,
    entry: "backward_queries",
    buffers: { ...buffers, o },
    grid: [workgroups((tokens * heads) / kvHeads, OWN), kvHeads, slices],
    flops: 6 * flops,
  });
  recorder.dispatch(rope ? turningShader : shader, {
    ...shared,
    entry: "backward_keys",
    buffers,
    grid: [workgroups(tokens, OWN), kvHeads, slices],
    flops: 8 * flops,
  });
}

// The one that leaves room for most workgroups at a time stands first.
const BACKWARD_TILES: Readonly<Record<"f32" | "f16", readonly string[]>> = {
  f32: ["tile 8", "tile 16", "tile 32"],
  f16: ["tile 16", "tile 32", "tile 8 f32", "tile 16 f32"],
};

/** Names of the tiles that `gpu` has workgroup memory for, and heads are long enough for. */
export function backwardTiles(gpu: Gpu, act: "f32" | "f16", headSize: number): readonly string[] {
  return BACKWARD_TILES[act].filter((name) => {
    const tile = tileNamed(name);
    return tile && tile.sliceQuads * 4 <= headSize && fits(gpu, backwardBytes(tile, act));
  });
}

/** Whether `gpu` runs the tile over so many tokens; a choice may come from another adapter, or from fewer. */
export function fitsBackward(
  gpu: Gpu,
  tile: Tile,
  act: "f32" | "f16",
  tokens: number,
  layout: AttentionLayout,
): boolean {
  return fits(gpu, backwardBytes(tile, act)) && spans(tokens, layout, OWN);
}

/** Bytes of workgroup memory that `recordTileBackward` takes. */
function backwardBytes({ sliceQuads, widens }: Tile, act: "f32" | "f16"): number {
  const quadBytes = widens || act === "f32" ? 16 : 8;
  const stagedBytes = 2 * (OWN + OTHER) * (sliceQuads + 1) * quadBytes;
  return stagedBytes + 2 * OTHER * OWN * 4 + 32 * 6 * 4 + 128 * 4;
}
