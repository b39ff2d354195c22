// What the browser lets this origin keep, for the Check screen.
import { openOpfs } from "../hosts/opfs.ts";
import type { StorageReport } from "./api.ts";

export async function reportStorage(): Promise<StorageReport> {
  const { usage = 0, quota = 0 } = await estimate();
  const hasOpfs = await openOpfs().then(
    () => true,
    () => false,
  );
  const isPersistent = hasOpfs && (await navigator.storage.persisted());
  return { usedBytes: usage, quotaBytes: quota, isPersistent, hasOpfs };
}

/** Asks where a worker may ask; most browsers let the page alone, so it asks too. */
export async function persistStorage(): Promise<boolean> {
  const storage = navigator.storage as StorageManager & { persist?: () => Promise<boolean> };
  return storage.persist ? storage.persist() : storage.persisted();
}

async function estimate(): Promise<StorageEstimate> {
  const storage = navigator.storage as Partial<StorageManager> | undefined;
  return (await storage?.estimate?.()) ?? {};
}
