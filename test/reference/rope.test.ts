import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { randomValues } from "./random.ts";
import { inverseFrequencies, rope, ropeBackward } from "./rope.ts";

test.each(vectors.inverseFrequencies)(
  "inverseFrequencies agrees with PyTorch: head size $headSize, theta $theta",
  ({ headSize, theta, scaling, frequencies }) => {
    const actual = inverseFrequencies(headSize, theta, scaling);
    // Relative to each: the smallest frequency is a millionth of the largest.
    const ratios = actual.map((frequency, i) => frequency / frequencies[i]! - 1);
    expect(Math.max(...ratios.map(Math.abs))).toBeLessThan(1e-13);
    expect(actual.length).toBe(headSize / 2);
  },
);

test("rope and its backward agree with PyTorch", () => {
  const { tokens, heads, headSize, theta, positions, x, dy, y, dx } = vectors.rope;
  const headColumns = Array.from({ length: heads }, (_, head) => head * headSize);
  const layout = { tokens, rowSize: heads * headSize, headSize, headColumns };
  const frequencies = inverseFrequencies(headSize, theta);
  // Angles reach 1000 radians, whose cosine is good to about 1e-13.
  expect(largestError(rope(x, positions, frequencies, layout), y)).toBeLessThan(1e-12);
  expect(largestError(ropeBackward(dy, positions, frequencies, layout), dx)).toBeLessThan(1e-12);
});

test("rope of a part of each head, with longer cosines and sines, agrees with PyTorch", () => {
  const { tokens, heads, headSize, rotary, theta, scale, positions, x, dy, y, dx } =
    vectors.partialRope;
  const headColumns = Array.from({ length: heads }, (_, head) => head * headSize);
  const layout = { tokens, rowSize: heads * headSize, headSize, headColumns, rotary, scale };
  const frequencies = inverseFrequencies(rotary, theta);
  expect(largestError(rope(x, positions, frequencies, layout), y)).toBeLessThan(1e-13);
  expect(largestError(ropeBackward(dy, positions, frequencies, layout), dx)).toBeLessThan(1e-13);
});

test("rope leaves the columns of no head alone, and its backward agrees with finite differences", () => {
  const layout = { tokens: 3, rowSize: 11, headSize: 4, headColumns: [1, 6] };
  const [x, dy, frequencies] = [randomValues(33, 1), randomValues(33, 2), [1, 0.1]];
  const positions = [0, 5, 2];
  const y = rope(x, positions, frequencies, layout);
  for (const column of [0, 5, 10]) expect(y[22 + column]).toBe(x[22 + column]);
  const expected = differenceGradient((at) => dot(rope(at, positions, frequencies, layout), dy), x);
  const actual = ropeBackward(dy, positions, frequencies, layout);
  expect(largestError(actual, expected)).toBeLessThan(1e-8);
});
