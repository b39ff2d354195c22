// The numbers behind a chart: smoothed, thinned out to what can be seen, lined up, read off, and as CSV.
//
// Curves may be long and grow in place; nothing here keeps or changes them.

export interface Curve {
  readonly name: string;
  /** Ascending. */
  readonly x: ArrayLike<number>;
  /** As many as `x`; null, or a number that is not finite, where there is no value. */
  readonly y: ArrayLike<number | null>;
}

export interface Range {
  readonly min: number;
  readonly max: number;
}

/**
 * Exponential moving average, its start corrected as Adam corrects its means: the first value is the
 * first one smoothed. `weight` of the past is below 1; values that are not finite are passed over.
 */
export function smooth(values: ArrayLike<number | null>, weight: number): (number | null)[] {
  const smoothed: (number | null)[] = Array.from({ length: values.length }, () => null);
  let mean = 0;
  let share = 0; // what the weights add up to so far
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!isValue(value)) continue;
    mean = weight * mean + (1 - weight) * value;
    share = weight * share + (1 - weight);
    smoothed[i] = mean / share;
  }
  return smoothed;
}

/** First and last x of all curves, or undefined where none has a point. */
export function extentOf(curves: readonly Curve[]): Range | undefined {
  let extent: Range | undefined;
  for (const { x } of curves) {
    const [min, max] = [x[0], x[x.length - 1]];
    if (min === undefined || max === undefined) continue;
    extent = extent
      ? { min: Math.min(extent.min, min), max: Math.max(extent.max, max) }
      : { min, max };
  }
  return extent;
}

/**
 * The part of a curve in `range`, and one point at either side, in at most about `limit` points: of each
 * bucket the lowest and the highest, so that no peak is lost. Buckets begin at multiples of a power of
 * two, so the picture stands still while the curve grows or is moved. Values at or below `above` are gaps.
 */
export function thinOut(
  curve: Pick<Curve, "x" | "y">,
  range: Range,
  limit: number,
  above = Number.NEGATIVE_INFINITY,
): { x: number[]; y: (number | null)[] } {
  const first = Math.max(0, lowerBound(curve.x, range.min) - 1);
  const end = Math.min(curve.x.length, upperBound(curve.x, range.max) + 1);
  const thin: { x: number[]; y: (number | null)[] } = { x: [], y: [] };
  const keep = (i: number) => {
    const value = curve.y[i];
    thin.x.push(curve.x[i] ?? 0);
    thin.y.push(isValue(value) && value > above ? value : null);
  };
  const size = 2 ** Math.ceil(Math.log2(Math.max(1, (2 * (end - first)) / limit)));
  if (size < 3) {
    for (let i = first; i < end; i++) keep(i);
    return thin;
  }
  for (let start = first; start < end;) {
    const next = Math.min(end, (Math.floor(start / size) + 1) * size);
    const [low, high] = extremes(curve.y, start, next, above);
    keep(Math.min(low, high));
    if (low !== high) keep(Math.max(low, high));
    start = next;
  }
  return thin;
}

/** Where the lowest and the highest value of [start, end) are; `start` where there is none. */
function extremes(
  y: Curve["y"],
  start: number,
  end: number,
  above: number,
): [low: number, high: number] {
  let [low, high] = [start, start];
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = start; i < end; i++) {
    const value = y[i];
    if (!isValue(value) || value <= above) continue;
    if (value < min) [min, low] = [value, i];
    if (value > max) [max, high] = [value, i];
  }
  return [low, high];
}

/**
 * Curves over one x: `undefined` where a curve has no point at all, null where it has a gap.
 * Of two points of a curve at one x the later one stays.
 */
export function lineUp(curves: readonly Pick<Curve, "x" | "y">[]): {
  x: number[];
  ys: (number | null | undefined)[][];
} {
  const all = curves.flatMap((curve) => Array.from(curve.x));
  const x = Float64Array.from(all).toSorted();
  const unique = Array.from(x.filter((value, i) => i === 0 || value !== x[i - 1]));
  const ys = curves.map((curve) => {
    const y: (number | null | undefined)[] = Array.from({ length: unique.length });
    let at = 0;
    for (let i = 0; i < curve.x.length; i++) {
      while (at < unique.length - 1 && (unique[at] ?? 0) < (curve.x[i] ?? 0)) at++;
      y[at] = curve.y[i] ?? null;
    }
    return y;
  });
  return { x: unique, ys };
}

/** The last value at or before `x`, or null. */
export function valueAt(curve: Curve, x: number): number | null {
  for (let i = upperBound(curve.x, x) - 1; i >= 0; i--) {
    const value = curve.y[i];
    if (isValue(value)) return value;
  }
  return null;
}

/** The x of a point nearest to `x`, or undefined where there is none. */
export function nearestX(curves: readonly Curve[], x: number): number | undefined {
  let nearest: number | undefined;
  for (const curve of curves) {
    const at = lowerBound(curve.x, x);
    for (const candidate of [curve.x[at - 1], curve.x[at]]) {
      if (candidate === undefined) continue;
      if (nearest === undefined || Math.abs(candidate - x) < Math.abs(nearest - x)) {
        nearest = candidate;
      }
    }
  }
  return nearest;
}

/** The x that is `count` points on, along the curve with the most points; an end of it if there is no `x`. */
export function moveX(
  curves: readonly Curve[],
  x: number | undefined,
  count: number,
): number | undefined {
  const longest = longestOf(curves);
  if (!longest || longest.x.length === 0) return undefined;
  const last = longest.x.length - 1;
  if (x === undefined) return longest.x[count === Number.NEGATIVE_INFINITY ? 0 : last];
  // Between two points, a step back leads to the one before.
  const at = count < 0 ? lowerBound(longest.x, x) : upperBound(longest.x, x) - 1;
  return longest.x[Math.min(last, Math.max(0, at + count))];
}

function longestOf<C extends Curve>(curves: readonly C[]): C | undefined {
  let longest = curves[0];
  for (const curve of curves) if (curve.x.length > (longest?.x.length ?? 0)) longest = curve;
  return longest;
}

/** `range` moved by `shift`, and no further than the ends. */
export function moveRange(range: Range, shift: number, all: Range): Range {
  const by = Math.min(Math.max(shift, all.min - range.min), all.max - range.max);
  return { min: range.min + by, max: range.max + by };
}

/** `range` made longer or shorter around `center`; undefined where that is all there is. */
export function zoomRange(
  range: Range,
  factor: number,
  center: number,
  all: Range,
): Range | undefined {
  const min = Math.max(all.min, center - (center - range.min) * factor);
  const max = Math.min(all.max, center + (range.max - center) * factor);
  return max - min >= all.max - all.min ? undefined : { min, max };
}

/** Where a logarithmic axis has its marks: 1, 2 and 5 of each decade, or evenly where it spans less. */
export function logTicks({ min, max }: Range): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(min)); power <= Math.ceil(Math.log10(max)); power++) {
    // 10 ** −5 is 0.000009999…: its own decimal is nearer.
    for (const digit of [1, 2, 5]) ticks.push(Number(`${digit}e${power}`));
  }
  const inside = ticks.filter((tick) => tick >= min && tick <= max);
  if (inside.length < 3) return evenTicks({ min, max });
  if (inside.length <= 7) return inside;
  const decades = inside.filter((tick) => Number.isInteger(Math.log10(tick)));
  return decades.length < 2 ? inside : everyNth(decades, Math.ceil(decades.length / 7));
}

/** About four marks at round numbers. */
function evenTicks({ min, max }: Range): number[] {
  const rough = (max - min) / 4;
  if (!(rough > 0)) return [min];
  const power = Math.floor(Math.log10(rough));
  const digit = [1, 2, 5, 10].find((candidate) => candidate * 10 ** power >= rough) ?? 10;
  const step = Number(`${digit}e${power}`);
  const ticks: number[] = [];
  for (let k = Math.ceil(min / step); k * step <= max; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

function everyNth(values: readonly number[], n: number): number[] {
  return values.filter((_, i) => i % n === 0);
}

/** 0.0321, 1.234, 12.3, 4.5e-5: four digits at most. */
export function formatValue(value: number | null): string {
  if (value === null) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) {
    return value
      .toExponential(2)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  }
  return String(Number(value.toPrecision(4)));
}

/** Every point of every curve, a row for each x. Names may come from outside, so none can be a formula. */
export function toCsv(xLabel: string, curves: readonly Curve[]): string {
  const { x, ys } = lineUp(curves);
  const rows = x.map((value, i) => [value, ...ys.map((y) => y[i] ?? "")].join(","));
  const head = [xLabel, ...curves.map(({ name }) => name)].map(csvText).join(",");
  return `${[head, ...rows].join("\r\n")}\r\n`;
}

/** A text in quotes; where a spreadsheet would calculate it, with a quote mark before it. */
function csvText(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
}

function isValue(value: number | null | undefined): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** The first index whose value is not below `x`. */
function lowerBound(values: ArrayLike<number>, x: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? 0) < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first index whose value is above `x`. */
function upperBound(values: ArrayLike<number>, x: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] ?? 0) <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}
