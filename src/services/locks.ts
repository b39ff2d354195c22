// Web Locks: which tab trains, and which models and data sets are being read. The browser frees those of a closed tab.
import { AbortedError, UserError } from "../base/error.ts";

/** Held while a run is under way in any tab. It also keeps the tab from being frozen. */
export const RUN_LOCK = "hone-run";

/** Held with RUN_LOCK, so that every tab can tell which run it is. */
export const runLock = (id: string) => `hone-run-${id}`;

/** Held for as long as a run's record is read and written again. */
export const RECORDS_LOCK = "hone-records";

/** Shared by whoever reads a model; exclusive to remove it. */
export const modelLock = (id: string) => `hone-model-${id}`;

/** Shared by whoever trains on a data set; exclusive to write or remove it. */
export const dataLock = (id: string) => `hone-data-${id}`;

/** Held for as long as a data set or its record is read and written again. */
export const dataRecordLock = (id: string) => `hone-data-record-${id}`;

/** Held by the tab that made an export, for as long as the tab is there. */
export const exportLock = (id: string) => `hone-export-${id}`;

/** Held while weights are merged in any tab: that takes the GPU too, also beside a paused run. */
export const MERGE_LOCK = "hone-merge";

/** Held while something is measured in a folder that is thrown away. */
export const SCRATCH_LOCK = "hone-scratch";

export type Release = () => void;

/**
 * Takes a lock until the result is called; undefined where `ifAvailable` is set and it is taken. An aborted
 * `signal` ends the wait with an AbortedError.
 */
export async function takeLock(
  name: string,
  options: LockOptions = {},
): Promise<Release | undefined> {
  const locks = lockManager();
  return new Promise((resolve, reject) => {
    const hold = (lock: Lock | null) =>
      new Promise<void>((release) => {
        if (lock) resolve(release);
        else {
          resolve(undefined);
          release();
        }
      });
    locks.request(name, options, hold).catch((error: unknown) => {
      reject(options.signal?.aborted ? new AbortedError() : error);
    });
  });
}

/** Takes all of these locks, or none of them; the result lets all go. */
export async function takeLocks(
  names: readonly string[],
  options: LockOptions = {},
): Promise<Release> {
  const releases: Release[] = [];
  const releaseAll = () => {
    for (const release of releases.splice(0)) release();
  };
  try {
    for (const name of names) {
      const release = await takeLock(name, options);
      if (release) releases.push(release);
    }
    return releaseAll;
  } catch (error) {
    releaseAll();
    throw error;
  }
}

/** Does something under a lock, after whoever has it now. */
export async function withLock<T>(
  name: string,
  action: () => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  const release = await takeLock(name, options);
  try {
    return await action();
  } finally {
    release?.();
  }
}

/** Keeps a model from being removed. A model that is only looked at on the hub has nothing to keep. */
export async function withModel<T>(
  id: string,
  action: () => Promise<T>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<T> {
  if (id.startsWith("hub:")) return action();
  return withLock(modelLock(id), action, { mode: "shared", ...options });
}

/** Keeps data sets as they are. */
export async function withData<T>(
  ids: readonly string[],
  action: () => Promise<T>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<T> {
  const release = await takeLocks(ids.map(dataLock), { mode: "shared", ...options });
  try {
    return await action();
  } finally {
    release();
  }
}

/** Names of the locks that are held now, by any tab. */
export async function heldLocks(): Promise<ReadonlySet<string>> {
  const { held = [] } = await lockManager().query();
  return new Set(held.flatMap(({ name }) => (name === undefined ? [] : [name])));
}

function lockManager(): LockManager {
  // Undefined on pages without a secure context.
  const locks = navigator.locks as LockManager | undefined;
  if (locks) return locks;
  throw new UserError(
    "This browser gives the page no locks, so two tabs could not be kept apart.",
    "Open the page over https or from localhost, in a current Chrome, Edge, Firefox or Safari.",
  );
}
