// Starting, pausing and ending runs: one at a time in all tabs, and again from the last checkpoint where
// the GPU was lost.
import { messageOf, UserError } from "../base/error.ts";
import type { Engine, RunSummary } from "../engine.ts";
import type { RunRecord } from "./api.ts";
import { isAborted, isDeviceLost } from "./faults.ts";
import { LiveRun, type OnEvents } from "./live-run.ts";
import { heldLocks, RUN_LOCK, runLock, takeLock, withModel } from "./locks.ts";
import { changeRun, readRun, startFolder, workFolder } from "./run-store.ts";
import { findProgress } from "./run-record.ts";
import { dataSources, modelFolder, runFolder } from "./storage.ts";

/** Recoveries in a row without a new checkpoint between them. */
const MOST_RECOVERIES = 3;

/** How long the worker of a page that was just reloaded may take to let go of its run. */
const RELOAD_PATIENCE_MS = 2000;

export class RunControl {
  readonly #engine: Engine;
  /** Takes the GPU from whoever else has it in this tab. */
  readonly #freeGpu: () => Promise<void>;
  #live: LiveRun | undefined;
  #isMeasuring = false;
  /** Settles when this tab has let go of the lock of all tabs. */
  #released: Promise<void> = Promise.resolve();

  constructor(engine: Engine, freeGpu: () => Promise<void>) {
    this.#engine = engine;
    this.#freeGpu = freeGpu;
  }

  /** The run under way in this tab, paused ones too. */
  get live(): Pick<LiveRun, "id" | "status" | "step" | "steps"> | undefined {
    return this.#live;
  }

  /** Runs to the end, or until it is stopped. Whatever ends it, its record says so before this settles. */
  async start(id: string, onEvents: OnEvents): Promise<RunSummary> {
    if (this.#isMeasuring) await this.#released;
    return this.#alone(id, async () => {
      const release = await takeLock(runLock(id), { ifAvailable: true });
      if (!release) throw new UserError("This run is being deleted.", "Choose another one.");
      try {
        return await this.#run(await readRun(id), onEvents);
      } finally {
        this.#live = undefined;
        release();
      }
    });
  }

  /** Resolves when the run has saved and waits, or has ended before. */
  async pause(): Promise<void> {
    const live = this.#live;
    if (!live || live.gate.isPaused()) return;
    live.gate.close();
    await live.nextStatus();
  }

  async resume(): Promise<void> {
    if (!this.#live?.gate.isPaused()) return;
    await this.#freeGpu();
    this.#live.gate.open();
  }

  /** Resolves when the run has ended. */
  async stop(): Promise<void> {
    if (!this.#live) return;
    this.#live.stop();
    await this.#released;
  }

  /** Does something that needs the whole GPU, while no tab trains. */
  async measure<T>(action: () => Promise<T>): Promise<T> {
    return this.#alone(undefined, async () => {
      this.#isMeasuring = true;
      try {
        await this.#freeGpu();
        return await action();
      } finally {
        this.#isMeasuring = false;
      }
    });
  }

  /** Refuses what would take the GPU from a run. A paused run lends it. */
  async refuseBusy(): Promise<void> {
    if (this.#live && this.#live.status === "paused") return;
    if (!this.#live && !(await heldLocks()).has(RUN_LOCK)) return;
    const other = this.#live ? undefined : await otherRun();
    if (other?.status !== "paused") throw await this.#explainBusy(other);
  }

  async #run(record: RunRecord, onEvents: OnEvents): Promise<RunSummary> {
    if (record.status === "finished") {
      throw new UserError(
        `"${record.name}" has done all its ${record.steps} steps.`,
        "Make a copy of it to train further.",
      );
    }
    const progress = await findProgress(await workFolder(record.id));
    const live = new LiveRun({ ...record, ...progress }, onEvents);
    this.#live = live;
    await changeRun(record.id, { ...progress, error: null });
    live.become("running");
    let summary: RunSummary | undefined;
    try {
      await this.#freeGpu();
      summary = await withModel(record.modelId, () => this.#trainSteadily(record, live));
    } catch (error) {
      // Stopped where there was nothing to save, or where the GPU could save nothing any more.
      const isStopped = live.signal.aborted && (isAborted(error) || isDeviceLost(error));
      if (!isStopped) {
        await live.end("failed", messageOf(error)).catch(() => {}); // the first failure is the one to tell
        throw error;
      }
    }
    const ended = await live.end(summary?.endedBy ?? "stopped", null);
    // A run that was cut off after its last step has none to do, and no loss of its own.
    return summary
      ? { ...summary, finalLoss: ended.finalLoss ?? summary.finalLoss }
      : summaryOf(ended);
  }

  /** Trains; where the GPU is lost, goes on from the last checkpoint. */
  async #trainSteadily(record: RunRecord, live: LiveRun): Promise<RunSummary> {
    const folder = await runFolder(record.id);
    const request = {
      config: record.config,
      model: await modelFolder(record.modelId),
      data: await dataSources(record.dataIds),
      workDir: await workFolder(record.id),
      ...(record.parent && { loadFrom: startFolder(folder) }),
      signal: live.signal,
      pausing: live.gate,
      onEvent: (event: Parameters<LiveRun["take"]>[0]) => live.take(event),
    };
    let resume = record.status === "new" ? {} : { resume: "last-or-new" };
    let attempts = 0;
    let saved = live.saved;
    for (;;) {
      try {
        return await this.#engine.train({ ...request, ...resume });
      } catch (error) {
        if (!isDeviceLost(error) || live.signal.aborted) throw error;
        if (live.saved > saved) attempts = 0;
        if (attempts === MOST_RECOVERIES) throw error;
        attempts++;
        ({ saved } = live);
        resume = { resume: "last-or-new" };
        live.recover(attempts, messageOf(error).split("\n")[0] ?? "");
      }
    }
  }

  /** Holds the lock of all tabs, or refuses with the name of the run that has it. */
  async #alone<T>(id: string | undefined, action: () => Promise<T>): Promise<T> {
    const release =
      (await takeLock(RUN_LOCK, { ifAvailable: true })) ?? (await this.#waitForReload(id));
    if (!release) throw await this.#explainBusy(await otherRun());
    const done = action().finally(release);
    this.#released = done.then(ignore, ignore); // a failure is told to who asked
    return done;
  }

  /** The page that was here before a reload may still hold the very run that is to go on. */
  async #waitForReload(id: string | undefined) {
    if (id === undefined || this.#live || !(await heldLocks()).has(runLock(id))) return undefined;
    const signal = AbortSignal.timeout(RELOAD_PATIENCE_MS);
    return takeLock(RUN_LOCK, { signal }).catch(() => undefined);
  }

  async #explainBusy(other: RunRecord | undefined): Promise<UserError> {
    const remedy = "Pause or stop it first, or wait until it ends.";
    if (this.#live) return new UserError(`The GPU is busy with "${this.#live.name}".`, remedy);
    if (this.#isMeasuring) {
      return new UserError("The GPU is busy with a measurement.", "Wait until it ends.");
    }
    const what = other ? `"${other.name}"` : "a measurement";
    return new UserError(
      `The GPU is busy with ${what} in another tab.`,
      "Go to that tab and stop it there, or wait until it ends.",
    );
  }
}

function ignore(): void {}

/** The run that a tab holds the lock for. */
async function otherRun(): Promise<RunRecord | undefined> {
  const prefix = runLock("");
  for (const name of await heldLocks()) {
    if (!name.startsWith(prefix)) continue;
    const record = await readRun(name.slice(prefix.length)).catch(() => undefined);
    if (record) return record;
  }
  return undefined;
}

/** Of a run that was stopped before it had anything to save. */
function summaryOf({ step, steps, finalLoss, checkpoint }: RunRecord): RunSummary {
  return {
    endedBy: "stopped",
    step,
    steps,
    finalLoss: finalLoss ?? Number.NaN,
    skipped: 0,
    checkpoint: checkpoint ?? "",
    seconds: 0,
    timeToFirstStepSeconds: Number.NaN,
    peakGpuBytes: 0,
  };
}
