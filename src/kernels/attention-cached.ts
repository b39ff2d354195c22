// Attention over a cache of keys and values, for generating: of one token, or of a prompt's next piece.
import attentionCachedSource from "../../shaders/attention-cached.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import { foldGrid } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { type CachedAttention, cachedCall, cachedShaders } from "./attention-cached-operands.ts";
import { prefillVariant } from "./attention-cached-prefill.ts";
import { recordSplit, splitChunk } from "./attention-cached-split.ts";

const SHADERS = cachedShaders("attention-cached", [grid, attentionCachedSource]);

/**
 * o = softmax(scale · q · kᵀ) · v, where the query of row t sees cache rows 0 … step.position + t, of
 * these the last `window`. The new keys and values must have been appended.
 */
export function attentionCached(recorder: Recorder, operands: CachedAttention): void {
  const call = cachedCall(operands);
  const { rows, capacity } = call.params;
  const chunk = rows === 1 ? splitChunk(recorder, capacity) : undefined;
  if (chunk !== undefined) {
    recordSplit(recorder, operands, chunk);
    return;
  }
  const { cache, layout, o } = operands;
  const { shader, types, ...variant } = prefillVariant(recorder, operands, rows) ?? {
    // Every row and head by itself.
    shader: SHADERS[cache.storage],
    entry: "forward",
    types: {},
    grid: foldGrid(rows * layout.heads),
  };
  recorder.dispatch(shader, {
    ...call,
    ...variant,
    types: { ...call.types, ...types },
    buffers: { ...call.buffers, o },
  });
}
