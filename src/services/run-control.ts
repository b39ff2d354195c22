// Starting, pausing and ending runs: one at a time in all tabs.
import { messageOf, UserError } from "../base/error.ts";
import type { Engine, RunSummary } from "../engine.ts";
import type { RunRecord } from "./api.ts";
import { isAborted, isDeviceLost } from "./faults.ts";
import { LiveRun, type OnEvents } from "./live-run.ts";
import {
  heldLocks,
  MERGE_LOCK,
  type Release,
  RUN_LOCK,
  runLock,
  takeLock,
  withData,
  withModel,
} from "./locks.ts";
import { noteUse } from "./model-use.ts";
import { findProgress } from "./run-record.ts";
import { trainSteadily } from "./run-recovery.ts";
import { changeRun, readRun, workFolder } from "./run-store.ts";

/** How long the worker of a page that was just reloaded may take to let go of its run. */
const RELOAD_PATIENCE_MS = 2000;

export class RunControl {
  readonly #engine: Engine;
  /** Takes the GPU from whoever else has it in this tab. */
  readonly #freeGpu: () => Promise<void>;
  /** Runs that are asked for, those too that still wait for their locks. */
  readonly #asked = new Set<LiveRun>();
  #live: LiveRun | undefined;
  #isMeasuring = false;
  /** The measurement has closed the chat, and a new one may wait for it. */
  #measuresAlone = false;
  /** Settles when this tab has let go of the lock of all tabs. */
  #released: Promise<void> = Promise.resolve();

  constructor(engine: Engine, freeGpu: () => Promise<void>) {
    this.#engine = engine;
    this.#freeGpu = freeGpu;
  }

  /** The run under way in this tab, paused ones too. */
  get live(): Pick<LiveRun, "id" | "status" | "step" | "steps" | "written"> | undefined {
    return this.#live?.hasBegun ? this.#live : undefined;
  }

  /** Runs to the end, or until it is stopped. Whatever ends it, its record says so before this settles. */
  async start(id: string, onEvents: OnEvents): Promise<RunSummary> {
    const live = new LiveRun(id, onEvents);
    this.#asked.add(live);
    try {
      if (this.#isMeasuring) await Promise.race([this.#released, whenAborted(live.signal)]);
      if (live.signal.aborted) return summaryOf(await readRun(id));
      return await this.#alone(live, () => this.#hold(live));
    } finally {
      this.#asked.delete(live);
      live.close();
    }
  }

  /** Resolves when the run has saved and waits, or has ended before. */
  async pause(): Promise<void> {
    await this.#current?.pause();
  }

  async resume(): Promise<void> {
    await this.#current?.goOn(async () => {
      await refuseMerge();
      await this.#freeGpu();
    });
  }

  /** Resolves when the run has ended. */
  async stop(): Promise<void> {
    const live = this.#current;
    live?.stop();
    await live?.closed;
  }

  /** Does something that needs the whole GPU, while no tab trains. */
  async measure<T>(action: () => Promise<T>): Promise<T> {
    return this.#alone(undefined, async () => {
      this.#isMeasuring = true;
      try {
        await refuseMerge();
        await this.#freeGpu();
        this.#measuresAlone = true; // not before: the chat that is being closed must not wait for it
        return await action();
      } finally {
        this.#isMeasuring = false;
        this.#measuresAlone = false;
      }
    });
  }

  /** Merges weights, which no run may begin or go on beside. A paused run lends the GPU. */
  async merge<T>(action: () => Promise<T>): Promise<T> {
    const release = await takeLock(MERGE_LOCK, { ifAvailable: true });
    if (!release) throw explainMerge();
    try {
      await this.refuseBusy();
      return await action();
    } finally {
      release();
    }
  }

  /** Refuses what would take the GPU from a run. A paused run lends it; a measurement of this tab is short. */
  async refuseBusy(): Promise<void> {
    if (this.#measuresAlone) await this.#released;
    if (this.#live?.lendsGpu) return;
    if (!this.#live && !(await heldLocks()).has(RUN_LOCK)) return;
    const other = this.#live ? undefined : await otherRun();
    if (other?.status !== "paused") throw await this.#explainBusy(other);
  }

  get #current(): LiveRun | undefined {
    return this.#live ?? [...this.#asked][0];
  }

  async #hold(live: LiveRun): Promise<RunSummary> {
    let release: Release | undefined;
    this.#live = live;
    try {
      await refuseMerge();
      release = await takeLock(runLock(live.id), { ifAvailable: true });
      if (!release) throw new UserError("This run is being deleted.", "Choose another one.");
      return await this.#run(live);
    } finally {
      this.#live = undefined;
      release?.();
    }
  }

  async #run(live: LiveRun): Promise<RunSummary> {
    const record = await readRun(live.id);
    if (record.status === "finished") {
      throw new UserError(
        `"${record.name}" has done all its ${record.steps} steps.`,
        "Make a copy of it to train further.",
      );
    }
    const start = { ...(await findProgress(await workFolder(record.id))), error: null };
    await changeRun(record.id, start);
    live.begin({ ...record, ...start });
    let summary: RunSummary | undefined;
    try {
      await this.#freeGpu();
      const { signal } = live;
      const train = async () => {
        await noteUse(record.modelId);
        return trainSteadily(this.#engine, record, live);
      };
      const keepingData = () => withData(record.dataIds, train, { signal });
      summary = await withModel(record.modelId, keepingData, { signal });
    } catch (error) {
      // Stopped where there was nothing to save, or where the GPU could save nothing any more.
      const isStopped = live.signal.aborted && (isAborted(error) || isDeviceLost(error));
      if (!isStopped) {
        await live.end("failed", messageOf(error));
        throw error;
      }
    }
    const ended = (await live.end(summary?.endedBy ?? "stopped", null)) ?? record;
    // A run that was cut off after its last step has none to do, and no loss of its own.
    return summary
      ? { ...summary, finalLoss: ended.finalLoss ?? summary.finalLoss }
      : summaryOf(ended);
  }

  /** Holds the lock of all tabs, or refuses with the name of the run that has it. */
  async #alone<T>(live: LiveRun | undefined, action: () => Promise<T>): Promise<T> {
    const release =
      (await takeLock(RUN_LOCK, { ifAvailable: true })) ?? (await this.#waitForReload(live?.id));
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

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve());
  });
}

async function refuseMerge(): Promise<void> {
  if ((await heldLocks()).has(MERGE_LOCK)) throw explainMerge();
}

function explainMerge(): UserError {
  return new UserError(
    "The GPU is busy with an export of merged weights, in this tab or another.",
    "Wait until it is done, or cancel it.",
  );
}

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
