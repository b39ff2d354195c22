// The page's own engine worker, asked directly: for numbers that no screen shows.
import type { Page } from "playwright-core";
import type { EngineService } from "../../src/services/api.ts";
import type { App } from "./app.ts";

type Method = keyof EngineService;

/** A second tab whose engine worker `callEngine` can ask. */
export async function openEngineTab(app: App): Promise<Page> {
  await app.context.addInitScript(keepWorkers);
  return app.openTab();
}

/** Calls the worker as the page does, in Comlink's words. Numbers in arrays come back as plain ones. */
export async function callEngine<Name extends Method>(
  page: Page,
  name: Name,
  ...given: Parameters<EngineService[Name]>
): Promise<unknown> {
  const call = { name, argumentList: given.map((value: unknown) => ({ type: "RAW", value })) };
  return page.evaluate(async ({ name: method, argumentList }) => {
    const worker = (globalThis as unknown as { engineWorker: Worker }).engineWorker;
    const id = crypto.randomUUID();
    const answer = new Promise<{ type: string; value: unknown }>((resolve) => {
      worker.addEventListener("message", ({ data }: MessageEvent) => {
        if ((data as { id?: string }).id === id) resolve(data as { type: string; value: unknown });
      });
    });
    worker.postMessage({ id, type: "APPLY", path: [method], argumentList }, []);
    const { type, value } = await answer;
    if (type !== "RAW") throw new Error(`the engine worker answered ${JSON.stringify(value)}`);
    return ArrayBuffer.isView(value) ? [...(value as Float32Array)] : value;
  }, call);
}

/** Runs in the page, before its own scripts. */
function keepWorkers(): void {
  const scope = globalThis as unknown as { engineWorker?: Worker };
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      if (options?.name === "hone-engine") scope.engineWorker = this;
    }
  };
}
