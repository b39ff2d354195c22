// Attention of a prompt's piece over a cache: training's kernels, in which many queries share what is read of keys
// and values.
//
// Slots "attention.prefill" and "attention.prefill.short" are "rows", a workgroup for every row and head, or a
// variant of attentionForward's. Few rows fill a GPU only one by one, so that pieces of both sizes are tried.
import type { Gpu } from "../gpu/device.ts";
import type { Recorder } from "../gpu/program.ts";
import { type CachedAttention, cachedShaders } from "./attention-cached-operands.ts";
import { byWay, matrixCall, matrixNamed, runsForward, wayOf } from "./attention-matrix.ts";
import { fitsForward, TILE_SOURCE, tileCall, tileNamed } from "./attention-tile.ts";
import { untriedShared } from "./attention-untried.ts";
import { DIRECT_SOURCE, directCall } from "./attention.ts";

export const PREFILL_SLOTS = {
  long: "attention.prefill",
  short: "attention.prefill.short",
} as const;

/** Rows of a piece that counts as short. */
const SHORT_ROWS = 128;

/** With fewer, most of a workgroup's 32 queries or more would be none: a token by itself is one row. */
const LEAST_ROWS = 8;

const DIRECT = cachedShaders("attention-cached-direct", DIRECT_SOURCE);
const TILE = cachedShaders("attention-cached-tile", TILE_SOURCE);
const MATRIX = byWay("attention-cached-matrix", cachedShaders);

/** The shader for `rows` new tokens, and how to dispatch it; undefined where each makes its own. */
export function prefillVariant(
  recorder: Recorder,
  { qkv, cache: { storage }, layout }: CachedAttention,
  rows: number,
) {
  if (rows < LEAST_ROWS) return undefined;
  const { gpu } = recorder;
  const act = qkv.dtype === "f16" ? "f16" : "f32";
  const slot = prefillSlot(rows);
  // A choice may come from another adapter: what does not run here is as if nothing was tried.
  for (const choice of [recorder.choice(slot), untriedPrefill(gpu, slot)]) {
    if (choice === "rows") return undefined;
    if (choice === "direct") break;
    const matrix = matrixNamed(choice);
    if (matrix && runsForward(gpu, matrix, layout.headSize)) {
      return { shader: MATRIX[wayOf(gpu, matrix)][storage], ...matrixCall(matrix, rows, layout) };
    }
    const tile = tileNamed(choice);
    if (tile && fitsForward(gpu, tile, act, rows, layout)) {
      return { shader: TILE[storage], ...tileCall(tile, act, rows, layout) };
    }
  }
  return { shader: DIRECT[storage], types: {}, ...directCall(rows, layout) };
}

export type PrefillSlot = (typeof PREFILL_SLOTS)[keyof typeof PREFILL_SLOTS];

function prefillSlot(rows: number): PrefillSlot {
  return rows <= SHORT_ROWS ? PREFILL_SLOTS.short : PREFILL_SLOTS.long;
}

/** Few rows have too few workgroups for a GPU where they share one; a CPU's few threads have enough. */
export function untriedPrefill(gpu: Gpu, slot: PrefillSlot): string {
  const isFew = slot === PREFILL_SLOTS.short && !gpu.info.isFallbackAdapter;
  return isFew ? "rows" : untriedShared(gpu);
}
