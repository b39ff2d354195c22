// Training that bears the loss of the GPU: it goes on from the last checkpoint by itself.
import { AbortedError, messageOf, throwIfAborted } from "../base/error.ts";
import type { Engine, RunSummary, TrainEvent } from "../engine.ts";
import { NoAdapterError } from "../hosts/browser.ts";
import type { RunRecord } from "./api.ts";
import { isDeviceLost } from "./faults.ts";
import type { LiveRun } from "./live-run.ts";
import { startFolder, workFolder } from "./run-store.ts";
import { dataSources, modelFolder, runFolder } from "./storage.ts";

/** Before each recovery in a row without a new checkpoint between them. A GPU process takes a while to start. */
const WAITS_MS = [1000, 2000, 4000, 8000];

/** Trains; where the GPU is lost, waits and goes on from the last checkpoint. */
export async function trainSteadily(
  engine: Engine,
  record: RunRecord,
  live: LiveRun,
): Promise<RunSummary> {
  const request = {
    config: record.config,
    model: await modelFolder(record.modelId),
    data: await dataSources(record.dataIds),
    workDir: await workFolder(record.id),
    ...(record.parent && { loadFrom: startFolder(await runFolder(record.id)) }),
    signal: live.signal,
    pausing: live.gate,
    onEvent: (event: TrainEvent) => live.take(event),
  };
  let resume = record.status === "new" ? {} : { resume: "last-or-new" };
  let attempts = 0;
  let saved = live.saved;
  for (;;) {
    try {
      return await engine.train({ ...request, ...resume });
    } catch (error) {
      if (live.saved > saved) attempts = 0;
      const mayPass = isDeviceLost(error) || (attempts > 0 && isNotBackYet(error));
      if (!mayPass) throw error;
      throwIfAborted(live.signal);
      const waitMs = WAITS_MS[attempts];
      if (waitMs === undefined) throw error;
      attempts++;
      ({ saved } = live);
      resume = { resume: "last-or-new" };
      live.recover(attempts, messageOf(error).split("\n")[0] ?? "");
      await wait(waitMs, live.signal);
    }
  }
}

/** A browser whose GPU process has crashed offers no adapter for a while, or none that opens. */
function isNotBackYet(error: unknown): boolean {
  return error instanceof NoAdapterError || error instanceof DOMException;
}

/** Throws an AbortedError at once when it is no longer wanted. */
function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(new AbortedError());
      else resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
