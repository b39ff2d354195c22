import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { attention, attentionBackward, combineHeads, type AttentionLayout } from "./attention.ts";
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { randomValues } from "./random.ts";

test.each([
  { name: "all of each document", view: {}, vector: vectors.attention },
  {
    name: "a window, with a scale of its own",
    view: { window: vectors.windowAttention.window, scale: vectors.windowAttention.scale },
    vector: vectors.windowAttention,
  },
])("attention over $name and its backward agree with PyTorch", ({ view, vector }) => {
  const { tokens, heads, kvHeads, headSize, segmentStart, ...want } = vector;
  const layout: AttentionLayout = {
    ...view,
    tokens,
    heads,
    kvHeads,
    headSize,
    rowSize: (heads + 2 * kvHeads) * headSize,
    qColumn: (head) => head * headSize,
    kColumn: (head) => (heads + head) * headSize,
    vColumn: (head) => (heads + kvHeads + head) * headSize,
  };
  const [q, k, v] = [want.q, want.k, want.v].map((part) => Float64Array.from(part));
  const qkv = combineHeads({ dq: q!, dk: k!, dv: v! }, layout);

  const { o, lse } = attention(qkv, segmentStart, layout);
  expect(largestError(o, want.y)).toBeLessThan(1e-13); // both are f64
  expect(largestError(lse, want.logSums)).toBeLessThan(1e-13);
  const { dq, dk, dv } = attentionBackward(qkv, segmentStart, want.dy, layout);
  expect(largestError(dq, want.dq)).toBeLessThan(1e-13);
  expect(largestError(dk, want.dk)).toBeLessThan(1e-13);
  expect(largestError(dv, want.dv)).toBeLessThan(1e-13);
});

test("attentionBackward agrees with finite differences where heads are interleaved by group", () => {
  // InternLM2's rows: for each key head its queries, then k, then v; and one column of no head.
  const [tokens, heads, kvHeads, headSize] = [6, 4, 2, 3];
  const group = (heads / kvHeads + 2) * headSize;
  const layout: AttentionLayout = {
    tokens,
    heads,
    kvHeads,
    headSize,
    rowSize: kvHeads * group + 1,
    qColumn: (head) => Math.floor(head / 2) * group + (head % 2) * headSize,
    kColumn: (head) => head * group + 2 * headSize,
    vColumn: (head) => head * group + 3 * headSize,
  };
  const segmentStart = [0, 0, 0, 3, 3, 3];
  const qkv = randomValues(tokens * layout.rowSize, 1);
  const dO = randomValues(tokens * heads * headSize, 2);
  const expected = differenceGradient((at) => dot(attention(at, segmentStart, layout).o, dO), qkv);
  const actual = combineHeads(attentionBackward(qkv, segmentStart, dO, layout), layout);
  expect(largestError(actual, expected)).toBeLessThan(1e-8);
});
