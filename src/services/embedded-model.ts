// Seedling, the model that comes with the page: into storage at the first visit, and again when it changed.
import { messageOf, UserError } from "../base/error.ts";
import { isJsonObject } from "../formats/json.ts";
import { get, type HttpOptions, readAll } from "../hosts/http.ts";
import type { HubFile } from "../hosts/hub.ts";
import type { Progress, StoredModel } from "./api.ts";
import { fetchFiles, totalOf } from "./fetch-files.ts";
import { modelLock, withLock } from "./locks.ts";
import { readModelFacts } from "./model-facts.ts";
import { describe, readModelRecord, removeModel, writeModelRecord } from "./model-records.ts";
import { refuseNoRoom } from "./room.ts";
import { entryFolder, MODEL_FILES } from "./storage.ts";

const EMBEDDED_ID = "seedling";
const NAME = "Seedling";
const LIST = "files.json";
const LIST_LIMIT_BYTES = 1 << 16;

export async function addEmbeddedModel(
  pageUrl: string,
  onProgress: Progress,
): Promise<StoredModel> {
  const baseUrl = `${pageUrl}models/${EMBEDDED_ID}/`;
  const record = await readModelRecord(EMBEDDED_ID);
  let files: readonly HubFile[];
  try {
    files = await readList(baseUrl);
  } catch (error) {
    if (record?.isComplete) return describe(record); // offline, it is still here
    throw error;
  }
  const isSame = record?.isComplete === true && record.checksum === checksumOf(files);
  if (isSame) return describe(record);
  return withLock(modelLock(EMBEDDED_ID), () => copy(baseUrl, files, onProgress));
}

async function copy(
  baseUrl: string,
  files: readonly HubFile[],
  onProgress: Progress,
): Promise<StoredModel> {
  const bytes = totalOf(files);
  await refuseNoRoom(NAME, bytes);
  await removeModel(EMBEDDED_ID);
  const now = new Date().toISOString();
  const record = {
    id: EMBEDDED_ID,
    kind: "model",
    name: NAME,
    origin: { kind: "embedded" },
    bytes,
    addedAt: now,
    usedAt: now,
    isComplete: false,
    checksum: checksumOf(files),
  } as const;
  await writeModelRecord(record);
  const entry = await entryFolder("models", EMBEDDED_ID);
  await fetchFiles(entry, baseUrl, files, { onProgress });
  const facts = await readModelFacts(entry.folder(MODEL_FILES));
  await writeModelRecord({ ...record, facts, isComplete: true });
  return describe({ ...record, facts, isComplete: true });
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
