// The numbers behind a chart.
import { describe, expect, test } from "vitest";
import {
  extentOf,
  formatValue,
  lineUp,
  logTicks,
  moveRange,
  moveX,
  nearestX,
  smooth,
  thinOut,
  toCsv,
  valueAt,
  zoomRange,
} from "../../src/ui/parts/chart-data.ts";

const curve = (x: number[], y: (number | null)[], name = "loss") => ({ name, x, y });

describe("smoothing", () => {
  test("begins at the first value and leaves a constant as it is", () => {
    const smoothed = smooth([4, 4, 4, 4, 4], 0.9);
    // Sums of tenths are not exact in binary.
    for (const value of smoothed) expect(value).toBeCloseTo(4, 12);
  });

  test("is the weighted mean of all values so far, the newest weighing most", () => {
    const values = [3, 1, 7, 2];
    const weight = 0.6;
    const expected = values.map((_, last) => {
      const weights = values.slice(0, last + 1).map((__, i) => weight ** (last - i));
      const total = weights.reduce((sum, w) => sum + w, 0);
      return weights.reduce((sum, w, i) => sum + w * (values[i] ?? 0), 0) / total;
    });
    const smoothed = smooth(values, weight);
    for (const [i, value] of expected.entries()) expect(smoothed[i]).toBeCloseTo(value, 12);
  });

  test("with no weight on the past is the values themselves, gaps kept", () => {
    expect(smooth([1, null, Number.NaN, 5], 0)).toEqual([1, null, null, 5]);
  });
});

describe("thinning out", () => {
  const n = 100_003;
  const x = Array.from({ length: n }, (_, i) => i);
  const y = x.map((i) => Math.sin(i / 977));
  y[54_321] = 99;
  y[70_001] = -99;
  const all = { min: 0, max: n - 1 };

  test("keeps every peak, the order and the number of points below the limit", () => {
    const thin = thinOut(curve(x, y), all, 1500);
    expect(thin.x.length).toBeLessThanOrEqual(1500 + 2);
    expect(thin.x.length).toBeGreaterThan(700);
    expect(thin.x.every((value, i) => i === 0 || value > (thin.x[i - 1] ?? 0))).toBe(true);
    expect(thin.y[thin.x.indexOf(54_321)]).toBe(99);
    expect(thin.y[thin.x.indexOf(70_001)]).toBe(-99);
  });

  test("keeps all points of a short range, and one at either side of it", () => {
    expect(thinOut(curve(x, y), { min: 100.5, max: 103 }, 1500).x).toEqual([
      100, 101, 102, 103, 104,
    ]);
  });

  test("a range moved by less than a bucket keeps the points it had", () => {
    const [one, other] = [1000, 1003].map((min) =>
      thinOut(curve(x, y), { min, max: min + 50_000 }, 1500).x.slice(5, -5),
    );
    expect(other?.slice(3, -3).every((value) => one?.includes(value))).toBe(true);
  });

  test("what has no place on a logarithmic axis is a gap and no peak", () => {
    const values = Array.from({ length: 4001 }, (_, i) => (i % 2 === 0 ? 0 : i));
    const thin = thinOut(curve(x.slice(0, 4001), values), { min: 0, max: 4000 }, 100, 0);
    expect(thin.y.filter((value) => value !== null).every((value) => value > 0)).toBe(true);
    expect(thin.y).toContain(3999);
  });
});

test("curves are lined up on one x: undefined where there is no point, null where there is a gap", () => {
  const lined = lineUp([curve([1, 2, 4], [10, null, 40]), curve([2, 3], [5, 6])]);
  expect(lined).toEqual({
    x: [1, 2, 3, 4],
    ys: [
      [10, null, undefined, 40],
      [undefined, 5, 6, undefined],
    ],
  });
});

test("of two points at one x the later one counts", () => {
  expect(lineUp([curve([1, 1, 2], [7, 8, 9])])).toEqual({ x: [1, 2], ys: [[8, 9]] });
});

describe("reading off", () => {
  const sparse = curve([10, 20, 40], [1, null, 3]);

  test("the value at a point is the last one at or before it", () => {
    expect([9, 10, 25, 40, 99].map((x) => valueAt(sparse, x))).toEqual([null, 1, 1, 3, 3]);
  });

  test("the nearest point of all curves is found", () => {
    expect(nearestX([sparse, curve([33], [1])], 31)).toBe(33);
    expect(nearestX([curve([], [])], 31)).toBeUndefined();
  });

  test("steps go along the longest curve and stay inside it", () => {
    const curves = [curve([25], [1]), sparse];
    expect(moveX(curves, 10, 1)).toBe(20);
    expect(moveX(curves, 15, -1)).toBe(10);
    expect(moveX(curves, 15, 1)).toBe(20);
    expect(moveX(curves, 40, 5)).toBe(40);
    expect(moveX(curves, undefined, 1)).toBe(40);
    expect(moveX(curves, undefined, Number.NEGATIVE_INFINITY)).toBe(10);
    expect(moveX([], 3, 1)).toBeUndefined();
  });
});

describe("ranges", () => {
  const all = { min: 0, max: 100 };

  test("the extent spans all curves that have points", () => {
    expect(extentOf([curve([], []), curve([3, 9], [1, 1]), curve([5, 70], [1, 1])])).toEqual({
      min: 3,
      max: 70,
    });
    expect(extentOf([curve([], [])])).toBeUndefined();
  });

  test("a range is moved as far as the ends, its length kept", () => {
    expect(moveRange({ min: 10, max: 30 }, -50, all)).toEqual({ min: 0, max: 20 });
    expect(moveRange({ min: 10, max: 30 }, 75, all)).toEqual({ min: 80, max: 100 });
  });

  test("closer keeps the center where it is; far enough out is all of it", () => {
    expect(zoomRange(all, 0.5, 40, all)).toEqual({ min: 20, max: 70 });
    expect(zoomRange({ min: 20, max: 70 }, 2.5, 40, all)).toBeUndefined();
  });
});

describe("marks and numbers", () => {
  test("a logarithmic axis has 1, 2 and 5 of its decades, decades alone where there are many", () => {
    expect(logTicks({ min: 0.3, max: 12 })).toEqual([0.5, 1, 2, 5, 10]);
    expect(logTicks({ min: 1e-7, max: 1 })).toEqual([1e-7, 1e-5, 1e-3, 1e-1]);
  });

  test("where it spans less than that, it has round numbers", () => {
    expect(logTicks({ min: 2.1, max: 2.9 })).toEqual([2.2, 2.4, 2.6, 2.8]);
  });

  test("values are short", () => {
    expect([1.23456, 0, 0.000021, 1234567, 12, null].map(formatValue)).toEqual([
      "1.235",
      "0",
      "2.1e-5",
      "1.23e6",
      "12",
      "–",
    ]);
  });
});

test("CSV has a row for each x; a name that a spreadsheet would calculate is text", () => {
  const csv = toCsv("step", [curve([1, 2], [0.5, null], '=HYPERLINK("x")'), curve([2], [7], "b")]);
  expect(csv).toBe('"step","\'=HYPERLINK(""x"")","b"\r\n1,0.5,\r\n2,,7\r\n');
});
