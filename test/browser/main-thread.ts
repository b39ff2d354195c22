// How long the page's main thread keeps a person waiting.
import type { Page } from "playwright-core";

export interface Waiting {
  /** The wait that 99 of 100 random moments do not pass. */
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly seconds: number;
}

/** Measures until the returned function is called. The page may not be left meanwhile. */
export async function watchMainThread(page: Page): Promise<() => Promise<Waiting>> {
  const watch = await page.evaluateHandle(() => {
    const gaps: number[] = [];
    let last = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      gaps.push(now - last);
      last = now;
    }, 4);
    return { gaps, timer };
  });
  return async () => {
    const measured = await watch.evaluate((running) => {
      clearInterval(running.timer);
      return running.gaps;
    });
    return summarize(measured);
  };
}

/** A moment inside a gap waits for its rest, so long gaps count by their length. */
function summarize(gaps: readonly number[]): Waiting {
  const total = gaps.reduce((sum, gap) => sum + gap, 0);
  const sharePast = (wait: number) =>
    gaps.reduce((sum, gap) => sum + Math.max(gap - wait, 0), 0) / total;
  let p99Ms = 0;
  while (sharePast(p99Ms) > 0.01) p99Ms++;
  return { p99Ms, worstMs: Math.max(0, ...gaps), seconds: total / 1000 };
}
