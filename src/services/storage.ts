// Where models, data, runs and exports lie in the origin's private files, and what is opened by id.
//
//   hone/models/<id>/{hone.json, files/…}      data/<id>/{data.json, data.jsonl, index.json …}
//        runs/<id>/{run.json, work/…}          exports/<id>/…
//        kernels/…                             what was found by trying variants of kernels
//
// Ids may come from anywhere, so none is used before it was checked.
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import type { DataSource } from "../engine.ts";
import { isJsonObject } from "../formats/json.ts";
import { openOpfs } from "../hosts/opfs.ts";
import { openRemoteModel } from "./hub-model.ts";

/** The names that stand for a stored model's record and its files. */
export const MODEL_RECORD = "hone.json";
export const MODEL_FILES = "files";
export const DATA_RECORD = "data.json";
export const DATA_FILE = "data.jsonl";
/** Last of a data set's files to come when its columns are mapped anew: without it they may not fit together. */
export const DATA_INDEX = "index.json";

/** What begins the id of a model that is only on the hub: "hub:org/name@commit". */
export const REMOTE = "hub:";

let hubUrl = "https://huggingface.co";

/** Called once, right after a worker has started. `hubUrl` has no slash at its end. */
export function configureStorage(options: { readonly hubUrl: string }): void {
  hubUrl = options.hubUrl.replace(/\/+$/, "");
}

/** What may be forgotten: which variants of kernels are the fastest here. */
export async function kernelFolder(): Promise<Folder> {
  return (await openOpfs()).folder("kernels");
}

/**
 * The files of a model or adapter, by its id. Of one on the hub ("hub:org/name@commit") they are read over
 * the network, which is for its headers and not for its weights.
 */
export async function modelFolder(id: string): Promise<Folder> {
  if (id.startsWith(REMOTE)) return openRemoteModel(id.slice(REMOTE.length), hubUrl);
  const entry = await entryFolder("models", id);
  const record = await readRecord(entry, MODEL_RECORD);
  if (!isJsonObject(record)) throw missing("model", id);
  if (record["isComplete"] !== true) {
    throw new UserError(
      `The model ${String(record["name"])} is not complete.`,
      "Finish its download on the Model screen, or choose another model.",
    );
  }
  return entry.folder(MODEL_FILES);
}

/** Data sets by their ids, in that order, as the engine reads them. */
export async function dataSources(ids: readonly string[]): Promise<DataSource[]> {
  return Promise.all(ids.map(dataSource));
}

async function dataSource(id: string): Promise<DataSource> {
  const folder = await entryFolder("data", id);
  const record = await readRecord(folder, DATA_RECORD);
  if (!isJsonObject(record)) throw missing("data set", id);
  const { name: called, bytes, format, mapping } = record;
  const name = typeof called === "string" ? called : id;
  if (format === null) throw notMapped(name);
  const hasIndex = (await folder.size(DATA_INDEX)) !== undefined;
  if (!hasIndex || (await folder.size(DATA_FILE)) !== bytes) throw halfWritten(name, !!mapping);
  return {
    name,
    bytes: Number(bytes),
    stream: () => folder.stream(DATA_FILE),
    read: (start, end) => folder.read(DATA_FILE, start, end),
  };
}

export function notMapped(name: string): UserError {
  return new UserError(
    `Nobody has said yet which column of ${name} is what.`,
    "Choose its columns first.",
  );
}

/** `hasColumns`: it was made of columns that somebody named, and can be made again. */
export function halfWritten(name: string, hasColumns: boolean): UserError {
  return new UserError(
    `The data set ${name} was left half written.`,
    hasColumns ? "Choose its columns again." : "Delete it and add it again.",
  );
}

/** A run's folder: run.json and, in `work`, the engine's work directory. It need not exist yet. */
export function runFolder(id: string): Promise<Folder> {
  return entryFolder("runs", id);
}

/** An export's folder; it need not exist yet. */
export function exportFolder(id: string): Promise<Folder> {
  return entryFolder("exports", id);
}

export type Shelf = "models" | "data" | "downloads" | "runs" | "exports";

/** The folder of one entry; it need not exist yet. */
export async function entryFolder(shelf: Shelf, id: string): Promise<Folder> {
  checkId(id);
  return (await shelfFolder(shelf)).folder(id);
}

/** The folder of all entries of a kind. */
export async function shelfFolder(shelf: Shelf): Promise<Folder> {
  return (await openOpfs()).folder(shelf);
}

/** Ids of all entries of a kind, sorted; what is there under another name is not ours. */
export async function entryIds(shelf: Shelf): Promise<string[]> {
  return (await (await shelfFolder(shelf)).list()).filter((name) => ID.test(name));
}

/** A record's JSON; undefined where there is none, or where it is no JSON. */
export async function readRecord(folder: Folder, name: string): Promise<unknown> {
  if ((await folder.size(name)) === undefined) return undefined;
  try {
    const json: unknown = JSON.parse(await folder.readText(name));
    return json;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function writeRecord(folder: Folder, name: string, record: unknown): Promise<void> {
  return folder.write(name, `${JSON.stringify(record, null, 2)}\n`);
}

const ID = /^[a-z0-9][a-z0-9-]{0,63}$/;

export function checkId(id: string): void {
  if (ID.test(id)) return;
  throw new UserError(
    `"${id}" is not an id of this storage: 1 to 64 of a–z, 0–9 and "-".`,
    "Choose the entry from its list again.",
  );
}

/** An id that reads like the name, and that is none of `taken`. */
export function makeId(name: string, taken: readonly string[]): string {
  const slug = slugOf(name);
  for (let count = 1; ; count++) {
    const id = count === 1 ? slug : `${slug}-${count}`;
    if (!taken.includes(id)) return id;
  }
}

/** An id that reads like the name, told apart from those of other tabs by chance, not by looking. */
export function makeUniqueId(name: string): string {
  // Not randomUUID, which pages without a secure context have not.
  const bytes = crypto.getRandomValues(new Uint8Array(4));
  const chance = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${slugOf(name)}-${chance}`;
}

const SLUG_CHARACTERS = 48;

/** "My Model (v2)" → "my-model-v2"; a name without letters becomes "untitled". */
export function slugOf(name: string): string {
  const plain = name
    .normalize("NFKD")
    .replaceAll(/\p{M}+/gu, "") // of letters with marks the letters stay
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-");
  return plain.slice(0, SLUG_CHARACTERS).replaceAll(/^-+|-+$/g, "") || "untitled";
}

function missing(what: string, id: string): UserError {
  return new UserError(
    `There is no ${what} "${id}" in this browser's storage.`,
    "Add it again, or choose another one.",
  );
}
