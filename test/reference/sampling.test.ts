import { expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { largestError } from "./finite-differences.ts";
import { sampling } from "./sampling.ts";

const { logits, previous, cases } = vectors.sampling;

test.each(cases)(
  "sampling agrees with Hugging Face's processors: penalty $repetitionPenalty, temperature $temperature, top-k $topK, top-p $topP",
  ({ probabilities, ...settings }) => {
    const actual = sampling(logits, previous, settings);
    expect(largestError(actual, probabilities)).toBeLessThan(1e-14); // both are f64
    expect(actual.map(Math.sign)).toEqual(Float64Array.from(probabilities, Math.sign));
  },
);

test("a temperature of 0 puts everything on the largest logit after the penalty", () => {
  const settings = { repetitionPenalty: 2, temperature: 0, topK: 40, topP: 0.75 };
  expect(Array.from(sampling([3, 2, -1], [0], settings))).toEqual([0, 1, 0]);
});
