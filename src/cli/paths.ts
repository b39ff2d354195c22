// Names on the command line to folders: models, adapters, and folders to be written.
import { existsSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { openFileAsFolder, openFolder } from "../hosts/node.ts";
import { findPublic } from "./package-files.ts";

/** The model that comes with Hone. */
export const EMBEDDED_MODEL = "seedling";

/** A folder or a GGUF file of that path, else the embedded model of that name. */
export function openModel(nameOrPath: string): Folder {
  if (existsSync(nameOrPath)) {
    return statSync(nameOrPath).isFile() ? openFileAsFolder(nameOrPath) : openFolder(nameOrPath);
  }
  const embedded = nameOrPath === EMBEDDED_MODEL ? findPublic("models", nameOrPath) : undefined;
  if (embedded !== undefined) return openFolder(embedded);
  throw new UserError(
    `There is no model "${nameOrPath}": no such folder, and the only built-in model is ${EMBEDDED_MODEL}.`,
    "Name a folder with config.json and safetensors files, or a GGUF file.",
  );
}

/** An adapter's folder, a checkpoint's, or the newest checkpoint of a work directory. */
export async function openAdapter(path: string): Promise<Folder> {
  const folder = openFolder(path);
  if ((await folder.size("adapter_config.json")) !== undefined) return folder;
  if ((await folder.size("last_checkpoint")) !== undefined) {
    const newest = basename((await folder.readText("last_checkpoint")).trim());
    if ((await folder.size(`${newest}/adapter_config.json`)) !== undefined) {
      return folder.folder(newest);
    }
  }
  throw new UserError(
    `${path} holds no adapter: there is no adapter_config.json in it, and no checkpoint.`,
    "Name a folder made by hone train or hone convert adapter, as in work_dirs/NAME/iter_30.",
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
