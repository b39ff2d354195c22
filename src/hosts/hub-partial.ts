// A download that is not complete: its bytes so far, and the checksum over exactly these bytes.
//
// Where a checksum's state can be kept, it is kept beside the bytes, so that going on tomorrow reads nothing
// again. It is saved after the bytes were flushed, so it never knows more than the disk. What came after it is
// read once.
import type { Folder } from "../base/folder.ts";
import type { HubFile } from "./hub.ts";

/** A file that grows at its end under its own name. */
export interface GrowingFile {
  readonly bytes: number;
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Adds all of it, or throws and adds nothing. */
  append(bytes: Uint8Array): Promise<void>;
  truncate(bytes: number): Promise<void>;
  /** What was added so far now survives a power cut. */
  flush(): Promise<void>;
  close(): void | Promise<void>;
}

/** A checksum over what was given so far. */
export interface Hasher {
  init(): void;
  update(data: Uint8Array | string): void;
  /** As lower-case hex; more may be added after it. */
  digest(): string;
  /** All that `load` needs to go on from here; undefined where that cannot be had. */
  save(): Uint8Array | undefined;
  load(state: Uint8Array): void;
}

/** What a download needs of where it runs: a browser's private files, or a disk. */
export interface DownloadPlace {
  /** Opens or makes a file to add to. Nobody else opens it until it is closed. */
  openGrowing(folder: Folder, name: string): Promise<GrowingFile>;
  createHasher(kind: "sha1" | "sha256"): Promise<Hasher>;
}

/** Ends the name of the file beside a partial file. */
export const STATE_SUFFIX = ".state";
const SAVE_EVERY_BYTES = 64 << 20;
const READ_BYTES = 4 << 20;

interface SavedState {
  /** What the file is to have: a state for another file is of no use. */
  readonly checksum: string;
  readonly bytes: number;
  readonly etag: string | null;
  /** Base64; "" where there is none, and the bytes are read again. */
  readonly hash: string;
}

export class PartialDownload {
  readonly #folder: Folder;
  readonly #file: HubFile;
  readonly #growing: GrowingFile;
  readonly #hasher: Hasher;
  #unsavedBytes = 0;
  /** Of the answer that the bytes came with. */
  etag: string | null = null;

  private constructor(folder: Folder, file: HubFile, growing: GrowingFile, hasher: Hasher) {
    this.#folder = folder;
    this.#file = file;
    this.#growing = growing;
    this.#hasher = hasher;
  }

  /** Opens what an earlier try left of `name`, or begins anew. No other tab can until it is closed. */
  static async open(
    place: DownloadPlace,
    folder: Folder,
    name: string,
    file: HubFile,
  ): Promise<PartialDownload> {
    const hasher = await place.createHasher(file.sha256 === undefined ? "sha1" : "sha256");
    const state = await readState(folder, name);
    const growing = await place.openGrowing(folder, name);
    const partial = new PartialDownload(folder, { ...file, name }, growing, hasher);
    try {
      await partial.#restore(state);
      return partial;
    } catch (error) {
      await growing.close();
      throw error;
    }
  }

  get bytes(): number {
    return this.#growing.bytes;
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#growing.append(chunk);
    this.#hasher.update(chunk);
    this.#unsavedBytes += chunk.length;
    if (this.#unsavedBytes >= SAVE_EVERY_BYTES) await this.save();
  }

  /** Begins anew, with nothing. */
  async reset(): Promise<void> {
    await this.#growing.truncate(0);
    await this.#folder.remove(this.#file.name + STATE_SUFFIX);
    this.etag = null;
    this.#beginHash();
  }

  async save(): Promise<void> {
    await this.#growing.flush();
    const state: SavedState = {
      checksum: checksumOf(this.#file),
      bytes: this.bytes,
      etag: this.etag,
      hash: toBase64(this.#hasher.save() ?? new Uint8Array(0)),
    };
    await this.#folder.write(this.#file.name + STATE_SUFFIX, JSON.stringify(state));
    this.#unsavedBytes = 0;
  }

  /** Whether the bytes are those that the hub's list promises. */
  isTrue(): boolean {
    return this.bytes === this.#file.bytes && this.#hasher.digest() === checksumOf(this.#file);
  }

  async close(): Promise<void> {
    await this.#growing.close();
  }

  async #restore(state: SavedState | undefined): Promise<void> {
    const isOurs = state?.checksum === checksumOf(this.#file) && state.bytes <= this.bytes;
    this.#beginHash();
    let hashed = 0;
    if (isOurs) this.etag = state.etag;
    if (isOurs && state.hash !== "") {
      try {
        this.#hasher.load(fromBase64(state.hash));
        hashed = state.bytes;
      } catch {
        this.#beginHash(); // written by another version of the library
      }
    }
    for (; hashed < this.bytes; hashed = Math.min(hashed + READ_BYTES, this.bytes)) {
      this.#hasher.update(
        await this.#growing.read(hashed, Math.min(hashed + READ_BYTES, this.bytes)),
      );
    }
  }

  #beginHash(): void {
    this.#hasher.init();
    const { sha256, bytes } = this.#file;
    if (sha256 === undefined) this.#hasher.update(`blob ${bytes}\0`);
    this.#unsavedBytes = 0;
  }
}

function checksumOf({ sha256, gitOid = "" }: HubFile): string {
  return sha256 ?? gitOid;
}

async function readState(folder: Folder, name: string): Promise<SavedState | undefined> {
  if ((await folder.size(name + STATE_SUFFIX)) === undefined) return undefined;
  try {
    const state = JSON.parse(await folder.readText(name + STATE_SUFFIX)) as Partial<SavedState>;
    const { checksum, bytes, hash, etag } = state;
    if (typeof checksum !== "string" || typeof bytes !== "number" || typeof hash !== "string") {
      return undefined;
    }
    return { checksum, bytes, hash, etag: typeof etag === "string" ? etag : null };
  } catch {
    return undefined; // the bytes are read again instead
  }
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
