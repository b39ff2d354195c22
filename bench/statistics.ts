// Of several runs: the middle, how bad the slow ones are, how far they are apart, and what line they follow.

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The smallest number that 99 % of them do not exceed: of fewer than a hundred, the largest. */
export function percentile99(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
}

/** How far the least and the greatest are from the median, as shares of it: 0.05 is 5 % more. */
export function spreadOf(numbers: readonly number[]): [least: number, most: number] {
  const middle = median(numbers);
  return [Math.min(...numbers) / middle - 1, Math.max(...numbers) / middle - 1];
}

/** The line through points by least squares, and the distance of the furthest, as a share of what the line says. */
export function lineThrough(points: readonly (readonly [x: number, y: number])[]): {
  at0: number;
  slope: number;
  furthest: number;
} {
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const together = mean(points.map(([x, y]) => (x - meanX) * (y - meanY)));
  const slope = together / mean(points.map(([x]) => (x - meanX) ** 2));
  const at0 = meanY - slope * meanX;
  const furthest = Math.max(...points.map(([x, y]) => Math.abs(y / (at0 + slope * x) - 1)));
  return { at0, slope, furthest };
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
