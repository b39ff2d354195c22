// What the benchmark says of several runs.
import { expect, test } from "vitest";
import { lineThrough, median, percentile99, spreadOf } from "../../bench/statistics.ts";

test("the middle of several runs, and the slowest of few", () => {
  expect(median([5, 1, 9])).toBe(5);
  expect(percentile99([5, 1, 9])).toBe(9);
});

test("a spread is told by both of its ends, as shares of the middle", () => {
  const [least, most] = spreadOf([100, 93, 120]);
  expect(least).toBeCloseTo(-0.07, 12);
  expect(most).toBeCloseTo(0.2, 12);
});

test("a line through points on it is that line, and one that lies off it is told", () => {
  const points = [1, 2, 4, 8].map((x) => [x, 10 + 3 * x] as const);
  const line = lineThrough(points);
  expect(line.at0).toBeCloseTo(10, 10);
  expect(line.slope).toBeCloseTo(3, 10);
  expect(line.furthest).toBeCloseTo(0, 10);
  // y = x² at −1, 0, 1 is fitted by a flat line at 2/3: the middle is all of that off.
  const curve = lineThrough([
    [-1, 1],
    [0, 0],
    [1, 1],
  ]);
  expect(curve.slope).toBeCloseTo(0, 12);
  expect(curve.furthest).toBeCloseTo(1, 12);
});
