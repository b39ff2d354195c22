// A model of the hub: what it is before its download, and the download into storage.
//
// Whatever the page hands back, the hub is asked again: files, sizes and checksums come from its list alone,
// at the commit that was looked at.
import { AbortedError, messageOf, UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { NetworkError, ServerRefusal } from "../hosts/http.ts";
import type { HubFile } from "../hosts/hub.ts";
import { formatHubReference, parseHubReference } from "../hosts/hub-reference.ts";
import { ADAPTER_CONFIG, baseModelOf } from "../model/files/adapter-folder.ts";
import type { HubModel, StoredModel } from "./api.ts";
import { fetchFiles, type FetchOptions, totalOf } from "./fetch-files.ts";
import {
  chooseHubFiles,
  chosenUrl,
  findModel,
  type FoundModel,
  reaching,
  remoteFolder,
  storedNames,
} from "./hub-model.ts";
import { modelLock, takeLock } from "./locks.ts";
import type { Choice } from "../hosts/hub-model-files.ts";
import { checkModel, examine, readModelFacts } from "./model-facts.ts";
import {
  describe,
  type ModelRecord,
  presentBytes,
  readModelRecord,
  removeModel,
  writeModelRecord,
} from "./model-records.ts";
import { refuseNoRoom } from "./room.ts";
import { entryFolder, MODEL_FILES, REMOTE, slugOf } from "./storage.ts";

/** What is known of a model before its download; `text` may also be the id of one that was begun. */
export async function resolveHubModel(text: string, hubUrl: string): Promise<HubModel> {
  const found = await findModel(hubUrl, parseHubReference(await referenceOf(text), hubUrl));
  const { repo } = found;
  const known = {
    repo: repo.repo,
    revision: repo.revision,
    commit: repo.commit,
    estimateId: REMOTE + pinned(found),
  };
  try {
    refuseGated(found, hubUrl);
    const choice = chooseHubFiles(found);
    const files = storedNames(choice).map(withoutOid);
    const sizes = { kind: choice.kind, files, totalBytes: totalOf(files) };
    const partialBytes = await presentBytes(await entryFolder("models", await idOf(found)));
    const facts = await lookInto(choice, remoteFolder(hubUrl, found, choice));
    return { ...known, ...sizes, partialBytes, ...facts };
  } catch (error) {
    if (!(error instanceof UserError) || error instanceof NetworkError) throw error;
    const nothing = { kind: "model", files: [], totalBytes: 0, partialBytes: 0 } as const;
    return { ...known, ...nothing, refusal: messageOf(error) };
  }
}

function withoutOid({ name, bytes, sha256 }: HubFile) {
  return { name, bytes, ...(sha256 !== undefined && { sha256 }) };
}

/** Of a download that was begun, the commit it was begun at. */
async function referenceOf(text: string): Promise<string> {
  const given = text.trim();
  if (given.startsWith(REMOTE)) return given.slice(REMOTE.length);
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(given)) return given;
  return (await readModelRecord(given))?.reference ?? given;
}

async function lookInto(
  { kind }: Choice<HubFile>,
  folder: Folder,
): Promise<Pick<HubModel, "facts" | "baseModel">> {
  if (kind === "model") return { facts: await readModelFacts(folder) };
  const place = `${folder.path}/${ADAPTER_CONFIG}`;
  const baseModel = baseModelOf(await folder.readText(ADAPTER_CONFIG), place);
  return baseModel === null ? {} : { baseModel };
}

function refuseGated({ repo: { repo, isGated } }: FoundModel, hubUrl: string): void {
  if (!isGated) return;
  const { host } = new URL(hubUrl);
  throw new UserError(
    `${repo} is gated: ${host} gives its files only to those who have accepted its terms and are signed in.`,
    "Accept the terms there, download the files, and add them here as a local folder; or choose an open model.",
  );
}

/** The reference with the commit in place of a branch. */
function pinned({ repo, path }: FoundModel): string {
  return formatHubReference({ repo: repo.repo, revision: repo.commit, path });
}

function nameOf({ repo, path }: FoundModel): string {
  return path === "" ? repo.repo : `${repo.repo}/${path}`;
}

/** One id for one reference, so that a download that was begun is found again. */
async function idOf(found: FoundModel): Promise<string> {
  const bytes = new TextEncoder().encode(pinned(found));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = [...digest.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${slugOf(nameOf(found))}-${hex.join("")}`;
}

/** Downloads what is missing of the model that was resolved. */
export async function downloadHubModel(
  { estimateId, revision }: HubModel,
  hubUrl: string,
  options: FetchOptions,
): Promise<StoredModel> {
  const reference = parseHubReference(estimateId.slice(REMOTE.length), hubUrl);
  const found = await findModel(hubUrl, reference, { signal: options.signal });
  refuseGated(found, hubUrl);
  const id = await idOf(found);
  const locks = [`hone-download-${found.repo.repo}`, modelLock(id)];
  return whileHolding(locks, nameOf(found), async () => {
    const record = await readModelRecord(id);
    if (record?.isComplete) return describe(record);
    return fetchModel({ id, found, choice: chooseHubFiles(found), revision, hubUrl }, options);
  });
}

async function whileHolding<T>(
  locks: readonly string[],
  name: string,
  action: () => Promise<T>,
): Promise<T> {
  const [first, ...others] = locks;
  if (first === undefined) return action();
  const release = await takeLock(first, { ifAvailable: true });
  if (!release) {
    throw new UserError(
      `${name} is being downloaded already, here or in another tab.`,
      "Wait for that download, or cancel it where it runs.",
    );
  }
  try {
    return await whileHolding(others, name, action);
  } finally {
    release();
  }
}

interface Wanted {
  readonly id: string;
  readonly found: FoundModel;
  readonly choice: Choice<HubFile>;
  /** What the person named: a branch, mostly. For show. */
  readonly revision: string;
  readonly hubUrl: string;
}

async function fetchModel(wanted: Wanted, options: FetchOptions): Promise<StoredModel> {
  const { id, found, choice, revision } = wanted;
  const entry = await entryFolder("models", id);
  // The small ones first: they decide whether the large ones are of any use.
  const files = storedNames(choice).toSorted((a, b) => a.bytes - b.bytes);
  const bytes = totalOf(files);
  await refuseNoRoom(nameOf(found), bytes - (await presentBytes(entry)));
  const now = new Date().toISOString();
  const { repo, commit } = found.repo;
  const begun = await readModelRecord(id);
  const record: ModelRecord = {
    id,
    kind: choice.kind,
    name: nameOf(found),
    origin: { kind: "hub", repo, revision, commit },
    bytes,
    addedAt: begun?.addedAt ?? now,
    usedAt: now,
    isComplete: false,
    reference: pinned(found),
  };
  await writeModelRecord(record);
  await fetchChosen(wanted, entry, files, options);
  const known = await orRemove(id, () => examine(choice.kind, entry.folder(MODEL_FILES)));
  const complete = { ...record, ...known, isComplete: true };
  await writeModelRecord(complete);
  return describe(complete);
}

const isWeight = ({ name }: HubFile) => /\.(safetensors|bin|gguf)$/i.test(name);

async function fetchChosen(
  { id, found, choice, hubUrl }: Wanted,
  entry: Folder,
  files: readonly HubFile[],
  options: FetchOptions,
): Promise<void> {
  const baseUrl = chosenUrl(hubUrl, found, choice);
  const small = files.filter((file) => !isWeight(file));
  const weights = files.filter(isWeight);
  const totalBytes = totalOf(files);
  const counting = (before: number): FetchOptions => ({
    ...reaching(hubUrl, found, options),
    onProgress: (bytes) => options.onProgress(before + bytes, totalBytes),
  });
  await fetchFiles(entry, baseUrl, small, counting(0));
  if (choice.kind === "model" && small.length > 0) {
    // Its tokenizer is here now, and its weights' headers are not far.
    const remote = remoteFolder(hubUrl, found, choice, { signal: options.signal });
    await orRemove(id, () => checkModel(overlay(entry.folder(MODEL_FILES), remote)));
  }
  await fetchFiles(entry, baseUrl, weights, counting(totalOf(small)));
}

/** A folder whose files are read from `here`, where they are here. */
function overlay(here: Folder, there: Folder): Folder {
  const whereOf = async (name: string) => ((await here.size(name)) === undefined ? there : here);
  return {
    ...there,
    read: async (name, start, end) => (await whereOf(name)).read(name, start, end),
    readText: async (name) => (await whereOf(name)).readText(name),
    async *stream(name) {
      yield* (await whereOf(name)).stream(name);
    },
  };
}

/** Bytes that the engine refuses are of no use; what a network or a disk stops goes on later. */
async function orRemove<T>(id: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UserError && !isOfReading(error)) await removeModel(id);
    throw error;
  }
}

/** Whether a failure says nothing of the bytes, only that they did not come or could not be read now. */
function isOfReading(error: UserError): boolean {
  const kinds = [NetworkError, ServerRefusal, AbortedError];
  return kinds.some((kind) => error instanceof kind) || error.cause instanceof DOMException;
}
