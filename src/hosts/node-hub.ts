// Repos of the hub in the cache that huggingface_hub keeps on this machine: what Python has downloaded is found
// here, and the other way round.
//
//   models--org--name/   (or datasets--org--name)
//     blobs/<checksum>           each content once, under the checksum that the hub lists
//     snapshots/<commit>/<file>  links to them; copies where there are no links
//     refs/<branch or tag>       the commit that it was
//     .hone/<commit>.json        the hub's list of files at that commit, so that it need not be asked again
//
// A file appears under its name when it is whole and its checksum right, never before.
import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  statfs,
  symlink,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import { NetworkError } from "./http.ts";
import { downloadFile } from "./hub-download.ts";
import type { HubReference } from "./hub-reference.ts";
import { fileUrl, type HubFile, type HubRepo, listRepo, parseRepo } from "./hub.ts";
import { openFolder, told } from "./node.ts";
import { diskPlace } from "./node-hub-disk.ts";
import { withFileLock } from "./node-hub-lock.ts";
import type { HubPlace } from "./node-hub-place.ts";

export interface OpenOptions {
  readonly signal?: AbortSignal | undefined;
  /** Asks the hub what the revision is now, though the cache may know what it was. */
  readonly isFresh?: boolean;
  /** Whether these files of a snapshot, of which the whole list is not known, are all that is needed. */
  readonly isEnough?: (files: readonly HubFile[]) => Promise<boolean> | boolean;
}

/** A repo at one commit, and the folder where its files are or will be. */
export interface CachedRepo {
  readonly repo: HubRepo;
  readonly folder: string;
  /** Of the cache: the hub was not asked, or could not be. */
  readonly isFromCache: boolean;
  /** Why the hub was not asked though it should have been. */
  readonly warning?: string;
}

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes that are here now, of all files asked for. */
  readonly onProgress?: (bytes: number, totalBytes: number, file: string) => void;
  readonly onWait?: (file: string) => void;
}

/** Waiting for a hub that cannot be reached is of little use where the cache knows an answer. */
const TRIES_BEFORE_CACHE = 2;
const TRIES = 4;

/** Finds out what a repo holds: by the cache where that is enough, else by the hub. */
export async function openRepo(
  place: HubPlace,
  reference: HubReference,
  options: OpenOptions = {},
): Promise<CachedRepo> {
  const cached = await findCached(place, reference);
  if (cached && !options.isFresh) {
    if (cached.isListed || (await options.isEnough?.(cached.repo.files))) return cached;
  }
  if (place.isOffline) {
    if (cached) return cached;
    throw new UserError(
      `${reference.repo} at ${reference.revision} is not in the cache ${place.cache}, and HF_HUB_OFFLINE says to ask nobody.`,
      "Download it once without HF_HUB_OFFLINE, or copy the cache from a machine that has it.",
    );
  }
  try {
    const tries = cached ? TRIES_BEFORE_CACHE : TRIES;
    const repo = await listRepo(place.hubUrl, reference, {
      ...place.http,
      tries,
      signal: options.signal,
    });
    const folder = repoFolder(place, reference);
    const lists = openFolder(folder).folder(LISTS);
    await lists.write(`${repo.commit}.json`, formatRepo(repo));
    return { repo, folder: join(folder, "snapshots", repo.commit), isFromCache: false };
  } catch (error) {
    if (!cached || !(error instanceof NetworkError)) throw error;
    const [problem = ""] = error.message.split("\n");
    return { ...cached, warning: problem };
  }
}

/** Those of the files that are not whole in the snapshot. */
export async function missingFiles(
  { folder }: CachedRepo,
  files: readonly HubFile[],
): Promise<HubFile[]> {
  const sizes = await Promise.all(files.map(({ name }) => sizeOf(join(folder, name))));
  return files.filter(({ bytes }, i) => sizes[i] !== bytes);
}

/** Bytes of these files that are yet to come: parts that were broken off are here already. */
export async function bytesToCome(cached: CachedRepo, files: readonly HubFile[]): Promise<number> {
  const blobs = join(dirname(dirname(cached.folder)), "blobs");
  let bytes = 0;
  for (const file of await missingFiles(cached, files)) {
    const whole = await sizeOf(join(blobs, blobName(file)));
    const part = await sizeOf(join(blobs, partName(file)));
    if (whole !== file.bytes) bytes += file.bytes - Math.min(part ?? 0, file.bytes);
  }
  return bytes;
}

/** Downloads what is missing of these files, verified. What is broken off goes on at the next try. */
export async function fetchFiles(
  place: HubPlace,
  cached: CachedRepo,
  files: readonly HubFile[],
  { signal, onProgress, onWait }: FetchOptions = {},
): Promise<void> {
  const missing = await missingFiles(cached, files);
  const totalBytes = missing.reduce((sum, { bytes }) => sum + bytes, 0);
  if (missing.length > 0) await refuseOfflineOrFull(place, cached, missing);
  let before = 0;
  for (const file of missing) {
    signal?.throwIfAborted();
    await fetchFile(place, cached, file, {
      signal,
      onProgress: (bytes) => onProgress?.(before + bytes, totalBytes, file.name),
      onWait: () => onWait?.(file.name),
    });
    before += file.bytes;
  }
}

/** Notes what the branch or tag was, when all that was wanted of it is here: then it is found without the hub. */
export async function noteRevision(cached: CachedRepo): Promise<void> {
  const { revision, commit } = cached.repo;
  if (cached.isFromCache || revision === commit) return;
  const folder = openFolder(dirname(dirname(cached.folder)));
  await folder.write(`refs/${revision}`, commit);
}

const LISTS = ".hone";
const COMMIT = /^[0-9a-f]{40}$/;

/** Under the name that was asked for, as huggingface_hub does, though the repo may have another one now. */
function repoFolder(place: HubPlace, { kind, repo }: Pick<HubReference, "kind" | "repo">): string {
  return join(place.cache, `${kind}s--${repo.replaceAll("/", "--")}`);
}

interface Found extends CachedRepo {
  /** Whether the list of files is the hub's, or only what lies there. */
  readonly isListed: boolean;
}

async function findCached(place: HubPlace, reference: HubReference): Promise<Found | undefined> {
  const { revision, kind, repo: name } = reference;
  const folder = repoFolder(place, reference);
  const noted = COMMIT.test(revision) ? revision : await readText(join(folder, "refs", revision));
  const commit = noted?.trim() ?? "";
  if (!COMMIT.test(commit)) return undefined;
  const snapshot = join(folder, "snapshots", commit);
  const known = await readText(join(folder, LISTS, `${commit}.json`));
  const found = { folder: snapshot, isFromCache: true };
  if (known !== undefined) {
    try {
      const repo = parseRepo(known, { kind, repo: name, revision }, snapshot);
      if (repo.commit === commit) return { ...found, repo, isListed: true };
    } catch {
      // written by another version, or cut off: what lies there is known all the same
    }
  }
  const files = await filesBelow(snapshot);
  if (files.length === 0) return undefined;
  const repo: HubRepo = { kind, repo: name, revision, commit, isGated: false, files };
  return { ...found, repo, isListed: false };
}

/** As the hub answers. */
function formatRepo({ repo, commit, isGated, files }: HubRepo): string {
  const siblings = files.map(({ name: rfilename, bytes: size, sha256, gitOid }) => ({
    rfilename,
    size,
    ...(gitOid !== undefined && { blobId: gitOid }),
    ...(sha256 !== undefined && { lfs: { sha256 } }),
  }));
  return JSON.stringify({ id: repo, sha: commit, gated: isGated, siblings });
}

/** What lies in a snapshot; of a link whose content is gone nothing. */
async function filesBelow(folder: string): Promise<HubFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files: HubFile[] = [];
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await sizeOf(path);
    if (bytes !== undefined) {
      files.push({ name: relative(folder, path).replaceAll("\\", "/"), bytes });
    }
  }
  return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, "utf8").catch(() => undefined);
}

function blobName({ sha256, gitOid, name }: HubFile): string {
  return sha256 ?? gitOid ?? `unverified-${name.replaceAll("/", "-")}`;
}

function partName(file: HubFile): string {
  return `${blobName(file)}.hone.incomplete`;
}

async function refuseOfflineOrFull(
  place: HubPlace,
  cached: CachedRepo,
  missing: readonly HubFile[],
): Promise<void> {
  const { repo, commit } = cached.repo;
  if (place.isOffline) {
    const names = missing.map(({ name }) => name);
    throw new UserError(
      `${repo} is in the cache without ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""}, and HF_HUB_OFFLINE says to ask nobody.`,
      "Download it once without HF_HUB_OFFLINE.",
    );
  }
  const bytes = await bytesToCome(cached, missing);
  await told("write", place.cache, () => mkdir(place.cache, { recursive: true }));
  const disk = await statfs(place.cache).catch(() => undefined);
  const freeBytes = disk ? disk.bavail * disk.bsize : Infinity;
  if (bytes <= freeBytes) return;
  throw new UserError(
    `${repo} (${commit.slice(0, 8)}) needs ${formatBytes(bytes)} more, and the disk of ${place.cache} has ${formatBytes(freeBytes)} free.`,
    "Free some space there, or set HF_HUB_CACHE to a folder on another disk.",
  );
}

interface FileOptions {
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (bytes: number) => void;
  readonly onWait: () => void;
}

async function fetchFile(
  place: HubPlace,
  { repo, folder }: CachedRepo,
  file: HubFile,
  { signal, onProgress, onWait }: FileOptions,
): Promise<void> {
  const top = dirname(dirname(folder));
  const blobs = openFolder(join(top, "blobs"));
  const blob = blobName(file);
  const locks = join(place.cache, ".locks", relative(place.cache, top));
  await withFileLock(join(locks, `${blob}.hone`), { signal, onWait }, async () => {
    // Another snapshot may have it, or another process has brought it meanwhile.
    if ((await blobs.size(blob)) !== file.bytes) {
      await downloadFile({
        ...place.http,
        url: fileUrl(place.hubUrl, repo, file.name),
        place: diskPlace,
        file,
        folder: blobs,
        name: partName(file),
        signal,
        onProgress,
      });
      await blobs.rename(partName(file), blob);
    }
    await show(join(top, "blobs", blob), join(folder, file.name));
  });
  onProgress(file.bytes);
}

/** Puts a blob under its name into a snapshot: as a link that may move with the cache, or whatever the disk can. */
async function show(blob: string, path: string): Promise<void> {
  await told("write", path, async () => {
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    const from = await realpath(dirname(path));
    const target = relative(from, await realpath(blob));
    if (await hasWorked(symlink(target, path))) return;
    if (await hasWorked(link(blob, path))) return;
    const temporary = `${path}.${process.pid}.hone-tmp`;
    await copyFile(blob, temporary);
    await rename(temporary, path);
  });
}

async function hasWorked(action: Promise<void>): Promise<boolean> {
  return action.then(
    () => true,
    () => false,
  );
}
