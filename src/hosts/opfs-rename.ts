// Moving files, and directories file by file, since no browser moves a directory.
//
// The oldest file goes first, so that what was written last, and makes a folder complete, comes last.
import type { Folder } from "../base/folder.ts";
import { whenFree } from "./opfs-errors.ts";
import {
  findDirectory,
  findFile,
  hasSyncHandles,
  isTemporary,
  isThere,
  makeDirectory,
  type MovableHandle,
  pathOf,
  type Place,
  split,
} from "./opfs-place.ts";
import { removeFile } from "./opfs-write.ts";

/** Writes a file anew with what another holds: for folders in which no file can be moved. */
export type Copy = (from: string, to: string) => ReturnType<Folder["write"]>;

/** When each file was written by this worker; a clock has too few ticks to tell. */
const writeOrder = new Map<string, number>();
let writes = 0;

export function noteWrite(path: string): void {
  writeOrder.set(path, ++writes);
}

export function forgetWrites(path: string): void {
  for (const key of writeOrder.keys()) {
    if (key === path || key.startsWith(`${path}/`)) writeOrder.delete(key);
  }
}

export async function renameEntry(
  place: Place,
  from: string,
  to: string,
  copy: Copy,
): Promise<void> {
  if (await isThere(place, from)) return moveFile(place, from, to, copy);
  const { parts, last } = split(place, from);
  const parent = await findDirectory(place.root, parts);
  if (!parent) throw new DOMException(`${from} has no directory`, "NotFoundError");
  await parent.getDirectoryHandle(last); // throws where it is not there
  for (const name of await oldestFirst(place, from)) {
    await moveFile(place, `${from}/${name}`, `${to}/${name}`, copy);
  }
  await makeDirectory(place.root, [...place.parts, ...to.split("/")]); // if nothing was in it
  await parent.removeEntry(last, { recursive: true });
  forgetWrites(pathOf(place, from));
}

interface Found {
  /** From the directory that was asked for. */
  readonly path: string;
  readonly order: number;
  readonly time: number;
}

/** Files below a directory, however deep, in the order they were written. */
async function oldestFirst(place: Place, name: string): Promise<string[]> {
  const found: Found[] = [];
  const visit = async (directory: FileSystemDirectoryHandle, prefix: string): Promise<void> => {
    for await (const [entry, handle] of directory.entries()) {
      const path = `${prefix}${entry}`;
      if (handle.kind === "directory") {
        await visit(handle, `${path}/`);
      } else if (!isTemporary(entry)) {
        const order = writeOrder.get(pathOf(place, `${name}/${path}`)) ?? 0;
        const { lastModified } = await handle.getFile();
        found.push({ path, order, time: lastModified });
      }
    }
  };
  const directory = await findDirectory(place.root, [...place.parts, ...name.split("/")]);
  if (directory) await visit(directory, "");
  return found.toSorted((a, b) => a.order - b.order || a.time - b.time).map(({ path }) => path);
}

async function moveFile(place: Place, from: string, to: string, copy: Copy): Promise<void> {
  if (await hasSyncHandles(place.root)) {
    const handle: MovableHandle = await findFile(place, from);
    const { parts, last } = split(place, to);
    const directory = await makeDirectory(place.root, parts);
    await whenFree(async () => handle.move?.(directory, last));
  } else {
    await copy(from, to);
    await removeFile(place, from);
  }
  const order = writeOrder.get(pathOf(place, from));
  writeOrder.delete(pathOf(place, from));
  if (order !== undefined) writeOrder.set(pathOf(place, to), order);
}
