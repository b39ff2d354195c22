// When a model was last used, so that the list begins with it.
import { broadcast } from "./broadcast.ts";
import { readModelRecord, writeModelRecord } from "./model-records.ts";
import { REMOTE } from "./storage.ts";

/** To be called under the model's lock. Nothing depends on it, so a record that cannot be written stays as it is. */
export async function noteUse(id: string): Promise<void> {
  if (id.startsWith(REMOTE)) return;
  try {
    const record = await readModelRecord(id);
    if (!record?.isComplete) return;
    await writeModelRecord({ ...record, usedAt: new Date().toISOString() });
    broadcast({ type: "changed", what: "models" });
  } catch {
    // A full disk, or a record of another version.
  }
}
