// A function of the page as a service may call it: without waiting, and whether or not the page is still there.

/** Calls and forgets. Over Comlink a call gives a promise, which fails when the page is gone. */
export function toPage<Given extends unknown[]>(
  callback: (...given: Given) => unknown,
): (...given: Given) => void {
  return (...given) => {
    void Promise.resolve(callback(...given)).catch(() => {}); // nobody is there to be told
  };
}
