// A function of the page as a service may call it: without waiting, and whether or not the page is still there.
import type { Progress } from "./api.ts";

/** Calls and forgets. Over Comlink a call gives a promise, which fails when the page is gone. */
export function toPage<Given extends unknown[]>(
  callback: (...given: Given) => unknown,
): (...given: Given) => void {
  return (...given) => {
    void Promise.resolve(callback(...given)).catch(() => {}); // nobody is there to be told
  };
}

const PROGRESS_EVERY_MS = 100;

/** Calls at most ten times a second, and at the end: every call is a message to the page. */
export function seldom(onProgress: Progress): Progress {
  const tell = toPage(onProgress);
  let next = 0;
  return (bytes, totalBytes) => {
    const now = performance.now();
    if (now < next && bytes < totalBytes) return;
    next = now + PROGRESS_EVERY_MS;
    tell(bytes, totalBytes);
  };
}
