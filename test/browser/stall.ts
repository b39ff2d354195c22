// The engine's worker caught in the middle of something: a call of the browser's that never comes back.
import type { Page } from "playwright-core";

/** A file that is opened to be read or written, or a GPU program that is made; the n-th of them. */
export interface Place {
  readonly method: "getFile" | "createSyncAccessHandle" | "createComputePipelineAsync";
  /** Part of the file's name. */
  readonly file?: string;
  readonly nth?: number;
}

/** Makes the call at that place hang, in the worker that runs now and in those after a reload. */
export async function stallAt(page: Page, place: Place): Promise<Stall> {
  const stalled = page.waitForEvent("console", {
    predicate: (message) => message.text() === "the test's stall",
    timeout: 60_000,
  });
  const install = (worker: ReturnType<Page["workers"]>[number]) =>
    worker.evaluate(hangAt, place).catch(() => {}); // gone with its page
  page.on("worker", install);
  await Promise.all(page.workers().map(install));
  return {
    /** Resolves when the worker hangs; the next worker will not. */
    async reached() {
      await stalled;
      page.off("worker", install);
    },
  };
}

interface Stall {
  reached(): Promise<void>;
}

/** Runs in a worker. */
function hangAt({ method, file, nth = 1 }: Place): void {
  if (self.name !== "hone-engine") return;
  type Call = (this: { readonly name?: string }, ...given: unknown[]) => Promise<unknown>;
  const owner = (method === "createComputePipelineAsync"
    ? GPUDevice.prototype
    : FileSystemFileHandle.prototype) as unknown as Record<string, Call>;
  const real = owner[method]!;
  let count = 0;
  owner[method] = function hang(...given) {
    const isMeant = file === undefined || (this.name?.includes(file) ?? false);
    if (!isMeant || ++count < nth) return real.apply(this, given);
    console.debug("the test's stall");
    return new Promise(() => {});
  };
}
