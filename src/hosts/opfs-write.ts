// How bytes come into a file: all of them or none.
//
// A private file is written under a temporary name through a sync access handle, flushed and moved. Every
// handle is closed again, whatever happens: one that is open keeps all other tabs out. Sync handles exist in
// workers and for private files alone; elsewhere createWritable swaps a copy in at the end.
import { whenFree } from "./opfs-errors.ts";
import {
  findDirectory,
  findFile,
  hasSyncHandles,
  isThere,
  makeFile,
  type MovableHandle,
  type Place,
  split,
  TEMPORARY,
} from "./opfs-place.ts";

export interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  /** The file appears, in place of the one that was there. */
  finish(): Promise<void>;
  /** Nothing has happened. */
  discard(): Promise<void>;
}

export async function openSink(place: Place, name: string): Promise<Sink> {
  return (await hasSyncHandles(place.root)) ? openTemporary(place, name) : openCopy(place, name);
}

/** One temporary name for each file, so that what a closed tab left is overwritten by the next write. */
async function openTemporary(place: Place, name: string): Promise<Sink> {
  const { last } = split(place, name);
  const parent = name.slice(0, name.length - last.length);
  const { handle, directory } = await makeFile(place, `${parent}.${last}${TEMPORARY}`);
  const access = await openAccess(handle);
  let written = 0;
  let isOpen = true;
  const close = () => {
    if (isOpen) access.close();
    isOpen = false;
  };
  return {
    async write(bytes) {
      if (written === 0) access.truncate(0);
      writeAll(access, bytes, written);
      written += bytes.length;
    },
    async finish() {
      access.truncate(written);
      access.flush();
      close();
      await whenFree(async () => (handle as MovableHandle).move?.(directory, last));
    },
    async discard() {
      close();
      await directory.removeEntry(handle.name);
    },
  };
}

/** Files in a folder of the person's own have no temporary name: the browser keeps the copy elsewhere. */
async function openCopy(place: Place, name: string, keepExistingData = false): Promise<Sink> {
  const wasThere = await isThere(place, name);
  const { handle, directory } = await makeFile(place, name);
  const copy = await whenFree(() => handle.createWritable({ keepExistingData }));
  if (keepExistingData) await copy.seek((await handle.getFile()).size);
  return {
    write: (bytes) => copy.write(bytes as Uint8Array<ArrayBuffer>),
    finish: () => copy.close(),
    async discard() {
      await copy.abort().catch(() => {}); // a close that failed has ended it already
      if (!wasThere) await directory.removeEntry(handle.name);
    },
  };
}

/** Adds to the end of a file; on failure it is as long as before. */
export async function appendBytes(place: Place, name: string, bytes: Uint8Array): Promise<void> {
  if (!(await hasSyncHandles(place.root))) {
    const copy = await openCopy(place, name, true);
    try {
      await copy.write(bytes);
      await copy.finish();
    } catch (error) {
      await copy.discard().catch(() => {}); // the first failure is the one to tell
      throw error;
    }
    return;
  }
  const access = await openAccess((await makeFile(place, name)).handle);
  try {
    appendAll(access, bytes);
  } finally {
    access.close();
  }
}

/** Appending alone leaves it to the system when its bytes reach the disk. Where files are swapped it has been. */
export async function flushFile(place: Place, name: string): Promise<void> {
  if (!(await hasSyncHandles(place.root))) return;
  const access = await openAccess(await findFile(place, name));
  try {
    access.flush();
  } finally {
    access.close();
  }
}

export function openAccess(handle: FileSystemFileHandle): Promise<FileSystemSyncAccessHandle> {
  return whenFree(() => handle.createSyncAccessHandle());
}

/** Writes at the end; on failure nothing of it stays. */
export function appendAll(access: FileSystemSyncAccessHandle, bytes: Uint8Array): void {
  const size = access.getSize();
  try {
    writeAll(access, bytes, size);
  } catch (error) {
    access.truncate(size);
    throw error;
  }
}

/** A write that takes fewer bytes than given has met the end of the room. */
function writeAll(access: FileSystemSyncAccessHandle, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;) {
    const taken = access.write(bytes.subarray(done), { at: at + done });
    if (taken === 0) throw new DOMException("no byte was taken", "QuotaExceededError");
    done += taken;
  }
}

export async function removeFile(place: Place, name: string): Promise<void> {
  const { parts, last } = split(place, name);
  const directory = await findDirectory(place.root, parts);
  await whenFree(async () => directory?.removeEntry(last, { recursive: true }));
}
