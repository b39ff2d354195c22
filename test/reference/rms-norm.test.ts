import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { randomValues } from "./random.ts";
import { rmsNorm, rmsNormBackward } from "./rms-norm.ts";

test("rmsNorm and its backward agree with PyTorch", () => {
  const { x, weight, dy, y, dx, ...shape } = vectors.rmsNorm;
  expect(largestError(rmsNorm(x, weight, shape), y)).toBeLessThan(1e-14); // both are f64
  expect(largestError(rmsNormBackward(x, weight, dy, shape), dx)).toBeLessThan(1e-14);
});

test("rmsNormBackward agrees with finite differences where epsilon matters", () => {
  const shape = { rows: 2, size: 9, epsilon: 1e-2 };
  const x = randomValues(18, 1).map((value) => value * 0.1);
  const [weight, dy] = [randomValues(9, 2), randomValues(18, 3)];
  const expected = differenceGradient((at) => dot(rmsNorm(at, weight, shape), dy), x);
  expect(largestError(rmsNormBackward(x, weight, dy, shape), expected)).toBeLessThan(1e-8);
});
