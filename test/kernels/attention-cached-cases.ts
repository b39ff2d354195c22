// New tokens over a cache: their shapes, and the operands in a given shape.
import type { AttentionLayout } from "../../src/kernels/attention-layout.ts";
import { type ActivationType, randomF32, roundTo } from "../gpu.ts";

export interface Case {
  /** Tokens already in the cache. */
  position: number;
  /** Rows of the run, and how many of them are real. */
  rows: number;
  real: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  interleaved?: boolean;
  window?: number;
  scale?: number;
}

export function prepare(shape: Case, dtype: ActivationType) {
  const { position, real, heads, kvHeads, headSize, interleaved = false, window, scale } = shape;
  const tokens = position + real;
  const group = heads / kvHeads;
  const groupStride = (group + 2) * headSize;
  const layout: AttentionLayout = {
    heads,
    kvHeads,
    headSize,
    ...(interleaved
      ? {
          stride: kvHeads * groupStride,
          qGroupStride: groupStride,
          kBase: group * headSize,
          vBase: (group + 1) * headSize,
          kStride: groupStride,
        }
      : {
          stride: (heads + 2 * kvHeads) * headSize,
          qGroupStride: group * headSize,
          kBase: heads * headSize,
          vBase: (heads + kvHeads) * headSize,
          kStride: headSize,
        }),
  };
  const qkv = roundTo(dtype, randomF32(tokens * layout.stride, tokens + headSize));
  const columns = (token: number, base: number) =>
    Array.from({ length: kvHeads }, (_, g) => {
      const start = token * layout.stride + base + g * layout.kStride;
      return Array.from(qkv.subarray(start, start + headSize));
    }).flat();
  const cacheOf = (base: number) =>
    Float32Array.from(Array.from({ length: tokens }, (_, t) => columns(t, base)).flat());
  return {
    tokens,
    layout,
    qkv,
    /** The caches as they must be in the end. */
    keys: cacheOf(layout.kBase),
    values: cacheOf(layout.vBase),
    referenceLayout: {
      tokens,
      heads,
      kvHeads,
      headSize,
      rowSize: layout.stride,
      ...(window !== undefined && { window }),
      ...(scale !== undefined && { scale }),
      qColumn: (h: number) => Math.floor(h / group) * layout.qGroupStride + (h % group) * headSize,
      kColumn: (g: number) => layout.kBase + g * layout.kStride,
      vColumn: (g: number) => layout.vBase + g * layout.kStride,
    },
  };
}
