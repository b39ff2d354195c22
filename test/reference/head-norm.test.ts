import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { combineHeads, type AttentionLayout } from "./attention.ts";
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { headNorm, headNormBackward } from "./head-norm.ts";
import { randomValues } from "./random.ts";

test("headNorm and its backward agree with PyTorch, and pass values on", () => {
  const { queryWeight, keyWeight, epsilon, tokens, heads, kvHeads, headSize, ...want } =
    vectors.headNorm;
  const layout: AttentionLayout = {
    tokens,
    heads,
    kvHeads,
    headSize,
    rowSize: (heads + 2 * kvHeads) * headSize,
    qColumn: (head) => head * headSize,
    kColumn: (head) => (heads + head) * headSize,
    vColumn: (head) => (heads + kvHeads + head) * headSize,
  };
  const values = randomValues(tokens * kvHeads * headSize, 1);
  const rows = (q: number[], k: number[]) =>
    combineHeads({ dq: Float64Array.from(q), dk: Float64Array.from(k), dv: values }, layout);
  const norm = { queryWeight, keyWeight, epsilon, layout };
  const x = rows(want.q, want.k);
  expect(largestError(headNorm(x, norm), rows(want.yq, want.yk))).toBeLessThan(1e-14);
  const dx = headNormBackward(x, rows(want.dyq, want.dyk), norm);
  expect(largestError(dx, rows(want.dq, want.dk))).toBeLessThan(1e-14);
});

test("headNormBackward agrees with finite differences where heads are interleaved by group", () => {
  // InternLM2's rows: for each key head its queries, then k, then v; and one column of no head.
  const layout: AttentionLayout = {
    tokens: 3,
    heads: 4,
    kvHeads: 2,
    headSize: 3,
    rowSize: 25,
    qColumn: (head) => Math.floor(head / 2) * 12 + (head % 2) * 3,
    kColumn: (head) => head * 12 + 6,
    vColumn: (head) => head * 12 + 9,
  };
  const norm = {
    queryWeight: randomValues(3, 1),
    keyWeight: randomValues(3, 2),
    epsilon: 1e-2,
    layout,
  };
  const [x, dy] = [randomValues(75, 3), randomValues(75, 4)];
  const expected = differenceGradient((at) => dot(headNorm(at, norm), dy), x);
  expect(largestError(headNormBackward(x, dy, norm), expected)).toBeLessThan(1e-8);
});
