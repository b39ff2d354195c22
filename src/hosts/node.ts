// What the engine needs from Node: a GPU through Dawn, the clock, hashes, and folders on a disk.
//
// A file is written under a temporary name, synced and renamed, so that a full disk or a killed
// process leaves what was there before. Every failure of the disk is told as a UserError.
import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { UserError } from "../base/error.ts";
import { checkName, type Folder, readOnly } from "../base/folder.ts";
import { formatBytes } from "../base/format.ts";
import type { DataSource, FreeMemory, Host } from "../engine.ts";
import { cacheHome } from "./node-cache.ts";
import type { AdapterChoice, FoundAdapter } from "./node-gpu.ts";
import { freeNvidiaMemory } from "./node-nvidia.ts";

// What an adapter is not given of the free memory: uploads and checkpoints pass through a software adapter's too, and
// drivers take memory for themselves.
const RESERVED_SHARE = 0.1;

export function nodeHost({ adapter: choice }: { readonly adapter: AdapterChoice }): Host {
  let found: FoundAdapter | undefined;
  return {
    async requestAdapter() {
      // Dawn is a large native library; reading and writing files needs none of it.
      const { findAdapter } = await import("./node-gpu.ts");
      found = await findAdapter(choice);
      return found.adapter;
    },
    freeGpuBytes() {
      const free = found && freeMemory(found);
      const share = 1 - RESERVED_SHARE;
      return free && { least: free.least * share, most: free.most * share };
    },
    now: () => performance.now(),
    sha256: (bytes) => Promise.resolve(createHash("sha256").update(bytes).digest("hex")),
    cache: () => Promise.resolve(openFolder(join(cacheHome(), "hone", "kernels"))),
  };
}

/** Software has the system's memory; of other GPUs' own, neither WebGPU nor Dawn's build for Node tells. */
function freeMemory({ adapter, kind }: FoundAdapter): FreeMemory | undefined {
  if (kind !== "llvmpipe" && kind !== "swiftshader") return freeNvidiaMemory(adapter.info);
  const bytes = process.availableMemory();
  return { least: bytes, most: bytes };
}

/** A folder on the disk; it need not exist yet. */
export function openFolder(path: string): Folder {
  const at = (name: string) => join(path, checkName(name, path));
  return {
    path,
    list: () => listFolder(path),
    async size(name) {
      const found = await stat(at(name)).catch((error: unknown) => absent(error, at(name)));
      return found?.isFile() ? found.size : undefined;
    },
    read: async (name, start, end, into) => readRange(at(name), start, end, into),
    readText: async (name) => decodeText(await readRange(at(name)), at(name)),
    stream: (name) => streamFile(at(name)),
    write: async (name, content) => writeFile(at(name), content),
    append: async (name, text) => appendText(at(name), text),
    flush: async (name) => told("write", at(name), () => syncFile(at(name))),
    remove: async (name) =>
      told("remove", at(name), () => rm(at(name), { recursive: true, force: true })),
    rename: async (from, to) =>
      told("rename", at(from), async () => {
        await mkdir(dirname(at(to)), { recursive: true });
        await rename(at(from), at(to));
        await syncFolder(dirname(at(to)));
      }),
    folder: (name) => openFolder(at(name)),
  };
}

/** A file alone, such as a model in GGUF form, as a folder that has nothing else and stays as it is. */
export function openFileAsFolder(file: string): Folder {
  const folder = openFolder(dirname(file));
  const only = basename(file);
  const check = (name: string): string => {
    if (name === only) return name;
    throw new UserError(
      `There is no ${name} beside ${file} that belongs to it.`,
      "Check the path.",
    );
  };
  return {
    path: folder.path,
    list: async () => ((await folder.size(only)) === undefined ? [] : [only]),
    size: async (name) => (name === only ? folder.size(name) : undefined),
    read: async (name, start, end, into) => folder.read(check(name), start, end, into),
    readText: async (name) => folder.readText(check(name)),
    stream: (name) => folder.stream(check(name)),
    ...readOnly(file),
    folder: (name) => folder.folder(check(name)),
  };
}

/** A file of data. Refuses one that is not there now, rather than after the model was loaded. */
export async function openDataSource(path: string): Promise<DataSource> {
  const found = await told("read", path, () => stat(path));
  if (!found.isFile()) {
    throw new UserError(`${path} is a folder, not a file of data.`, "Name the files inside it.");
  }
  return {
    name: path,
    bytes: found.size,
    stream: () => streamFile(path),
    read: (start, end) => readRange(path, start, end),
  };
}

const TEMPORARY = ".hone-tmp";
const CHUNK_BYTES = 1 << 20;
// One read call takes less than 2 GiB.
const LARGEST_READ_BYTES = 1 << 30;
let temporaries = 0;

async function listFolder(path: string): Promise<string[]> {
  const names = await readdir(path).catch((error: unknown) => absent(error, path));
  // What a killed process left half written is nobody's file.
  const own = (names ?? []).filter((name) => !name.endsWith(TEMPORARY));
  return own.toSorted((a, b) => (a < b ? -1 : 1));
}

async function readRange(
  path: string,
  start = 0,
  end?: number,
  into?: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  return told("read", path, async () => {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const last = end ?? size;
      if (start > last || last > size) {
        throw new UserError(
          `${path} has ${size} bytes; bytes ${start} to ${last} were asked for.`,
          "The file is cut short: download or copy it again.",
        );
      }
      const length = last - start;
      const hasRoom = into !== undefined && into.length >= length;
      const bytes = hasRoom ? into.subarray(0, length) : new Uint8Array(length);
      await fill(file, bytes, start, path);
      return bytes;
    } finally {
      await file.close();
    }
  });
}

/** Reads exactly `bytes.length` bytes from `position` on. */
async function fill(
  file: FileHandle,
  bytes: Uint8Array<ArrayBuffer>,
  position: number,
  path: string,
): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const length = Math.min(bytes.length - done, LARGEST_READ_BYTES);
    const { bytesRead } = await file.read(bytes, done, length, position + done);
    if (bytesRead === 0) {
      throw new UserError(
        `${path} ended at byte ${position + done} while it was being read.`,
        "Wait until nothing writes to it, then run the command again.",
      );
    }
    done += bytesRead;
  }
}

async function* streamFile(path: string): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const file = await told("read", path, () => open(path, "r"));
  try {
    for (;;) {
      const chunk = new Uint8Array(CHUNK_BYTES);
      const { bytesRead } = await told("read", path, () => file.read(chunk, 0, CHUNK_BYTES));
      if (bytesRead === 0) return;
      yield chunk.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

async function writeFile(path: string, content: Parameters<Folder["write"]>[1]): Promise<void> {
  const temporary = join(
    dirname(path),
    `.${basename(path)}.${process.pid}-${temporaries++}${TEMPORARY}`,
  );
  let written = 0;
  const write = (file: FileHandle, bytes: Uint8Array) =>
    writeAll(file, bytes, (count) => {
      written += count;
    });
  // What `content` itself throws is the caller's and passes through unchanged.
  const disk = <T>(action: () => Promise<T>) => told("write", path, action, () => written);
  try {
    const file = await disk(async () => {
      await mkdir(dirname(path), { recursive: true });
      return open(temporary, "wx");
    });
    try {
      if (typeof content === "string" || content instanceof Uint8Array) {
        const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
        await disk(() => write(file, bytes));
      } else {
        for await (const bytes of content) await disk(() => write(file, bytes));
      }
      await disk(() => file.sync());
    } finally {
      await file.close();
    }
    await disk(async () => {
      await rename(temporary, path);
      await syncFolder(dirname(path));
    });
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {}); // the first failure is the one to tell
    throw error;
  }
}

/** All of it, however little each call takes. */
async function writeAll(
  file: FileHandle,
  bytes: Uint8Array,
  onWritten: (count: number) => void = () => {},
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done);
    done += bytesWritten;
    onWritten(bytesWritten);
  }
}

async function appendText(path: string, text: string): Promise<void> {
  await told("write", path, async () => {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, "a");
    try {
      const { size } = await file.stat();
      try {
        await writeAll(file, new TextEncoder().encode(text));
      } catch (error) {
        await file.truncate(size).catch(() => {}); // the first failure is the one to tell
        throw error;
      }
    } finally {
      await file.close();
    }
  });
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** Makes a rename survive a power cut. Windows opens no folders and needs no such thing. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function decodeText(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new UserError(`${path} is not UTF-8 text.`, "Save it as UTF-8.", { cause: error });
  }
}

/** Undefined for a file that is not there; any other failure is told. */
function absent(error: unknown, path: string): undefined {
  if (isSystemError(error) && (error.code === "ENOENT" || error.code === "ENOTDIR")) return;
  throw tell(error, "read", path, 0);
}

type Verb = "read" | "write" | "rename" | "remove";

/** Does something on the disk; a failure of the file system is thrown in words for the person at the keyboard. */
export async function told<T>(
  verb: Verb,
  path: string,
  action: () => Promise<T>,
  written: () => number = () => 0,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw tell(error, verb, path, written());
  }
}

/** A failure of the file system in words for the person at the keyboard. */
function tell(error: unknown, verb: Verb, path: string, writtenBytes: number): unknown {
  if (!isSystemError(error)) return error;
  const user = (problem: string, remedy: string) =>
    new UserError(problem, remedy, { cause: error });
  switch (error.code) {
    case "ENOENT":
      return user(`There is no file or folder ${error.path ?? path}.`, "Check the path.");
    case "ENOSPC":
    case "EDQUOT":
    case "EFBIG":
      return user(
        `The disk has no room for ${path}: it took ${formatBytes(writtenBytes)} and no more (${error.code}).`,
        "Free some space there and run the command again. What was saved before is untouched.",
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return user(
        `The system does not allow this program to ${verb} ${path} (${error.code}).`,
        "Change the permissions, or choose another place.",
      );
    case "EISDIR":
      return user(`${path} is a folder, not a file.`, "Name a file.");
    case "ENOTDIR":
    case "EEXIST": // from making a folder
      return user(`A part of the path ${path} is a file, not a folder.`, "Check the path.");
    default:
      return user(`Could not ${verb} ${path}: ${error.message}.`, "Check the path and the disk.");
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && "syscall" in error;
}
