// Web Locks: which tab trains, and which models are being read. The browser frees those of a closed tab.

/** Held while a run is under way in any tab. It also keeps the tab from being frozen. */
export const RUN_LOCK = "hone-run";

/** Held with RUN_LOCK, so that every tab can tell which run it is. */
export const runLock = (id: string) => `hone-run-${id}`;

/** Held for as long as a run's record is read and written again. */
export const RECORDS_LOCK = "hone-records";

/** Shared by whoever reads a model; exclusive to remove it. */
export const modelLock = (id: string) => `hone-model-${id}`;

/** Shared while an export is written; exclusive to clean up. */
export const EXPORTS_LOCK = "hone-exports";

/** Held while something is measured in a folder that is thrown away. */
export const SCRATCH_LOCK = "hone-scratch";

export type Release = () => void;

/** Takes a lock until the result is called; undefined where `ifAvailable` is set and it is taken. */
export function takeLock(name: string, options: LockOptions = {}): Promise<Release | undefined> {
  return new Promise((resolve, reject) => {
    const hold = (lock: Lock | null) =>
      new Promise<void>((release) => {
        if (lock) resolve(release);
        else {
          resolve(undefined);
          release();
        }
      });
    navigator.locks.request(name, options, hold).catch(reject);
  });
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
export async function withModel<T>(id: string, action: () => Promise<T>): Promise<T> {
  return id.startsWith("hub:") ? action() : withLock(modelLock(id), action, { mode: "shared" });
}

/** Names of the locks that are held now, by any tab. */
export async function heldLocks(): Promise<ReadonlySet<string>> {
  const { held = [] } = await navigator.locks.query();
  return new Set(held.flatMap(({ name }) => (name === undefined ? [] : [name])));
}
