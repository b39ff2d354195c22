// What a worker of the page finds around it, in memory: private files, locks. For tests in Node.
import { vi } from "vitest";
import { createMemoryLocks } from "./memory-locks.ts";
import { createMemoryStorage, type MemoryDisk } from "./memory-opfs.ts";

/** Puts the browser's globals in place until `vi.unstubAllGlobals()`; returns the disk behind them. */
export function stubBrowser(quotaBytes?: number): MemoryDisk {
  const { disk, storage, globals } = createMemoryStorage(quotaBytes);
  vi.stubGlobal("navigator", { storage, locks: createMemoryLocks() });
  for (const [name, value] of Object.entries(globals)) vi.stubGlobal(name, value);
  return disk;
}
