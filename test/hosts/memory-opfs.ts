// A browser's private files in memory: handles, sync access handles, createWritable, move, quota, locks.
//
// As strict as Chromium: one sync access handle at a time, none beside a writable, a File goes stale when its
// bytes change, a full quota stops a write in the middle. Faults can be put in the way of any operation.

/** What one directory holds. */
type Entry = MemoryFile | MemoryDirectory;

class MemoryFile {
  bytes = new Uint8Array(0);
  lastModified = Date.now();
  /** Of this length only the first `length` bytes count; the rest is room to grow. */
  length = 0;
  lock: "free" | "exclusive" | number = "free";
}

class MemoryDirectory {
  readonly entries = new Map<string, Entry>();
}

export interface MemoryDisk {
  quotaBytes: number;
  /** Sync access handles and writables that are open now. */
  openHandles: number;
  /** Called before each operation ("write", "move", "getFileHandle" …); what it throws is thrown. */
  fault: ((operation: string, name: string) => void) | undefined;
  /** Milliseconds that files are dated with; undefined takes the clock. */
  now: number | undefined;
  readonly root: FileSystemDirectoryHandle;
  usedBytes(): number;
  /** A directory outside the private files, as a picker gives it. */
  pickedFolder(name?: string): FileSystemDirectoryHandle;
}

/** What `navigator.storage` and the global classes are to be in a test. */
export interface MemoryStorage {
  readonly disk: MemoryDisk;
  readonly storage: StorageManager;
  readonly globals: Record<"FileSystemFileHandle" | "FileSystemDirectoryHandle", unknown>;
}

export function createMemoryStorage(quotaBytes = 2 ** 40): MemoryStorage {
  const root = new MemoryDirectory();
  const disk: MemoryDisk = {
    quotaBytes,
    openHandles: 0,
    fault: undefined,
    now: undefined,
    root: handleOf(new DirectoryHandle(() => disk, root, "", true)),
    usedBytes: () => sizeOf(root),
    pickedFolder: (name = "picked") =>
      handleOf(new DirectoryHandle(() => disk, new MemoryDirectory(), name, false)),
  };
  let isPersistent = false;
  const storage = {
    getDirectory: async () => {
      disk.fault?.("getDirectory", "");
      return disk.root;
    },
    estimate: async () => ({ usage: sizeOf(root), quota: disk.quotaBytes }),
    persisted: async () => isPersistent,
    persist: async () => (isPersistent = true),
  };
  const globals = {
    FileSystemFileHandle: FileHandle,
    FileSystemDirectoryHandle: DirectoryHandle,
  };
  return { disk, storage, globals };
}

function handleOf(handle: DirectoryHandle): FileSystemDirectoryHandle {
  return handle as unknown as FileSystemDirectoryHandle;
}

function sizeOf(entry: Entry): number {
  if (entry instanceof MemoryFile) return entry.length;
  return [...entry.entries.values()].reduce((sum, child) => sum + sizeOf(child), 0);
}

function refuse(name: string, message: string): never {
  throw new DOMException(message, name);
}

/** Picked folders have no quota: the disk is the person's own. */
interface Where {
  readonly disk: () => MemoryDisk;
  readonly isPrivate: boolean;
}

function setBytes(file: MemoryFile, { disk }: Where, bytes: Uint8Array, at: number): void {
  const end = at + bytes.length;
  if (end > file.bytes.length) {
    const grown = new Uint8Array(Math.max(end, 2 * file.bytes.length));
    grown.set(file.bytes.subarray(0, file.length));
    file.bytes = grown;
  }
  file.bytes.set(bytes, at);
  file.length = Math.max(file.length, end);
  file.lastModified = disk().now ?? Date.now();
}

function setLength(file: MemoryFile, { disk }: Where, length: number): void {
  if (length > file.length)
    setBytes(file, { disk, isPrivate: true }, new Uint8Array(length - file.length), file.length);
  file.length = length;
  file.lastModified = disk().now ?? Date.now();
}

function roomFor({ disk, isPrivate }: Where): number {
  return isPrivate ? disk().quotaBytes - disk().usedBytes() : Infinity;
}

class DirectoryHandle {
  readonly kind = "directory";
  readonly name: string;
  readonly disk: () => MemoryDisk;
  readonly directory: MemoryDirectory;
  readonly isPrivate: boolean;

  constructor(
    disk: () => MemoryDisk,
    directory: MemoryDirectory,
    name: string,
    isPrivate: boolean,
  ) {
    this.disk = disk;
    this.directory = directory;
    this.name = name;
    this.isPrivate = isPrivate;
  }

  async getDirectoryHandle(name: string, options: { create?: boolean } = {}) {
    this.disk().fault?.("getDirectoryHandle", name);
    checkName(name);
    let found = this.directory.entries.get(name);
    if (!found) {
      if (!options.create) refuse("NotFoundError", `no ${name}`);
      found = new MemoryDirectory();
      this.directory.entries.set(name, found);
    }
    if (found instanceof MemoryFile) refuse("TypeMismatchError", `${name} is a file`);
    return new DirectoryHandle(this.disk, found, name, this.isPrivate);
  }

  async getFileHandle(name: string, options: { create?: boolean } = {}) {
    this.disk().fault?.("getFileHandle", name);
    checkName(name);
    let found = this.directory.entries.get(name);
    if (!found) {
      if (!options.create) refuse("NotFoundError", `no ${name}`);
      found = new MemoryFile();
      found.lastModified = this.disk().now ?? Date.now();
      this.directory.entries.set(name, found);
    }
    if (found instanceof MemoryDirectory) refuse("TypeMismatchError", `${name} is a directory`);
    return new FileHandle(this, name);
  }

  async removeEntry(name: string, options: { recursive?: boolean } = {}) {
    this.disk().fault?.("removeEntry", name);
    const found = this.directory.entries.get(name);
    if (!found) refuse("NotFoundError", `no ${name}`);
    if (isLocked(found)) refuse("NoModificationAllowedError", `${name} is locked`);
    if (found instanceof MemoryDirectory && found.entries.size > 0 && !options.recursive) {
      refuse("InvalidModificationError", `${name} is not empty`);
    }
    this.directory.entries.delete(name);
  }

  async *keys() {
    yield* Array.from(this.directory.entries.keys());
  }

  async *entries() {
    for (const [name, entry] of this.directory.entries) {
      const isFile = entry instanceof MemoryFile;
      yield [
        name,
        isFile
          ? new FileHandle(this, name)
          : new DirectoryHandle(this.disk, entry, name, this.isPrivate),
      ];
    }
  }

  async resolve(handle: DirectoryHandle) {
    return this.isPrivate === handle.isPrivate ? [handle.name] : null;
  }
}

class FileHandle {
  readonly kind = "file";
  name: string;
  parent: DirectoryHandle;

  constructor(parent: DirectoryHandle, name: string) {
    this.parent = parent;
    this.name = name;
  }

  #file(): MemoryFile {
    const found = this.parent.directory.entries.get(this.name);
    if (!(found instanceof MemoryFile)) refuse("NotFoundError", `no ${this.name}`);
    return found;
  }

  async getFile() {
    this.parent.disk().fault?.("getFile", this.name);
    return staleFile(this.#file(), this.name);
  }

  async createSyncAccessHandle() {
    const { disk } = this.parent;
    disk().fault?.("createSyncAccessHandle", this.name);
    if (!this.parent.isPrivate) refuse("InvalidStateError", "not a private file");
    const file = this.#file();
    if (file.lock !== "free") refuse("NoModificationAllowedError", `${this.name} is locked`);
    file.lock = "exclusive";
    disk().openHandles++;
    return syncAccess(file, this.name, this.parent);
  }

  async createWritable(options: { keepExistingData?: boolean } = {}) {
    const { disk } = this.parent;
    disk().fault?.("createWritable", this.name);
    const file = this.#file();
    if (file.lock === "exclusive") refuse("NoModificationAllowedError", `${this.name} is locked`);
    file.lock = file.lock === "free" ? 1 : file.lock + 1;
    disk().openHandles++;
    const copy = new MemoryFile();
    if (options.keepExistingData) setBytes(copy, this.parent, file.bytes.slice(0, file.length), 0);
    return writable(file, copy, this.name, this.parent);
  }

  async move(target: DirectoryHandle, name: string) {
    this.parent.disk().fault?.("move", name);
    checkName(name);
    const file = this.#file();
    const there = target.directory.entries.get(name);
    if (isLocked(file) || (there && isLocked(there))) {
      refuse("NoModificationAllowedError", `${name} is locked`);
    }
    if (there instanceof MemoryDirectory) refuse("TypeMismatchError", `${name} is a directory`);
    this.parent.directory.entries.delete(this.name);
    target.directory.entries.set(name, file);
    this.parent = target;
    this.name = name;
  }
}

/** A File whose bytes can be read until the file behind it changes. */
function staleFile(file: MemoryFile, name: string): File {
  const { lastModified, length, bytes } = file;
  const snapshot = new File([bytes.slice(0, length)], name, { lastModified });
  const check = () => {
    if (file.bytes !== bytes || file.length !== length || file.lastModified !== lastModified) {
      refuse("NotReadableError", `${name} changed`);
    }
  };
  const guard = (blob: Blob) =>
    Object.assign(blob, {
      arrayBuffer: async () => {
        check();
        return Blob.prototype.arrayBuffer.call(blob);
      },
    });
  return Object.assign(guard(snapshot) as File, {
    slice: (start?: number, end?: number) => guard(Blob.prototype.slice.call(snapshot, start, end)),
  });
}

function syncAccess(file: MemoryFile, name: string, where: DirectoryHandle) {
  let isOpen = true;
  const check = (operation: string) => {
    if (!isOpen) refuse("InvalidStateError", "the handle is closed");
    where.disk().fault?.(operation, name);
  };
  return {
    getSize() {
      check("getSize");
      return file.length;
    },
    read(target: Uint8Array, { at = 0 } = {}) {
      check("read");
      const bytes = file.bytes.subarray(at, Math.min(file.length, at + target.length));
      target.set(bytes);
      return bytes.length;
    },
    write(bytes: Uint8Array, { at = 0 } = {}) {
      check("write");
      if (Math.max(at + bytes.length - file.length, 0) > roomFor(where)) {
        refuse("QuotaExceededError", "no space for this operation");
      }
      setBytes(file, where, bytes, at);
      return bytes.length;
    },
    truncate(length: number) {
      check("truncate");
      setLength(file, where, length);
    },
    flush: () => check("flush"),
    close() {
      if (!isOpen) return;
      isOpen = false;
      file.lock = "free";
      where.disk().openHandles--;
    },
  };
}

function writable(file: MemoryFile, copy: MemoryFile, name: string, where: DirectoryHandle) {
  let at = 0;
  let isOpen = true;
  const end = () => {
    if (!isOpen) refuse("InvalidStateError", "the stream is closed");
    isOpen = false;
    file.lock = typeof file.lock === "number" && file.lock > 1 ? file.lock - 1 : "free";
    where.disk().openHandles--;
  };
  return {
    async seek(position: number) {
      at = position;
    },
    async write(bytes: Uint8Array) {
      where.disk().fault?.("write", name);
      if (bytes.length > roomFor(where)) refuse("QuotaExceededError", "no space");
      setBytes(copy, where, bytes, at);
      at += bytes.length;
    },
    async close() {
      end();
      where.disk().fault?.("close", name);
      file.bytes = copy.bytes;
      file.length = copy.length;
      file.lastModified = where.disk().now ?? Date.now();
    },
    async abort() {
      end();
    },
  };
}

function isLocked(entry: Entry): boolean {
  if (entry instanceof MemoryFile) return entry.lock !== "free";
  return [...entry.entries.values()].some(isLocked);
}

function checkName(name: string): void {
  if (name === "" || name === "." || name === ".." || /[/\\]/.test(name)) {
    throw new TypeError(`Name is not allowed: ${name}`);
  }
}
