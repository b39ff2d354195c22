// The page's two threads: the engine's, which owns the GPU, and the one for models and data.
import { proxy, wrap, type Remote } from "comlink";
import type { DataService, EngineService } from "../services/api.ts";
import dataWorkerUrl from "../../workers/data.worker.ts?worker&url";
import engineWorkerUrl from "../../workers/engine.worker.ts?worker&url";
import { scriptUrl } from "./trusted-types.ts";

export interface Workers {
  readonly engine: Remote<EngineService>;
  readonly data: Remote<DataService>;
  /** Resolves if one of them cannot be started: its calls will never be answered. */
  readonly failed: Promise<void>;
}

/** Starts both and tells them where the hub is. */
export function startWorkers(): Workers {
  const threads = [
    startWorker(engineWorkerUrl, "engine"),
    startWorker(dataWorkerUrl, "data"),
  ] as const;
  const engine = wrap<EngineService>(threads[0]);
  const data = wrap<DataService>(threads[1]);
  const options = { hubUrl: readHubUrl(), pageUrl: new URL(".", document.baseURI).href };
  const failed = new Promise<void>((resolve) => {
    for (const thread of threads) thread.addEventListener("error", () => resolve(), { once: true });
    // Every later call waits behind these.
    Promise.all([engine.configure(options), data.configure(options)]).catch(() => resolve());
  });
  return { engine, data, failed };
}

/** A function as it is handed to a worker. */
export function callback<T extends (...given: never[]) => unknown>(called: T): T {
  return proxy(called);
}

function startWorker(url: string, name: string): Worker {
  return new Worker(scriptUrl(url), { type: "module", name: `hone-${name}` });
}

function readHubUrl(): string {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="hone-hub"]');
  return meta?.content || "https://huggingface.co";
}
