import { expect, test } from "vitest";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { largestError } from "./finite-differences.ts";
import { clipCoefficient, gradNorm } from "./grad-norm.ts";

test.each(vectors.clip.cases)(
  "clipping agrees with torch's clip_grad_norm_ at a limit of $maxNorm",
  ({ maxNorm, norm, clipped }) => {
    const { gradients } = vectors.clip;
    expect(gradNorm(gradients)).toBeCloseTo(norm, 13);
    const coefficient = clipCoefficient(norm, maxNorm);
    expect(
      largestError(
        gradients.map((g) => g * coefficient),
        clipped,
      ),
    ).toBeLessThan(1e-14);
  },
);

test("the norm is that of all gradients together", () => {
  expect(gradNorm([3], [], [0, 4])).toBe(numerics.clip.norm);
  const clipped = [3, 4].map((g) => g * clipCoefficient(5, 1));
  expect(largestError(clipped, numerics.clip.clipped)).toBeLessThan(1e-7); // the fixture is f32
});
