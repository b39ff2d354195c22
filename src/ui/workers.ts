// The page's two threads: the engine's, which owns the GPU, and the one for models and data.
import { proxy, wrap, type Remote } from "comlink";
import type { DataService, EngineService } from "../services/api.ts";
import dataWorkerUrl from "../../workers/data.worker.ts?worker&url";
import engineWorkerUrl from "../../workers/engine.worker.ts?worker&url";
import { scriptUrl } from "./trusted-types.ts";

export interface Workers {
  readonly engine: Remote<EngineService>;
  readonly data: Remote<DataService>;
}

/** Starts both and tells them where the hub is. */
export function startWorkers(): Workers {
  const engine = wrap<EngineService>(startWorker(engineWorkerUrl, "engine"));
  const data = wrap<DataService>(startWorker(dataWorkerUrl, "data"));
  const hubUrl = readHubUrl();
  const pageUrl = new URL(".", document.baseURI).href;
  void engine.configure({ hubUrl, pageUrl }); // every later call waits behind it
  void data.configure({ hubUrl, pageUrl });
  return { engine, data };
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
