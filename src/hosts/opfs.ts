// Folders in the browser: the origin's private files (OPFS), or a folder that the person picked.
//
// They keep the promises of base/folder.ts: what a closed tab or a full quota interrupts leaves what was
// there before. Every refusal of the browser is told as a UserError.
import { invariant, UserError } from "../base/error.ts";
import { checkName, type Folder } from "../base/folder.ts";
import type { GrowingFile } from "./hub-partial.ts";
import { faultOf, told } from "./opfs-errors.ts";
import {
  findDirectory,
  findFile,
  isAbsent,
  isTemporary,
  makeFile,
  pathOf,
  type Place,
  type Root,
} from "./opfs-place.ts";
import { forgetWrites, noteWrite, renameEntry } from "./opfs-rename.ts";
import {
  appendAll,
  appendBytes,
  flushFile,
  openAccess,
  openSink,
  removeFile,
} from "./opfs-write.ts";

/** All that Hone keeps is below this directory. */
const ROOT = "hone";
const CHUNK_BYTES = 4 << 20;

/** Hone's own directory of the origin's private files. Throws a UserError where the browser keeps none. */
export async function openOpfs(): Promise<Folder> {
  const storage = navigator.storage as Partial<StorageManager> | undefined;
  if (!storage?.getDirectory) {
    throw new UserError(
      "This browser gives pages no private files, so Hone has no place for models and runs.",
      "Use a current Chrome, Edge, Firefox or Safari, and open the page over https or from localhost.",
    );
  }
  try {
    const origin = await storage.getDirectory();
    return opfsFolder(await origin.getDirectoryHandle(ROOT, { create: true }), "");
  } catch (error) {
    throw new UserError(
      `The browser does not let this page keep files (${faultOf(error)}).`,
      "Leave the private window, or allow this site to store data in the browser's settings, and reload the page.",
      { cause: error },
    );
  }
}

/** A folder over a directory's handle. `path` is what messages call it; "" puts nothing before the names. */
export function opfsFolder(handle: FileSystemDirectoryHandle, path: string): Folder {
  return folderAt({ handle, isPrivate: undefined }, [], path);
}

/** A file backed by disk: nothing is read until somebody reads it. */
export async function opfsFile(folder: Folder, name: string): Promise<File> {
  const place = placeOf(folder);
  return told("read", pathOf(place, name), async () => (await findFile(place, name)).getFile());
}

/** Its handle is closed at once. */
type GrowingHandle = Omit<GrowingFile, "close"> & { close(): void };

/** Opens or makes a file to add to, in a worker. Until it is closed, no other tab can open it. */
export async function openGrowing(folder: Folder, name: string): Promise<GrowingHandle> {
  const place = placeOf(folder);
  const path = pathOf(place, nameIn(folder.path, name));
  const access = await told("write", path, async () =>
    openAccess((await makeFile(place, name)).handle),
  );
  const act = (action: () => void) =>
    told(
      "write",
      path,
      async () => action(),
      () => access.getSize(),
    );
  return {
    get bytes() {
      return access.getSize();
    },
    read: (start, end) =>
      told("read", path, async () => {
        const bytes = new Uint8Array(end - start);
        const taken = access.read(bytes, { at: start });
        return bytes.subarray(0, taken);
      }),
    append: (bytes) => act(() => appendAll(access, bytes)),
    truncate: (bytes) => act(() => access.truncate(bytes)),
    flush: () => act(() => access.flush()),
    close: () => access.close(),
  };
}

const places = new WeakMap<Folder, Place>();

function placeOf(folder: Folder): Place {
  const place = places.get(folder);
  invariant(place !== undefined, () => `${folder.path} is no folder of a browser`);
  return place;
}

function nameIn(path: string, name: string): string {
  return checkName(name, path === "" ? "the browser's storage" : path);
}

function folderAt(root: Root, parts: readonly string[], path: string): Folder {
  const place: Place = { root, parts, path };
  const at = (name: string) => pathOf(place, nameIn(path, name));
  const copy = (from: string, to: string) => folder.write(to, folder.stream(from));
  const folder: Folder = {
    path,
    list: async () => told("read", path, () => listDirectory(place)),
    size: async (name) => told("read", at(name), () => sizeOf(place, name)),
    read: async (name, start, end) =>
      told("read", at(name), () => readRange(place, name, start, end)),
    readText: async (name) => decodeText(await folder.read(name), at(name)),
    stream: (name) => streamFile(place, name, at(name)),
    write: async (name, content) =>
      alone(at(name), () => writeFile(place, name, at(name), content)),
    append: async (name, text) =>
      told("write", at(name), () => appendBytes(place, name, new TextEncoder().encode(text))),
    flush: async (name) => told("write", at(name), () => flushFile(place, name)),
    async remove(name) {
      await told("remove", at(name), async () =>
        removeFile(place, name).catch((error: unknown) => {
          if (!isAbsent(error)) throw error;
        }),
      );
      forgetWrites(at(name));
    },
    rename: async (from, to) =>
      told("rename", at(from), () => renameEntry(place, from, nameIn(path, to), copy)),
    folder: (name) => folderAt(root, [...parts, ...nameIn(path, name).split("/")], at(name)),
  };
  places.set(folder, place);
  return folder;
}

async function listDirectory({ root, parts }: Place): Promise<string[]> {
  const directory = await findDirectory(root, parts);
  const names: string[] = [];
  if (directory) for await (const name of directory.keys()) names.push(name);
  const own = names.filter((name) => !isTemporary(name));
  return own.toSorted((a, b) => (a < b ? -1 : 1));
}

async function sizeOf(place: Place, name: string): Promise<number | undefined> {
  try {
    return (await (await findFile(place, name)).getFile()).size;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function readRange(
  place: Place,
  name: string,
  start = 0,
  end?: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const handle = await findFile(place, name);
  return readSteadily(handle, async (file) => {
    const last = end ?? file.size;
    if (start > last || last > file.size) {
      throw new UserError(
        `${pathOf(place, name)} has ${file.size} bytes; bytes ${start} to ${last} were asked for.`,
        "The file is cut short: delete it here and add it again.",
      );
    }
    return new Uint8Array(await file.slice(start, last).arrayBuffer());
  });
}

const READ_TRIES = 5;

/** A File goes stale when somebody appends to it meanwhile; a new one can be read. */
async function readSteadily<T>(
  handle: FileSystemFileHandle,
  read: (file: File) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read(await handle.getFile());
    } catch (error) {
      if (faultOf(error) !== "NotReadableError" || tries === READ_TRIES) throw error;
    }
  }
}

async function* streamFile(
  place: Place,
  name: string,
  path: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const handle = await told("read", path, () => findFile(place, name));
  for (let start = 0; ;) {
    const piece = await told("read", path, () =>
      readSteadily(handle, (file) => file.slice(start, start + CHUNK_BYTES).arrayBuffer()),
    );
    if (piece.byteLength === 0) return;
    start += piece.byteLength;
    yield new Uint8Array(piece);
  }
}

function decodeText(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UserError(`${path} is not UTF-8 text.`, "Save it as UTF-8.", { cause: error });
  }
}

/** One writer of a file at a time, in all tabs: its temporary name is the same for all. */
async function alone<T>(path: string, action: () => Promise<T>): Promise<T> {
  const locks = navigator.locks as LockManager | undefined; // none on pages without a secure context
  return locks ? await locks.request(`hone-write ${path}`, action) : action();
}

async function writeFile(
  place: Place,
  name: string,
  path: string,
  content: Parameters<Folder["write"]>[1],
): Promise<void> {
  let written = 0;
  // What `content` itself throws is the caller's and passes through unchanged.
  const disk = <T>(action: () => Promise<T>) => told("write", path, action, () => written);
  const sink = await disk(() => openSink(place, name));
  try {
    const isWhole = typeof content === "string" || content instanceof Uint8Array;
    for await (const piece of isWhole ? [content] : content) {
      const bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
      await disk(() => sink.write(bytes));
      written += bytes.length;
    }
    await disk(() => sink.finish());
  } catch (error) {
    await sink.discard().catch(() => {}); // the first failure is the one to tell
    throw error;
  }
  noteWrite(path);
}
