// Where attention's heads lie and what a query sees: what its kernels, rotary positions and head norms share.
import { invariant } from "../base/error.ts";

/**
 * Where the heads lie in a row of qkv. Query head h starts at column
 * ⌊h / group⌋ · qGroupStride + (h mod group) · headSize, with group = heads / kvHeads; key head g at
 * kBase + g · kStride; value head g at vBase + g · kStride. All are multiples of 4.
 */
export interface AttentionLayout {
  readonly heads: number;
  readonly kvHeads: number;
  /** From 4 to 256, a multiple of 4. */
  readonly headSize: number;
  /** Columns of a row of qkv. */
  readonly stride: number;
  readonly qGroupStride: number;
  readonly kBase: number;
  readonly vBase: number;
  readonly kStride: number;
}

/** How shaders are told of an `AttentionLayout`: part of their params, in this order. */
export const LAYOUT_PARAMS = {
  heads: "u32",
  kv_heads: "u32",
  stride: "u32",
  q_group_stride: "u32",
  k_base: "u32",
  v_base: "u32",
  kv_stride: "u32",
  head_quads: "u32",
} as const;

/** What a query sees, and how sharply. */
export interface AttentionView {
  /** How many keys a query sees at most, itself included: those within its document and no further back. */
  readonly window?: number | undefined;
  /** What q · k is multiplied by; 1 / √headSize if not given. */
  readonly scale?: number | undefined;
}

/** More keys than there are: a query sees all of its document. */
export const NO_WINDOW = 0xffff_ffff;

/** The layout as shaders want it. */
export function layoutParams(layout: AttentionLayout) {
  const { heads, kvHeads, headSize, stride, qGroupStride, kBase, vBase, kStride } = layout;
  invariant(heads % kvHeads === 0, () => `attention: ${heads} heads over ${kvHeads} key heads`);
  invariant(
    headSize >= 4 && headSize <= 256,
    () => `attention: a head of ${headSize} dimensions, not of 4 to 256`,
  );
  invariant(
    [headSize, stride, qGroupStride, kBase, vBase, kStride].every((size) => size % 4 === 0),
    () => `attention: heads must start at multiples of 4: ${JSON.stringify(layout)}`,
  );
  return {
    heads,
    kv_heads: kvHeads,
    stride,
    q_group_stride: qGroupStride,
    k_base: kBase,
    v_base: vBase,
    kv_stride: kStride,
    head_quads: headSize / 4,
  };
}

/** The view as shaders want it. */
export function viewParams(
  { headSize }: AttentionLayout,
  { window = NO_WINDOW, scale = 1 / Math.sqrt(headSize) }: AttentionView,
) {
  invariant(
    Number.isInteger(window) && window >= 1 && window <= NO_WINDOW,
    () => `attention: a window of ${window} keys`,
  );
  return { scale, window };
}
