// Seedling, the model that comes with the page: into storage at the first visit, and again when it changed.
//
// The one that is here is good until all of its successor has come: whatever fails then, it stays.
import { messageOf, UserError } from "../base/error.ts";
import { isJsonObject } from "../formats/json.ts";
import { get, type HttpOptions, readAll } from "../hosts/http.ts";
import type { HubFile } from "../hosts/hub.ts";
import type { Progress, StoredModel } from "./api.ts";
import { fetchFiles, totalOf } from "./fetch-files.ts";
import { heldLocks, modelLock, takeLock, withLock, withModel } from "./locks.ts";
import { readModelFacts } from "./model-facts.ts";
import { describe, type ModelRecord, readModelRecord, writeModelRecord } from "./model-records.ts";
import { refuseNoRoom } from "./room.ts";
import { entryFolder, MODEL_FILES, MODEL_RECORD } from "./storage.ts";

/** No other model gets this id. */
export const EMBEDDED_ID = "seedling";
const NAME = "Seedling";
const LIST = "files.json";
const LIST_LIMIT_BYTES = 1 << 16;
/** Where its successor grows, in its entry. */
const NEXT = "next";
/** Held by the one tab that copies. */
const COPY_LOCK = "hone-embedded";

export async function addEmbeddedModel(
  pageUrl: string,
  onProgress: Progress,
): Promise<StoredModel> {
  const baseUrl = `${pageUrl}models/${EMBEDDED_ID}/`;
  const record = await readOwn();
  let files: readonly HubFile[];
  try {
    files = await readList(baseUrl);
  } catch (error) {
    if (record) return describe(record); // offline, it is still here
    throw error;
  }
  if (record?.checksum === checksumOf(files)) return describe(record);
  return withLock(COPY_LOCK, () => bring(baseUrl, files, onProgress));
}

/** The record of the one that is here; undefined where none is, or not all of it. */
async function readOwn(): Promise<ModelRecord | undefined> {
  const record = await readModelRecord(EMBEDDED_ID);
  if (!record?.isComplete) return undefined;
  if (record.origin.kind === "embedded") return record;
  throw new UserError(
    `A model of yours, "${record.name}", is stored where the page's own is to be.`,
    "Delete it and add it again: it then gets a place of its own.",
  );
}

/** Copies it, or its successor: the one that is here stays until all of the other is. */
async function bring(
  baseUrl: string,
  files: readonly HubFile[],
  onProgress: Progress,
): Promise<StoredModel> {
  const old = await readOwn();
  if (old?.checksum === checksumOf(files)) return describe(old); // by another tab, meanwhile
  if (!old) {
    return withLock(modelLock(EMBEDDED_ID), async () =>
      replace(await fetchNext(baseUrl, files, onProgress)),
    );
  }
  if ((await heldLocks()).has(modelLock(EMBEDDED_ID))) return describe(old);
  try {
    const next = await withModel(EMBEDDED_ID, () => fetchNext(baseUrl, files, onProgress));
    // Whoever began to read it meanwhile keeps it; the next visit tries again.
    const release = await takeLock(modelLock(EMBEDDED_ID), { ifAvailable: true });
    if (!release) return await describe(old);
    return await replace(next).finally(release);
  } catch (error) {
    const isHere = error instanceof UserError && (await readOwn()) !== undefined;
    if (isHere) return describe(old);
    throw error;
  } finally {
    // What could not be removed goes at the next try.
    await (await entryFolder("models", EMBEDDED_ID)).remove(NEXT).catch(() => {});
  }
}

/** All files, verified, into a folder of their own. */
async function fetchNext(
  baseUrl: string,
  files: readonly HubFile[],
  onProgress: Progress,
): Promise<ModelRecord> {
  const entry = await entryFolder("models", EMBEDDED_ID);
  await entry.remove(NEXT);
  const bytes = totalOf(files);
  await refuseNoRoom(NAME, bytes);
  const next = entry.folder(NEXT);
  await fetchFiles(next, baseUrl, files, { onProgress });
  const now = new Date().toISOString();
  return {
    id: EMBEDDED_ID,
    kind: "model",
    name: NAME,
    origin: { kind: "embedded" },
    bytes,
    addedAt: now,
    usedAt: now,
    isComplete: true,
    checksum: checksumOf(files),
    facts: await readModelFacts(next.folder(MODEL_FILES)),
  };
}

/** Puts what was fetched in its place. What a closed tab leaves has no record and is fetched again. */
async function replace(record: ModelRecord): Promise<StoredModel> {
  const entry = await entryFolder("models", EMBEDDED_ID);
  await entry.remove(MODEL_RECORD);
  await entry.remove(MODEL_FILES);
  await entry.rename(`${NEXT}/${MODEL_FILES}`, MODEL_FILES);
  await writeModelRecord(record);
  await entry.remove(NEXT).catch(() => {}); // empty by now
  return describe(record);
}

function checksumOf(files: readonly HubFile[]): string {
  return files.map(({ name, sha256 }) => `${name} ${sha256}`).join(", ");
}

/** The list beside the model's files, made by scripts/list-embedded.mjs. */
async function readList(baseUrl: string): Promise<HubFile[]> {
  const place = `models/${EMBEDDED_ID}/${LIST}`;
  const options: HttpOptions = {};
  const answer = await get(baseUrl + LIST, place, options);
  const text = new TextDecoder().decode(await readAll(answer, place, LIST_LIMIT_BYTES));
  try {
    const json: unknown = JSON.parse(text);
    if (Array.isArray(json)) return json.map(parseFile);
  } catch (error) {
    throw notWhole(place, messageOf(error));
  }
  throw notWhole(place, "it is no list");
}

function parseFile(json: unknown): HubFile {
  if (isJsonObject(json)) {
    const { name, bytes, sha256 } = json;
    const isName = typeof name === "string" && /^[\w-][\w.-]*$/.test(name);
    if (isName && typeof bytes === "number" && typeof sha256 === "string") {
      return { name, bytes, sha256 };
    }
  }
  throw new Error("an entry has no name, bytes and sha256");
}

function notWhole(place: string, reason: string): UserError {
  return new UserError(
    `The page's own ${place} cannot be read: ${reason}.`,
    "Reload the page. If that does not help, whoever hosts it must upload it again.",
  );
}
