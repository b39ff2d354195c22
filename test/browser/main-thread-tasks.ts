// The work of the page's main thread, task by task, in time of the processor: software GPUs take every core,
// and while they do, a clock on the wall counts their work for the page's.
import type { Page } from "playwright-core";
import type { Waiting } from "./main-thread.ts";

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds of the thread's own work. */
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

/** Measures until the returned function is called. */
export async function watchTasks(page: Page): Promise<() => Promise<Waiting>> {
  const browser = await page.context().newCDPSession(page);
  const events: TraceEvent[] = [];
  browser.on("Tracing.dataCollected", ({ value }) => {
    events.push(...(value as unknown as TraceEvent[]));
  });
  const traceConfig = { includedCategories: ["toplevel"], excludedCategories: ["*"] };
  await browser.send("Tracing.start", { transferMode: "ReportEvents", traceConfig });
  const started = performance.now();
  return async () => {
    const seconds = (performance.now() - started) / 1000;
    const complete = new Promise((resolve) => browser.once("Tracing.tracingComplete", resolve));
    await browser.send("Tracing.end");
    await complete;
    await browser.detach();
    return { ...summarize(tasksOf(events), seconds), seconds };
  };
}

/** Milliseconds of each task of the renderer that worked the most: this page's. */
function tasksOf(events: readonly TraceEvent[]): readonly number[] {
  const mains = events.filter(
    ({ name, args }) => name === "thread_name" && args.name === "CrRendererMain",
  );
  const lists = mains.map(({ pid, tid }) =>
    events
      .filter((event) => event.pid === pid && event.tid === tid && event.name.endsWith("::RunTask"))
      .map(({ tdur = 0 }) => tdur / 1000),
  );
  return lists.toSorted((a, b) => sum(b) - sum(a))[0] ?? [];
}

function sum(list: readonly number[]): number {
  return list.reduce((total, ms) => total + ms, 0);
}

/** A moment inside a task waits for its rest, so long tasks count by their length. */
function summarize(tasks: readonly number[], seconds: number) {
  const sharePast = (wait: number) =>
    sum(tasks.map((ms) => Math.max(ms - wait, 0))) / (1000 * seconds);
  let p99Ms = 0;
  while (sharePast(p99Ms) > 0.01) p99Ms++;
  return { p99Ms, worstMs: Math.max(0, ...tasks) };
}
