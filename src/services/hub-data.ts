// A data set of the hub: which files are its split, their download, and their rows on the way into storage.
//
//   downloads/<id>/hub.json   what it is a download of, so that it goes on after a reload
//                  partial/   files that grow; files/ those that are whole
//
// It goes when its rows are in storage. As with models, the hub is asked again whatever the page hands back.
import { AbortedError, messageOf, UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { readCardConfigs } from "../config/data-card.ts";
import { isJsonObject } from "../formats/json.ts";
import { httpFolder } from "../hosts/http-folder.ts";
import { type HttpOptions, NetworkError, ServerRefusal } from "../hosts/http.ts";
import type { DataChoice } from "../hosts/hub-data-files.ts";
import { findSplit } from "../hosts/hub-data-split.ts";
import {
  formatHubReference,
  type HubReference,
  parseHubReference,
} from "../hosts/hub-reference.ts";
import { filesUrl, type HubFile, type HubRepo, listRepo } from "../hosts/hub.ts";
import { opfsFile } from "../hosts/opfs.ts";
import type { DataDownload, HubData, Progress, StoredData } from "./api.ts";
import { broadcast } from "./broadcast.ts";
import { importFiles } from "./data-import.ts";
import { fetchFiles, totalOf } from "./fetch-files.ts";
import { takeLock } from "./locks.ts";
import { MODEL_PARTIAL, presentBytes } from "./model-records.ts";
import { refuseNoRoom } from "./room.ts";
import {
  entryFolder,
  entryIds,
  MODEL_FILES,
  readRecord,
  shelfFolder,
  slugOf,
  writeRecord,
} from "./storage.ts";

const RECORD = "hub.json";
/** Nobody waits a minute to be told that the network is down. */
const LOOK: HttpOptions = { tries: 4 };

interface FoundData {
  /** Of the branch that the files are on. */
  readonly repo: HubRepo;
  readonly choice: DataChoice<HubFile>;
  /** How to ask for the same again: at the commit that was looked at. */
  readonly reference: string;
}

/** What is known of a split before its download; `text` may also be the id of a download that was begun. */
export async function resolveHubData(
  text: string,
  split: string,
  hubUrl: string,
): Promise<HubData> {
  const begun = await readDownload(text.trim());
  const wanted = begun ?? { reference: text, split };
  const reference = parseHubReference(wanted.reference, hubUrl, "dataset");
  const known = {
    reference: formatHubReference(reference),
    split: reference.split ?? wanted.split,
  };
  try {
    const found = await findData(reference, known.split, hubUrl, {});
    const { repo, choice } = found;
    const id = await idOf(found);
    return {
      id,
      repo: repo.repo,
      revision: repo.revision,
      commit: repo.commit,
      reference: found.reference,
      split: known.split,
      ...(choice.config !== undefined && { config: choice.config }),
      reason: choice.reason,
      files: choice.files.map(({ name, bytes }) => ({ name, bytes })),
      totalBytes: totalOf(choice.files),
      partialBytes: await presentBytes(await entryFolder("downloads", id)),
    };
  } catch (error) {
    if (!(error instanceof UserError) || error instanceof NetworkError) throw error;
    if (error instanceof ServerRefusal) throw error;
    const { repo, revision } = reference;
    const nothing = { id: "", commit: "", files: [], totalBytes: 0, partialBytes: 0 };
    return { ...nothing, reason: "names", ...known, repo, revision, refusal: messageOf(error) };
  }
}

async function findData(
  reference: HubReference,
  split: string,
  hubUrl: string,
  options: HttpOptions,
): Promise<FoundData> {
  const look = { ...LOOK, ...options };
  const { named, held, choice } = await findSplit<{ readonly repo: HubRepo }>(reference, split, {
    async list(wanted) {
      const repo = await listRepo(hubUrl, wanted, look);
      refuseGated(repo, hubUrl);
      return { repo };
    },
    async readCard({ repo }, card) {
      const folder = httpFolder(filesUrl(hubUrl, repo), [card], { ...look, path: repo.repo });
      return readCardConfigs(await folder.readText(card.name));
    },
  });
  const { repo, commit } = named.repo;
  const pinned = formatHubReference({ repo, revision: commit, path: reference.path });
  return { repo: held.repo, choice, reference: pinned };
}

function refuseGated({ repo, isGated }: HubRepo, hubUrl: string): void {
  if (!isGated) return;
  throw new UserError(
    `${repo} is gated: ${new URL(hubUrl).host} gives its files only to those who have accepted its terms and are signed in.`,
    "Accept the terms there, download the file, and drop it here; or choose an open data set.",
  );
}

/** One id for the same files, so that a download that was begun is found again. */
async function idOf({ repo, choice }: FoundData): Promise<string> {
  const sums = choice.files.map(({ name, sha256, gitOid }) => [name, sha256 ?? gitOid]);
  const bytes = new TextEncoder().encode(JSON.stringify([repo.repo, repo.commit, sums]));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hex = [...digest.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${slugOf(repo.repo)}-${hex.join("")}`;
}

interface Options {
  readonly hubUrl: string;
  readonly signal: AbortSignal;
  readonly onProgress: Progress;
}

/** Downloads what is missing of the files, and takes their rows in. */
export async function downloadHubData(
  { reference, split }: Pick<HubData, "reference" | "split">,
  { hubUrl, signal, onProgress }: Options,
): Promise<StoredData> {
  const parsed = parseHubReference(reference, hubUrl, "dataset");
  const found = await findData(parsed, split, hubUrl, { signal });
  const id = await idOf(found);
  const name = nameOf(found);
  const release = await takeLock(downloadLock(id), { ifAvailable: true });
  if (!release) {
    throw new UserError(
      `${name} is being downloaded already, here or in another tab.`,
      "Wait for that download, or cancel it where it runs.",
    );
  }
  try {
    const entry = await entryFolder("downloads", id);
    const totalBytes = totalOf(found.choice.files);
    await refuseNoRoom(name, totalBytes - (await presentBytes(entry)));
    await writeRecord(entry, RECORD, { id, name, reference: found.reference, split, totalBytes });
    tellChanged();
    await fetchFiles(entry, filesUrl(hubUrl, found.repo), found.choice.files, {
      signal,
      onProgress,
      storedAs: flat,
    });
    return await takeIn(entry, id, name, found.choice.files);
  } finally {
    release();
    tellChanged();
  }
}

/** Puts the rows into storage. Files that nothing can be made of are of no use; after a canceling they stay. */
async function takeIn(
  entry: Folder,
  id: string,
  name: string,
  files: readonly HubFile[],
): Promise<StoredData> {
  const whole = entry.folder(MODEL_FILES);
  const opened = await Promise.all(
    files.map(async (file) => ({ name: file.name, file: await opfsFile(whole, flat(file.name)) })),
  );
  try {
    const stored = await importFiles(name, opened, () => {});
    await removeEntry(id);
    return stored;
  } catch (error) {
    const isKept = error instanceof AbortedError || !(error instanceof UserError);
    if (!isKept && !(error.cause instanceof DOMException)) await removeEntry(id);
    throw error;
  }
}

/** Of "data/train-0.parquet" one name: files here lie side by side. */
function flat(name: string): string {
  return name.replaceAll("~", "~~").replaceAll("/", "~-");
}

/** "org/name (zh, train)". */
function nameOf({ repo, choice: { config, split, files } }: FoundData): string {
  const [first] = files;
  const parts = split === undefined ? [first?.name ?? ""] : [config, split].filter(Boolean);
  return `${repo.repo} (${parts.join(", ")})`;
}

/** Downloads that were begun, by any tab. */
export async function listDataDownloads(): Promise<readonly DataDownload[]> {
  const all: DataDownload[] = [];
  for (const id of await entryIds("downloads")) {
    const known = await readDownload(id);
    if (!known) continue;
    const partialBytes = await presentBytes(await entryFolder("downloads", id));
    all.push({ id, name: known.name, totalBytes: known.totalBytes, partialBytes });
  }
  return all;
}

export async function deleteDataDownload(id: string): Promise<void> {
  const release = await takeLock(downloadLock(id), { ifAvailable: true });
  if (!release) {
    throw new UserError(
      "It is being downloaded, here or in another tab.",
      "Stop the download first.",
    );
  }
  try {
    await removeEntry(id);
  } finally {
    release();
    tellChanged();
  }
}

interface Begun extends Omit<DataDownload, "partialBytes"> {
  readonly reference: string;
  readonly split: string;
}

async function readDownload(id: string): Promise<Begun | undefined> {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(id)) return undefined;
  const json = await readRecord(await entryFolder("downloads", id), RECORD);
  if (!isJsonObject(json) || json["id"] !== id) return undefined;
  const { name, reference, split, totalBytes } = json;
  const isWhole =
    [name, reference, split].every((text) => typeof text === "string") &&
    typeof totalBytes === "number";
  return isWhole ? (json as unknown as Begun) : undefined;
}

/** The record goes first: what is left of files without one is nobody's. */
async function removeEntry(id: string): Promise<void> {
  const entry = await entryFolder("downloads", id);
  await entry.remove(RECORD);
  for (const part of [MODEL_FILES, MODEL_PARTIAL]) await entry.remove(part);
  await (await shelfFolder("downloads")).remove(id);
}

const downloadLock = (id: string) => `hone-data-download-${id}`;

function tellChanged(): void {
  broadcast({ type: "changed", what: "data" });
}
