// Where a file is below a directory's handle, and how it is found there.
import { faultOf } from "./opfs-errors.ts";

/** The end of the names of files that are being written. */
export const TEMPORARY = ".hone-tmp";

/** Half written by a tab that was closed, maybe: nobody's file. Chromium names its own copies .crswap. */
export function isTemporary(name: string): boolean {
  return name.endsWith(TEMPORARY) || name.endsWith(".crswap");
}

export interface Root {
  readonly handle: FileSystemDirectoryHandle;
  /** Whether these are the origin's private files; undefined until somebody asked. */
  isPrivate: Promise<boolean> | undefined;
}

export interface Place {
  readonly root: Root;
  /** Directories below the root. */
  readonly parts: readonly string[];
  readonly path: string;
}

/** lib.webworker has no move() yet; Chrome, Firefox and Safari do, for private files. */
export type MovableHandle = FileSystemFileHandle & {
  move?: (folder: FileSystemDirectoryHandle, name: string) => Promise<void>;
};

export function pathOf({ path }: Place, name: string): string {
  return path === "" ? name : `${path}/${name}`;
}

/** The directory at a path below the root, or undefined. */
export async function findDirectory(
  { handle }: Root,
  parts: readonly string[],
): Promise<FileSystemDirectoryHandle | undefined> {
  let directory = handle;
  try {
    for (const part of parts) directory = await directory.getDirectoryHandle(part);
    return directory;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

export async function makeDirectory(
  { handle }: Root,
  parts: readonly string[],
): Promise<FileSystemDirectoryHandle> {
  let directory = handle;
  for (const part of parts) {
    directory = await directory.getDirectoryHandle(part, { create: true });
  }
  return directory;
}

/** The directories above a name, from the root on, and its last part. */
export function split({ parts }: Place, name: string): { parts: string[]; last: string } {
  const all = [...parts, ...name.split("/")];
  return { last: all.pop() ?? "", parts: all };
}

/** The file, made if need be, and the directory it is in. */
export async function makeFile(
  place: Place,
  name: string,
): Promise<{ handle: FileSystemFileHandle; directory: FileSystemDirectoryHandle }> {
  const { parts, last } = split(place, name);
  const directory = await makeDirectory(place.root, parts);
  return { handle: await directory.getFileHandle(last, { create: true }), directory };
}

export async function findFile(place: Place, name: string): Promise<FileSystemFileHandle> {
  const { parts, last } = split(place, name);
  const directory = await findDirectory(place.root, parts);
  if (directory) return directory.getFileHandle(last);
  throw new DOMException(`${last} has no directory`, "NotFoundError");
}

export function isAbsent(error: unknown): boolean {
  const name = faultOf(error);
  return name === "NotFoundError" || name === "TypeMismatchError";
}

export async function isThere(place: Place, name: string): Promise<boolean> {
  return findFile(place, name).then(
    () => true,
    (error: unknown) => {
      if (isAbsent(error)) return false;
      throw error;
    },
  );
}

/** Whether files below this root can be written as private files are. */
export async function hasSyncHandles(root: Root): Promise<boolean> {
  root.isPrivate ??= (async () => {
    const isWorker = "createSyncAccessHandle" in FileSystemFileHandle.prototype;
    const canMove = "move" in FileSystemFileHandle.prototype;
    if (!isWorker || !canMove) return false;
    return (await (await navigator.storage.getDirectory()).resolve(root.handle)) !== null;
  })();
  return root.isPrivate;
}
