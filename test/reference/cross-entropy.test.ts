import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { crossEntropy, NO_TARGET } from "./cross-entropy.ts";
import { differenceGradient, largestError } from "./finite-differences.ts";
import { randomValues } from "./random.ts";

test("crossEntropy agrees with PyTorch, on logits of ±200 too", () => {
  const { logits, targets, losses, dlogits, ...shape } = vectors.crossEntropy;
  const actual = crossEntropy(logits, targets, shape);
  expect(largestError(actual.losses, losses)).toBeLessThan(1e-14); // both are f64
  expect(largestError(actual.dlogits, dlogits)).toBeLessThan(1e-14);
});

test("dlogits is the factor times the gradient of the sum, and zero where there is no target", () => {
  const shape = { rows: 3, vocabulary: 5, factor: 0.5 };
  const [logits, targets] = [randomValues(15, 1), [4, NO_TARGET, 0]];
  const { losses, dlogits } = crossEntropy(logits, targets, shape);
  const expected = differenceGradient((at) => {
    const each = crossEntropy(at, targets, shape).losses;
    return 0.5 * each.reduce((sum, loss) => sum + loss, 0);
  }, logits);
  expect(largestError(dlogits, expected)).toBeLessThan(1e-8);
  expect(losses[1]).toBe(0);
  expect(Array.from(dlogits.subarray(5, 10))).toEqual([0, 0, 0, 0, 0]);
});
