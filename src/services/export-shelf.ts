// Exports in the browser's storage: each belongs to the tab that made it, and goes with it.
//
//   exports/<id>/{files/…, zip/…}
//
// A tab holds the lock of every export it has made. Nobody can reach one whose lock is free: it is removed
// at the next start. What was handed to the page may still be on its way to the person's disk for a while.
import type { Folder } from "../base/folder.ts";
import { exportLock, type Release, takeLock, takeLocks } from "./locks.ts";
import { refuseNoRoom } from "./room.ts";
import { checkId, entryIds, exportFolder, makeUniqueId, shelfFolder } from "./storage.ts";

/** Longer than a browser takes to copy what it was handed. */
const SAVING_MS = 10 * 60_000;

export class ExportShelf {
  readonly #releases = new Map<string, Release>();
  /** Until when files that were handed out are kept, as performance.now() tells. */
  readonly #keptUntil = new Map<string, number>();
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();

  /** A folder for a new export, which stays until it is removed or this tab is gone. */
  async make(name: string): Promise<{ id: string; folder: Folder }> {
    const id = makeUniqueId(name);
    this.#releases.set(id, await takeLocks([exportLock(id)]));
    return { id, folder: await exportFolder(id) };
  }

  /** Notes that the browser may be reading its files for a while. */
  handOut(id: string): void {
    this.#keptUntil.set(id, performance.now() + SAVING_MS);
  }

  /** Now, or when what was handed out must have been saved. */
  async remove(id: string): Promise<void> {
    checkId(id);
    const waitMs = (this.#keptUntil.get(id) ?? 0) - performance.now();
    if (waitMs <= 0) return this.#removeNow(id);
    if (this.#leaving.has(id)) return undefined;
    // One that cannot be removed then is removed at the next start.
    const timer = setTimeout(() => void this.#removeNow(id).catch(() => {}), waitMs);
    this.#leaving.set(id, timer);
    return undefined;
  }

  /** Refuses what will not fit, after all is removed that was to be removed later. */
  async makeRoom(what: string, bytes: number): Promise<void> {
    try {
      await refuseNoRoom(what, bytes);
    } catch (error) {
      if (this.#leaving.size === 0) throw error;
      for (const id of this.#leaving.keys()) await this.#removeNow(id);
      await refuseNoRoom(what, bytes);
    }
  }

  /** Removes exports of tabs that are gone. */
  async clean(): Promise<void> {
    for (const id of await entryIds("exports")) {
      const release = await takeLock(exportLock(id), { ifAvailable: true });
      if (!release) continue;
      try {
        await (await shelfFolder("exports")).remove(id);
      } finally {
        release();
      }
    }
  }

  async #removeNow(id: string): Promise<void> {
    clearTimeout(this.#leaving.get(id));
    this.#leaving.delete(id);
    this.#keptUntil.delete(id);
    await (await shelfFolder("exports")).remove(id);
    this.#releases.get(id)?.();
    this.#releases.delete(id);
  }
}
