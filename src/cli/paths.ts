// Names on the command line to folders and files: models, adapters, data, and folders to be written. What is not
// on this disk may be on the hub.
import { existsSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import type { DataSource } from "../engine.ts";
import { openDataSource, openFileAsFolder, openFolder } from "../hosts/node.ts";
import { mayBeOnHub, openHubData, openHubModel } from "./hub.ts";
import type { Output } from "./output.ts";
import { findPublic } from "./package-files.ts";

/** The model that comes with Hone. */
export const EMBEDDED_MODEL = "seedling";

/**
 * A folder or a GGUF file of that path, else the embedded model of that name, else a model of the hub: from the
 * cache, or downloaded into it now.
 */
export async function openModel(nameOrPath: string, output: Output): Promise<Folder> {
  if (existsSync(nameOrPath)) {
    return statSync(nameOrPath).isFile() ? openFileAsFolder(nameOrPath) : openFolder(nameOrPath);
  }
  const embedded = nameOrPath === EMBEDDED_MODEL ? findPublic("models", nameOrPath) : undefined;
  if (embedded !== undefined) return openFolder(embedded);
  if (mayBeOnHub(nameOrPath, "model")) return openHubModel(nameOrPath, output);
  throw new UserError(
    `There is no model "${nameOrPath}": no such folder, and the only built-in model is ${EMBEDDED_MODEL}.`,
    "Name a folder with config.json and safetensors files, a GGUF file, or a model of the hub as org/name.",
  );
}

/** The files of each entry of `data`: itself where it is a path, the split's where it is a data set of the hub. */
export async function openData(
  entries: readonly string[],
  split: string,
  output: Output,
): Promise<DataSource[][]> {
  const all: DataSource[][] = [];
  // One after the other: each may say much, and fail.
  for (const entry of entries) {
    const isOnHub = !existsSync(entry) && mayBeOnHub(entry, "dataset");
    all.push(isOnHub ? await openHubData(entry, split, output) : [await openDataSource(entry)]);
  }
  return all;
}

/** A list of formats, one for each entry of data, as one for each of its files. */
export function formatsOfFiles(formats: string, files: readonly (readonly unknown[])[]): string {
  const each = formats.split(",");
  if (each.length !== files.length || each.length === 1) return formats;
  return files.flatMap((own, i) => own.map(() => each[i]?.trim() ?? "")).join(",");
}

/** An adapter's folder, a checkpoint's, the newest checkpoint of a work directory, or an adapter of the hub. */
export async function openAdapter(path: string, output: Output): Promise<Folder> {
  if (!existsSync(path) && mayBeOnHub(path, "model")) return openHubModel(path, output);
  if (existsSync(path) && statSync(path).isFile()) {
    throw new UserError(
      `${path} is a file, and an adapter is a folder with adapter_config.json, which says its scale.`,
      "Make one of a checkpoint of XTuner with hone convert pth_to_hf CONFIG CHECKPOINT OUTPUT.",
    );
  }
  const folder = openFolder(path);
  if ((await folder.size("adapter_config.json")) !== undefined) return folder;
  if ((await folder.size("last_checkpoint")) !== undefined) {
    const newest = basename((await folder.readText("last_checkpoint")).trim());
    if ((await folder.size(`${newest}/adapter_config.json`)) !== undefined) {
      return folder.folder(newest);
    }
  }
  throw new UserError(
    existsSync(path)
      ? `${path} holds no adapter: there is no adapter_config.json in it, and no checkpoint.`
      : `There is no folder ${path}.`,
    "Name a folder made by hone train or hone convert adapter, as in work_dirs/NAME/iter_30, or an adapter of the hub.",
  );
}

/** A folder to write an export into. Refuses one with files in it: an export is a whole folder. */
export async function openNewFolder(path: string): Promise<Folder> {
  const folder = openFolder(path);
  const [first] = await folder.list();
  if (first === undefined) return folder;
  throw new UserError(
    `${path} already holds files (${first}, …).`,
    "Name a new folder, or remove that one first.",
  );
}

/** Where something inside a folder is, for messages. */
export function pathIn(folder: Pick<Folder, "path">, name: string): string {
  return join(folder.path, name);
}
