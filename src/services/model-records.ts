// The records of stored models: hone.json beside the files of each.
//
// A record is there before the first file and says whether all are. Of what was begun and not completed, a
// download goes on later; everything else is removed at the next look.
import type { Folder } from "../base/folder.ts";
import { isJsonObject } from "../formats/json.ts";
import type { ModelOrigin, StoredModel } from "./api.ts";
import { modelLock, takeLock } from "./locks.ts";
import {
  entryFolder,
  entryIds,
  MODEL_FILES,
  MODEL_RECORD,
  readRecord,
  shelfFolder,
  writeRecord,
} from "./storage.ts";

/** Where files grow that are not complete. */
export const MODEL_PARTIAL = "partial";

export interface ModelRecord extends Omit<StoredModel, "partialBytes"> {
  readonly isComplete: boolean;
  /** For one of the hub: how to ask for it again, "org/name@commit/path". */
  readonly reference?: string;
  /** For the page's own: of which files it is made. */
  readonly checksum?: string;
}

export async function readModelRecord(id: string): Promise<ModelRecord | undefined> {
  const json = await readRecord(await entryFolder("models", id), MODEL_RECORD);
  return isRecord(json, id) ? json : undefined;
}

export async function writeModelRecord(record: ModelRecord): Promise<void> {
  await writeRecord(await entryFolder("models", record.id), MODEL_RECORD, record);
}

/** All models, newest use first, as the page sees them. Removes what a closed tab left half copied. */
export async function listModelRecords(): Promise<StoredModel[]> {
  const models: StoredModel[] = [];
  for (const id of await entryIds("models")) {
    const record = await readModelRecord(id);
    if (record && isKept(record)) models.push(await describe(record));
    else await removeIfFree(id, isNobodys);
  }
  return models.toSorted((a, b) => (a.usedAt < b.usedAt ? 1 : -1));
}

function isKept({ isComplete, origin }: ModelRecord): boolean {
  return isComplete || origin.kind === "hub";
}

/** Left half copied. A record of a form that this version does not know is not ours to remove. */
async function isNobodys(id: string): Promise<boolean> {
  const record = await readModelRecord(id);
  if (record) return !isKept(record);
  return (await (await entryFolder("models", id)).size(MODEL_RECORD)) === undefined;
}

/** A record as the page sees it. */
export async function describe(record: ModelRecord): Promise<StoredModel> {
  const { isComplete, reference: _, checksum: __, ...model } = record;
  if (isComplete) return model;
  return { ...model, partialBytes: await presentBytes(await entryFolder("models", record.id)) };
}

/** Bytes of an entry's files that are here, complete or growing. */
export async function presentBytes(entry: Folder): Promise<number> {
  let bytes = 0;
  for (const part of [MODEL_FILES, MODEL_PARTIAL]) {
    const folder = entry.folder(part);
    for (const name of await folder.list()) {
      if (!name.endsWith(".state")) bytes += (await folder.size(name)) ?? 0;
    }
  }
  return bytes;
}

/** Removes an entry unless somebody works on it; whether it is gone. What was known of it before may be old. */
export async function removeIfFree(
  id: string,
  isToGo: (id: string) => Promise<boolean> = async () => true,
): Promise<boolean> {
  const release = await takeLock(modelLock(id), { ifAvailable: true });
  if (!release) return false;
  try {
    if (!(await isToGo(id))) return false;
    await removeModel(id);
    return true;
  } finally {
    release();
  }
}

/** The record goes first: what is left of files without one is nobody's. */
export async function removeModel(id: string): Promise<void> {
  await (await entryFolder("models", id)).remove(MODEL_RECORD);
  await (await shelfFolder("models")).remove(id);
}

function isRecord(json: unknown, id: string): json is ModelRecord {
  if (!isJsonObject(json)) return false;
  const { kind, name, origin, bytes, addedAt, usedAt, isComplete } = json;
  return (
    json["id"] === id &&
    (kind === "model" || kind === "adapter") &&
    [name, addedAt, usedAt].every((text) => typeof text === "string") &&
    typeof bytes === "number" &&
    typeof isComplete === "boolean" &&
    isOrigin(origin)
  );
}

function isOrigin(json: unknown): json is ModelOrigin {
  if (!isJsonObject(json)) return false;
  const { kind } = json;
  if (kind !== "hub") return kind === "embedded" || kind === "local";
  return [json["repo"], json["revision"], json["commit"]].every((text) => typeof text === "string");
}
