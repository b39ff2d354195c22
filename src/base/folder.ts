// A folder of files as the engine sees it: on a disk in Node, in the origin's private files in a browser.
//
// Writing is all or nothing: a file appears under its name when it is complete, never before.
import { invariant, UserError } from "./error.ts";

/** Paths are relative, with "/" between their parts. Errors are UserErrors that name the whole path. */
export interface Folder {
  /** For messages and reports: where this is, in the host's own terms. */
  readonly path: string;
  /** Names of the files and folders directly inside, sorted; empty if the folder does not exist. */
  list(): Promise<string[]>;
  /** Bytes of a file, or undefined if there is none of that name. */
  size(name: string): Promise<number | undefined>;
  /**
   * Bytes [start, end) of a file; all of it by default. They may come to lie at the start of `into`, where
   * the host can read into memory that is there; what is returned is right either way.
   */
  read(
    name: string,
    start?: number,
    end?: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>>;
  readText(name: string): Promise<string>;
  /** A file in pieces, for reading once from front to back. */
  stream(name: string): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Writes a whole file; on failure the file that was there before is still there. */
  write(name: string, content: string | Uint8Array | AsyncIterable<Uint8Array>): Promise<void>;
  /** Adds to the end of a text file, making it if need be; on failure it is as long as before. */
  append(name: string, text: string): Promise<void>;
  /** What was appended to a file so far now survives a power cut. */
  flush(name: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Renames a file or folder inside this folder. */
  rename(from: string, to: string): Promise<void>;
  /** A folder inside this one; it need not exist yet. */
  folder(name: string): Folder;
}

/** The calls that write, for a folder that is only read: to call one of them is a bug. */
export function readOnly(
  path: string,
): Pick<Folder, "write" | "append" | "flush" | "remove" | "rename"> {
  const refuse = async () => invariant(false, () => `${path} is no place to write to`);
  return { write: refuse, append: refuse, flush: refuse, remove: refuse, rename: refuse };
}

/** A name inside the folder that `path` names. It may come from a downloaded index, so none may lead out of it. */
export function checkName(name: string, path: string): string {
  const parts = name.split("/");
  const leadsOut = parts.some((part) => part === "" || part === "." || part === "..");
  if (!leadsOut && !/[\\\0]/.test(name) && !/^[A-Za-z]:/.test(name)) return name;
  throw new UserError(
    `"${name}" is not a name inside ${path}.`,
    "Use the model's original files; these refer to something outside their folder.",
  );
}
