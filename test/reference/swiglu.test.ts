import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { randomValues } from "./random.ts";
import { swiglu, swigluBackward } from "./swiglu.ts";

test("swiglu and its backward agree with PyTorch", () => {
  const { x, dy, y, dx, ...shape } = vectors.swiglu;
  expect(largestError(swiglu(x, shape), y)).toBeLessThan(1e-14); // both are f64
  expect(largestError(swigluBackward(x, dy, shape), dx)).toBeLessThan(1e-14);
});

test("swigluBackward agrees with finite differences", () => {
  const shape = { rows: 3, size: 7 };
  const x = randomValues(42, 1).map((value) => value * 6);
  const dy = randomValues(21, 2);
  const expected = differenceGradient((at) => dot(swiglu(at, shape), dy), x);
  expect(largestError(swigluBackward(x, dy, shape), expected)).toBeLessThan(1e-8);
});

test("a gate far below zero closes without a NaN", () => {
  const x = [-1e4, 3];
  expect(Math.abs(swiglu(x, { rows: 1, size: 1 })[0]!)).toBe(0);
  expect(Array.from(swigluBackward(x, [1], { rows: 1, size: 1 }), Math.abs)).toEqual([0, 0]);
});
