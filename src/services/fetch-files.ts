// The files of a model or data set from a server into its entry: each grows apart and joins the others when it is verified.
import type { Folder } from "../base/folder.ts";
import { urlOf } from "../hosts/http-folder.ts";
import type { HttpOptions } from "../hosts/http.ts";
import { downloadFile } from "../hosts/hub-download.ts";
import type { HubFile } from "../hosts/hub.ts";
import { opfsPlace } from "../hosts/hub-opfs.ts";
import type { Progress } from "./api.ts";
import { MODEL_PARTIAL } from "./model-records.ts";
import { MODEL_FILES } from "./storage.ts";

export interface FetchOptions extends HttpOptions {
  /** Counts over all files. */
  readonly onProgress: Progress;
  /** Under which name a file lies here; default: its own. */
  readonly storedAs?: (name: string) => string;
}

/** `baseUrl` ends in "/". Files that are there already were verified when they came. */
export async function fetchFiles(
  entry: Folder,
  baseUrl: string,
  files: readonly HubFile[],
  { onProgress, storedAs = (name) => name, ...options }: FetchOptions,
): Promise<void> {
  const totalBytes = totalOf(files);
  let doneBytes = 0;
  for (const file of files) {
    const { bytes } = file;
    const name = storedAs(file.name);
    if ((await entry.folder(MODEL_FILES).size(name)) !== bytes) {
      await downloadFile({
        ...options,
        url: urlOf(baseUrl, file.name),
        place: opfsPlace,
        file,
        folder: entry.folder(MODEL_PARTIAL),
        name,
        onProgress: (fileBytes) => onProgress(doneBytes + fileBytes, totalBytes),
      });
      await entry.rename(`${MODEL_PARTIAL}/${name}`, `${MODEL_FILES}/${name}`);
    }
    doneBytes += bytes;
    onProgress(doneBytes, totalBytes);
  }
}

export function totalOf(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
