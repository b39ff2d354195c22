// Shapes that attention is tested on.
import type { AttentionLayout } from "../../src/kernels/attention-layout.ts";

export interface Case {
  tokens: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  /** First tokens of documents. */
  starts: number[];
  arrange?: Arrange;
  window?: number;
  scale?: number;
  /** Dimensions of a head that rotary positions turned. */
  rotary?: number;
}

type Arrange = (heads: number, kvHeads: number, headSize: number) => Omit<AttentionLayout, Given>;
type Given = "heads" | "kvHeads" | "headSize";

/** All queries, then all keys, then all values. */
export const apart: Arrange = (heads, kvHeads, headSize) => ({
  stride: (heads + 2 * kvHeads) * headSize,
  qGroupStride: (heads / kvHeads) * headSize,
  kBase: heads * headSize,
  vBase: (heads + kvHeads) * headSize,
  kStride: headSize,
});

/** A group's queries, then its key and its value, as InternLM2 has them; and eight columns of no head. */
export const interleaved: Arrange = (heads, kvHeads, headSize) => {
  const groupStride = (heads / kvHeads + 2) * headSize;
  return {
    stride: kvHeads * groupStride + 8,
    qGroupStride: groupStride,
    kBase: groupStride - 2 * headSize,
    vBase: groupStride - headSize,
    kStride: groupStride,
  };
};

// Head sizes: 16 and 20 leave threads of the only slot without work, 64 fills two slots, 144 and 256 take
// four and more than one workgroup for the keys (and 144 leaves most of the last one empty).
export const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 16, starts: [0] }, // nothing to choose between
  { tokens: 1, heads: 3, kvHeads: 1, headSize: 20, starts: [0] },
  { tokens: 2, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 1] }, // documents of one token
  { tokens: 3, heads: 4, kvHeads: 2, headSize: 16, starts: [0] },
  { tokens: 4, heads: 2, kvHeads: 2, headSize: 64, starts: [0] },
  { tokens: 5, heads: 6, kvHeads: 2, headSize: 20, starts: [0], arrange: interleaved },
  { tokens: 7, heads: 4, kvHeads: 1, headSize: 64, starts: [0, 3] },
  { tokens: 9, heads: 2, kvHeads: 1, headSize: 256, starts: [0] },
  { tokens: 13, heads: 3, kvHeads: 3, headSize: 144, starts: [0, 5] },
  { tokens: 17, heads: 5, kvHeads: 1, headSize: 20, starts: [0, 1, 2] },
  { tokens: 31, heads: 2, kvHeads: 1, headSize: 144, starts: [0, 30] },
  { tokens: 32, heads: 4, kvHeads: 2, headSize: 16, starts: [0, 27] }, // one whole tile
  { tokens: 33, heads: 4, kvHeads: 2, headSize: 20, starts: [0] }, // and one row more
  { tokens: 40, heads: 4, kvHeads: 4, headSize: 16, starts: [0, 8, 16, 24, 32] },
  { tokens: 47, heads: 2, kvHeads: 1, headSize: 256, starts: [0, 20], arrange: interleaved },
  { tokens: 64, heads: 2, kvHeads: 2, headSize: 64, starts: [0, 32] }, // a document for each tile
  { tokens: 66, heads: 2, kvHeads: 1, headSize: 64, starts: [0, 64] },
  { tokens: 70, heads: 8, kvHeads: 2, headSize: 16, starts: [0, 7, 61], arrange: interleaved },
  { tokens: 97, heads: 3, kvHeads: 1, headSize: 20, starts: [0, 50] },
  { tokens: 101, heads: 2, kvHeads: 1, headSize: 144, starts: [0, 33], arrange: interleaved },
  { tokens: 130, heads: 2, kvHeads: 2, headSize: 64, starts: [0] },
  { tokens: 201, heads: 4, kvHeads: 2, headSize: 20, starts: [0, 1, 150, 199] },
  { tokens: 256, heads: 2, kvHeads: 1, headSize: 64, starts: [0] },
];

// Windows of one token, below, of and above a tile, across documents, and longer than the row.
export const windowed: Case[] = [
  { tokens: 1, heads: 2, kvHeads: 1, headSize: 16, starts: [0], window: 1 },
  { tokens: 5, heads: 2, kvHeads: 1, headSize: 16, starts: [0], window: 1 },
  { tokens: 40, heads: 2, kvHeads: 2, headSize: 20, starts: [0], window: 2 },
  {
    tokens: 70,
    heads: 6,
    kvHeads: 2,
    headSize: 20,
    starts: [0, 9, 61],
    window: 7,
    arrange: interleaved,
  },
  { tokens: 97, heads: 3, kvHeads: 1, headSize: 64, starts: [0], window: 31, scale: 0.3 },
  { tokens: 129, heads: 2, kvHeads: 1, headSize: 16, starts: [0], window: 32 },
  { tokens: 130, heads: 4, kvHeads: 2, headSize: 144, starts: [0, 50], window: 33, scale: 1 / 13 },
  { tokens: 201, heads: 2, kvHeads: 1, headSize: 256, starts: [0, 1, 150], window: 100 },
  { tokens: 66, heads: 2, kvHeads: 1, headSize: 64, starts: [0, 64], window: 66, scale: 1 },
  { tokens: 33, heads: 4, kvHeads: 2, headSize: 20, starts: [0], window: 1000 },
];

// Whole heads and parts of them, in one slice of a head and across two, a half that is no number of slots (40, 16)
// and one that no vector of four ends at (10), which a dispatch of its own turns back.
export const rotary: Case[] = [
  { tokens: 3, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 1], rotary: 16 },
  { tokens: 37, heads: 4, kvHeads: 2, headSize: 64, starts: [0, 11], rotary: 64 },
  { tokens: 35, heads: 2, kvHeads: 1, headSize: 80, starts: [0], rotary: 80, arrange: interleaved },
  { tokens: 33, heads: 2, kvHeads: 2, headSize: 80, starts: [0, 3], rotary: 32 },
  { tokens: 34, heads: 2, kvHeads: 1, headSize: 20, starts: [0], rotary: 20, arrange: interleaved },
  { tokens: 40, heads: 2, kvHeads: 1, headSize: 144, starts: [0, 20], rotary: 144 },
  { tokens: 36, heads: 2, kvHeads: 1, headSize: 256, starts: [0], rotary: 256, window: 9 },
  { tokens: 5, heads: 2, kvHeads: 1, headSize: 256, starts: [0], rotary: 128 },
];

// For subgroup matrices: heads as models have them, groups of queries, documents and rows that end inside a tile. One
// way to turn for each length of heads, which are as many pipelines.
export const longHeads: [Case, ...Case[]] = [
  { tokens: 1, heads: 4, kvHeads: 1, headSize: 64, starts: [0], rotary: 64 },
  {
    tokens: 77,
    heads: 6,
    kvHeads: 2,
    headSize: 64,
    starts: [0, 33, 50],
    arrange: interleaved,
    rotary: 64,
  },
  { tokens: 130, heads: 4, kvHeads: 2, headSize: 64, starts: [0, 70], window: 21, rotary: 64 },
  { tokens: 150, heads: 2, kvHeads: 2, headSize: 128, starts: [0], window: 40, scale: 0.1 },
  { tokens: 201, heads: 8, kvHeads: 2, headSize: 128, starts: [0, 1, 150, 199] },
  // Parts of units empty, in every direction.
  { tokens: 70, heads: 5, kvHeads: 1, headSize: 20, starts: [0, 7, 61], arrange: interleaved },
];
