// The table that the Export screen hands out and an export carries along.
import { expect, test } from "vitest";
import { formatLossCsv } from "../../src/base/loss-csv.ts";
import type { RunHistory } from "../../src/services/api.ts";

const step = (number: number, loss: number) => ({
  step: number,
  steps: 3,
  epoch: number / 2,
  loss,
  learningRate: 2e-4,
  gradNorm: 0.7,
  lossScale: 1,
  tokens: 9 * number,
  labelTokens: 5,
  tokensPerSecond: 11.5,
  etaSeconds: 1,
  skipped: 0,
});

const held = { perplexity: 3, tokenAccuracy: 0.25, labelTokens: 7 };
const history: RunHistory = {
  steps: [step(1, 2.5), step(2, Number.NaN), step(3, 1.25)],
  evals: [
    { step: 0, loss: 3.5, ...held },
    { step: 3, loss: 1.5, ...held },
  ],
  samples: [],
};

test("has a row for each step, the held-out loss beside it, and nothing that is not finite", () => {
  const [head, ...rows] = formatLossCsv(history).trimEnd().split("\n");
  expect(head?.split(",").slice(0, 3)).toEqual(["step", "epoch", "loss"]);
  expect(rows.map((row) => row.split(",")[2])).toEqual(["", "2.5", "", "1.25"]);
  expect(rows.map((row) => row.split(",").at(-2))).toEqual(["3.5", "", "", "1.5"]);
});

test("goes to the last step, where none is named", () => {
  expect(formatLossCsv(history)).toBe(formatLossCsv(history, 3));
});
