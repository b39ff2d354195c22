// Files of the hub in a folder of one's own, under the names they have in the repo: no links, and no cache beside it.
import { constants } from "node:fs";
import { copyFile, mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { downloadFile } from "./hub-download.ts";
import { fileUrl, type HubFile } from "./hub.ts";
import { openFolder, told } from "./node.ts";
import { type CachedRepo, type FetchOptions, missingFiles } from "./node-hub.ts";
import { diskPlace } from "./node-hub-disk.ts";
import { withFileLock } from "./node-hub-lock.ts";
import type { HubPlace } from "./node-hub-place.ts";

/** Where files grow; gone when all are there. */
const GROWING = ".hone-download";

/** Those of the files that are not in the folder with the checksum that the hub lists. */
export async function missingIn(folder: string, files: readonly HubFile[]): Promise<HubFile[]> {
  const missing: HubFile[] = [];
  for (const file of files) if (!(await isThere(folder, file))) missing.push(file);
  return missing;
}

/** Brings what is missing: from the cache where it is there, else from the hub. */
export async function fetchInto(
  place: HubPlace,
  cached: CachedRepo,
  missing: readonly HubFile[],
  folder: string,
  { signal, onProgress, onWait }: FetchOptions = {},
): Promise<void> {
  const totalBytes = missing.reduce((sum, { bytes }) => sum + bytes, 0);
  const notCached = new Set(await missingFiles(cached, missing));
  const growing = openFolder(join(folder, GROWING));
  let before = 0;
  for (const file of missing) {
    signal?.throwIfAborted();
    const path = join(folder, file.name);
    await told("write", path, () => mkdir(dirname(path), { recursive: true }));
    if (notCached.has(file)) {
      const name = `${file.sha256 ?? file.gitOid}.incomplete`;
      const lock = join(growing.path, `${name}.lock`);
      const wait = () => onWait?.(file.name);
      await withFileLock(lock, { signal, onWait: wait }, async () => {
        await downloadFile({
          ...place.http,
          url: fileUrl(place.hubUrl, cached.repo, file.name),
          place: diskPlace,
          file,
          folder: growing,
          name,
          signal,
          onProgress: (bytes) => onProgress?.(before + bytes, totalBytes, file.name),
        });
        await told("rename", path, () => rename(join(growing.path, name), path));
      });
    } else await copyInto(join(cached.folder, file.name), path);
    before += file.bytes;
    onProgress?.(before, totalBytes, file.name);
  }
  // What another process is still bringing stays.
  if ((await growing.list()).length === 0) await rm(growing.path, { recursive: true, force: true });
}

/** As a copy that shares its blocks, where the disk can do that. */
async function copyInto(from: string, path: string): Promise<void> {
  const temporary = `${path}.${process.pid}.hone-tmp`;
  await told("write", path, async () => {
    await copyFile(from, temporary, constants.COPYFILE_FICLONE);
    await rename(temporary, path);
  });
}

async function isThere(path: string, file: HubFile): Promise<boolean> {
  const folder = openFolder(path);
  if ((await folder.size(file.name)) !== file.bytes) return false;
  const hasher = await diskPlace.createHasher(file.sha256 === undefined ? "sha1" : "sha256");
  if (file.sha256 === undefined) hasher.update(`blob ${file.bytes}\0`);
  for await (const chunk of folder.stream(file.name)) hasher.update(chunk);
  return hasher.digest() === (file.sha256 ?? file.gitOid);
}
