// What comes between the qkv map and attention where tokens are generated, in one dispatch: head norms,
// rotary positions, and the way into the cache.
import shader from "../../shaders/attention-cached-append.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import reduce from "../../shaders/lib/reduce.wgsl?raw";
import step from "../../shaders/lib/step.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import { type AttentionLayout, LAYOUT_PARAMS, layoutParams } from "./attention-layout.ts";
import {
  byStorage,
  CACHE_SOURCES,
  cacheBuffers,
  cacheQuad,
  checkCache,
  type KvCache,
} from "./kv-cache.ts";

const shaders = byStorage((storage) => {
  return {
    label: storage === "native" ? "attention-cached-append" : `attention-cached-append-${storage}`,
    source: [grid, step, reduce, CACHE_SOURCES[storage].narrow, shader],
    bindings: {
      qkv: "read_write",
      table: "read",
      query_weight: "read",
      key_weight: "read",
      keys: "read_write",
      values: "read_write",
      key_scales: "read_write",
      value_scales: "read_write",
    },
    params: {
      rows: "u32",
      ...LAYOUT_PARAMS,
      capacity: "u32",
      angles: "u32",
      pairs: "u32",
      epsilon: "f32",
    },
    usesStep: true,
  } as const satisfies Shader<string, string>;
});

/** How query and key heads are normed: see `headNormForward`. f32 [headSize] each. */
export interface HeadNorms {
  readonly queryWeight: Tensor;
  readonly keyWeight: Tensor;
  readonly epsilon: number;
}

export interface CachedAppend {
  /** f32 or f16 [rows, layout.stride]: the new tokens, of which step.rows are real. */
  readonly qkv: Tensor;
  readonly layout: AttentionLayout;
  readonly cache: KvCache;
  /** f32 [positions, rotary], by `ropeTable`; positions past its end use its last row. */
  readonly table: Tensor;
  readonly norms?: HeadNorms | undefined;
}

/**
 * For row t < step.rows, which stands at step.position + t: norms the query and key heads where `norms` says
 * how, turns them as `ropeForward` does, writes the queries back into qkv, and keys and values into row
 * step.position + t of the cache. In qkv, keys and values stay as they were.
 */
export function attentionCachedAppend(recorder: Recorder, operands: CachedAppend): void {
  const { qkv, layout, cache, table, norms } = operands;
  const kernel = "attentionCachedAppend";
  const [rows] = matrixShape(qkv);
  const [angles, rotary] = matrixShape(table);
  const { heads, kvHeads, headSize } = layout;
  requireShape(kernel, qkv, qkv.dtype, [rows, layout.stride], qkv);
  requireShape(kernel, table, "f32", [angles, rotary], qkv);
  const capacity = checkCache(kernel, qkv, cache, layout);
  invariant(
    rotary % 2 === 0 && rotary <= headSize,
    () => `${kernel}: ${table.label} turns ${rotary} dimensions of a head of ${headSize}`,
  );
  for (const weight of norms ? [norms.queryWeight, norms.keyWeight] : []) {
    requireShape(kernel, weight, "f32", [1, headSize], qkv);
  }
  const lanes = headSize <= 64 ? { LANES: 16, LANES_ROOT: 4 } : { LANES: 64, LANES_ROOT: 8 };
  recorder.dispatch(shaders[cache.storage], {
    entry: cache.scales ? "append_scaled" : "append",
    types: { Act: qkv.dtype, Quad: cacheQuad(cache) },
    constants: { NORMED: norms !== undefined, ...lanes },
    buffers: {
      qkv,
      table,
      // The shader names the weights even where it does not read them; any memory will do.
      query_weight: norms?.queryWeight ?? table,
      key_weight: norms?.keyWeight ?? table,
      ...cacheBuffers(cache),
    },
    params: {
      rows,
      ...layoutParams(layout),
      capacity,
      angles,
      pairs: rotary / 2,
      epsilon: norms?.epsilon ?? 0,
    },
    grid: foldGrid(rows * (heads + 2 * kvHeads)),
    flops: 8 * rows * (heads + kvHeads) * headSize,
  });
}
