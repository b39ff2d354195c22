// A model or adapter from the person's own disk into storage. It is read through before a byte is copied, so
// what is refused leaves nothing behind.
import type { Folder } from "../base/folder.ts";
import type { LocalFile, Progress, StoredModel } from "./api.ts";
import { EMBEDDED_ID } from "./embedded-model.ts";
import { totalOf } from "./fetch-files.ts";
import { chooseLocalFiles } from "./local-files.ts";
import { modelLock, withLock } from "./locks.ts";
import { examine } from "./model-facts.ts";
import { describe, type ModelRecord, removeModel, writeModelRecord } from "./model-records.ts";
import { refuseNoRoom } from "./room.ts";
import { entryFolder, entryIds, makeId, MODEL_FILES } from "./storage.ts";

const NAME_CHARACTERS = 120;

export async function addLocalModel(
  name: string,
  files: readonly LocalFile[],
  onProgress: Progress,
): Promise<StoredModel> {
  const shownName = name.trim().slice(0, NAME_CHARACTERS) || "Untitled";
  const { kind, folder, names } = chooseLocalFiles(shownName, files);
  const sizes = await Promise.all(names.map(async (file) => (await folder.size(file)) ?? 0));
  const bytes = totalOf(sizes.map((size) => ({ bytes: size })));
  const known = await examine(kind, folder);
  await refuseNoRoom(shownName, bytes);
  // One at a time, so that no two take one id.
  return withLock("hone-add-model", async () => {
    const now = new Date().toISOString();
    const record: ModelRecord = {
      id: makeId(shownName, [...(await entryIds("models")), EMBEDDED_ID]),
      kind,
      name: shownName,
      origin: { kind: "local" },
      bytes,
      addedAt: now,
      usedAt: now,
      isComplete: false,
      ...known,
    };
    return withLock(modelLock(record.id), () => copy(record, folder, names, onProgress));
  });
}

async function copy(
  record: ModelRecord,
  from: Folder,
  names: readonly string[],
  onProgress: Progress,
): Promise<StoredModel> {
  let copied = 0;
  async function* counted(name: string): AsyncGenerator<Uint8Array> {
    for await (const chunk of from.stream(name)) {
      yield chunk;
      copied += chunk.length;
      onProgress(copied, record.bytes);
    }
  }
  try {
    await writeModelRecord(record);
    const entry = await entryFolder("models", record.id);
    for (const name of names) await entry.write(`${MODEL_FILES}/${name}`, counted(name));
    const complete = { ...record, isComplete: true };
    await writeModelRecord(complete);
    return await describe(complete);
  } catch (error) {
    await removeModel(record.id).catch(() => {}); // the next look at the list tries again
    throw error;
  }
}
