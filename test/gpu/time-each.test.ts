import { expect, test } from "vitest";
import { piecesOf } from "../../src/gpu/time-each.ts";

test("a piece begins no sooner than the one before it ended, whatever its pass says", () => {
  const ticks = [
    [1_000_000, 3_000_000],
    [1_100_000, 4_500_000], // it had waited for the first
    [5_000_000, 5_250_000],
    [5_100_000, 5_250_000], // a clock of coarse steps
  ];
  expect(piecesOf(BigUint64Array.from(ticks.flat().map(BigInt)))).toEqual([2, 1.5, 0.25, 0]);
});

test("no pieces take no time", () => {
  expect(piecesOf(new BigUint64Array(0))).toEqual([]);
});
