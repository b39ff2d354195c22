// Whether the browser's storage has room, looked at before anything large is written.
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";

/** Refuses what will not fit. A browser that tells no numbers is believed to have room. */
export async function refuseNoRoom(what: string, bytes: number): Promise<void> {
  // Undefined on pages without a secure context, which the storage itself tells in words.
  const storage = navigator.storage as StorageManager | undefined;
  const { usage, quota } = (await storage?.estimate()) ?? {};
  if (usage === undefined || quota === undefined || bytes <= quota - usage) return;
  throw new UserError(
    `${what} needs ${formatBytes(bytes)}; the browser allows this site ${formatBytes(quota)}, of which ${formatBytes(usage)} are used.`,
    "Delete models, runs or exports that are no longer needed, or save into a folder of your own.",
  );
}
