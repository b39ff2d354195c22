// Adapters and merged weights on their way out: written into the browser's storage or a picked folder, read
// back, packed into a ZIP, and removed again.
//
//   exports/<id>/{export.json, files/…, zip/…}
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { serializeConfig } from "../config-read.ts";
import { openModelFolder } from "../engine/model-folder.ts";
import { DTYPES, filesOf } from "../engine/model-output.ts";
import type { Engine } from "../engine.ts";
import { isJsonObject } from "../formats/json.ts";
import { opfsFile, opfsFolder } from "../hosts/opfs.ts";
import { sizeInBytes } from "../model/checkpoint-files.ts";
import type { ExportResult, MergeOptions, Progress } from "./api.ts";
import { EXPORTS_LOCK, takeLock, withLock, withModel } from "./locks.ts";
import { formatLossCsv } from "./loss-csv.ts";
import { refuseNoRoom } from "./room.ts";
import { stepOf } from "./run-record.ts";
import { checkpointFolder, readHistory, readRun } from "./run-store.ts";
import {
  entryIds,
  exportFolder,
  modelFolder,
  readRecord,
  shelfFolder,
  slugOf,
  writeRecord,
} from "./storage.ts";
import { checkZip, zipFiles, zipLength, type ZipSource } from "./zip.ts";

const RECORD = "export.json";
const FILES = "files";
const ZIP = "zip";

/** Exports that nobody deleted go when they are this old. */
const KEPT_MS = 24 * 60 * 60 * 1000;

/** A checkpoint's adapter, with the run's config and its losses up to there. */
export async function exportAdapter(
  engine: Engine,
  runId: string,
  checkpoint: string,
): Promise<ExportResult> {
  const source = await checkpointFolder(runId, checkpoint);
  const { name, config } = await readRun(runId);
  const texts = {
    "config.yaml": serializeConfig(config),
    "loss.csv": formatLossCsv(await readHistory(runId), stepOf(checkpoint)),
  };
  // What only resuming needs stays behind.
  const sizes = (await filesOf(source)).filter((file) => file.name !== "optimizer.safetensors");
  await refuseNoRoom("The adapter", sumOf(sizes));
  return makeExport(`${name} adapter`, async (files) => {
    const { check } = await engine.exportAdapter(source, files);
    for (const [file, text] of Object.entries(texts)) {
      await files.write(file, text);
      if ((await files.readText(file)) === text) continue;
      throw new UserError(
        `${files.path}/${file} does not read back as it was written.`,
        "Check the disk and export again.",
      );
    }
    return `${check}; ${Object.keys(texts).join(" and ")} read back as written`;
  });
}

/** The base with a checkpoint's adapter added, tensor by tensor, into storage or into `target`. */
export async function exportMerged(
  engine: Engine,
  { runId, checkpoint }: { readonly runId: string; readonly checkpoint: string },
  options: MergeOptions,
  target: FileSystemDirectoryHandle | undefined,
  onProgress: Progress,
): Promise<ExportResult> {
  const adapter = await checkpointFolder(runId, checkpoint);
  const { name, modelId } = await readRun(runId);
  const { dtype, base, maxShardBytes } = options;
  return withModel(modelId, async () => {
    const model = await modelFolder(modelId);
    const own = dtype === "own" ? {} : { dtype };
    const write = async (output: Folder): Promise<string> => {
      const request = { model, adapter, output, base, maxShardBytes, onProgress, ...own };
      return (await engine.merge(request)).check;
    };
    if (target) return exportInto(opfsFolder(target, target.name), write);
    await refuseNoRoom("The merged model", await mergedBytes(model, dtype));
    return makeExport(`${name} merged`, write);
  });
}

/** One stored archive of an export's files, read back and compared before anybody gets it. */
export async function zipExport(exportId: string, zipName: string): Promise<File> {
  return withLock(
    EXPORTS_LOCK,
    async () => {
      const folder = await exportFolder(exportId);
      const sources = await zipSources(folder.folder(FILES), exportId);
      await folder.remove(ZIP);
      await refuseNoRoom("The archive", zipLength(sources));
      const zip = folder.folder(ZIP);
      const name = fileNameOf(zipName);
      await zip.write(name, zipFiles(sources));
      const file = await opfsFile(zip, name);
      await checkZip(file, sources, name);
      return file;
    },
    { mode: "shared" },
  );
}

export async function exportedFile(exportId: string, name: string): Promise<File> {
  return opfsFile((await exportFolder(exportId)).folder(FILES), name);
}

/** An export that is in a picked folder has no id, and stays there. */
export async function deleteExport(exportId: string): Promise<void> {
  if (exportId === "") return;
  await exportFolder(exportId); // refuses what is no id
  await (await shelfFolder("exports")).remove(exportId);
}

/** Removes exports that were left behind. */
export async function cleanExports(): Promise<void> {
  const release = await takeLock(EXPORTS_LOCK, { ifAvailable: true });
  if (!release) return;
  try {
    for (const id of await entryIds("exports")) {
      const record = await readRecord(await exportFolder(id), RECORD);
      const madeAt = isJsonObject(record) ? Date.parse(String(record["madeAt"])) : 0;
      // One without a date was cut off while it was begun.
      if (!(Date.now() - madeAt < KEPT_MS)) await deleteExport(id);
    }
  } finally {
    release();
  }
}

/** Writes an export under an id of its own; one that fails leaves nothing behind. */
async function makeExport(
  name: string,
  write: (files: Folder) => Promise<string>,
): Promise<ExportResult> {
  return withLock(
    EXPORTS_LOCK,
    async () => {
      const id = `${slugOf(name)}-${crypto.randomUUID().slice(0, 8)}`;
      const folder = await exportFolder(id);
      const files = folder.folder(FILES);
      try {
        await writeRecord(folder, RECORD, { id, name, madeAt: new Date().toISOString() });
        const check = await write(files);
        return await describe(id, files, check);
      } catch (error) {
        await deleteExport(id).catch(() => {}); // the first failure is the one to tell
        throw error;
      }
    },
    { mode: "shared" },
  );
}

/** Writes an export into a folder that the person picked, which must be empty. */
async function exportInto(
  folder: Folder,
  write: (files: Folder) => Promise<string>,
): Promise<ExportResult> {
  // What the system itself puts there, such as .DS_Store, is in nobody's way.
  const visible = async () => (await folder.list()).filter((name) => !name.startsWith("."));
  const before = await visible();
  if (before.length > 0) {
    throw new UserError(
      `The folder ${folder.path} is not empty: it has ${before.slice(0, 3).join(", ")}${before.length > 3 ? ` and ${before.length - 3} more` : ""}.`,
      "Pick or make an empty folder.",
    );
  }
  try {
    const check = await write(folder);
    return await describe("", folder, check);
  } catch (error) {
    // The folder was empty, so all of this is ours; what cannot be removed is left to the person.
    for (const name of await visible().catch(() => [])) await folder.remove(name).catch(() => {});
    throw error;
  }
}

async function describe(id: string, folder: Folder, check: string): Promise<ExportResult> {
  const files = await filesOf(folder);
  return { id, files, bytes: sumOf(files), check };
}

async function zipSources(files: Folder, exportId: string): Promise<ZipSource[]> {
  const list = await filesOf(files);
  if (list.length === 0) {
    throw new UserError(
      `The export "${exportId}" is not in the browser's storage any more.`,
      "Export it again.",
    );
  }
  return list.map(({ name, bytes }) => ({ name, bytes, stream: () => files.stream(name) }));
}

/** Bytes of the merged weights and of the small files beside them. */
async function mergedBytes(model: Folder, dtype: MergeOptions["dtype"]): Promise<number> {
  const { files, source } = await openModelFolder(model);
  const wanted = dtype === "own" ? source.exportDtype : DTYPES[dtype];
  let bytes = 0;
  for (const { shape, dtype: own } of files.tensors.values()) {
    bytes += sizeInBytes(
      wanted ?? own,
      shape.reduce((product, size) => product * size, 1),
    );
  }
  const beside = (await filesOf(model)).filter(({ name }) => !/\.(safetensors|gguf)$/.test(name));
  return bytes + sumOf(beside);
}

function sumOf(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** A name that every file system takes. */
function fileNameOf(name: string): string {
  const plain = name.replaceAll(/[^\p{L}\p{N}._ -]+/gu, "-").replace(/^[. -]+/, "");
  return plain === "" ? "export.zip" : plain;
}
