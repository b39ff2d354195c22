// Adapters and merged weights on their way out: written into the browser's storage or a picked folder, read
// back, packed into a ZIP, and removed again.
import { throwIfAborted, UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { serializeConfig } from "../config/read.ts";
import { openModelFolder } from "../engine/model-folder.ts";
import { DTYPES, filesOf } from "../engine/exports/model-output.ts";
import type { Engine } from "../engine.ts";
import { opfsFile, opfsFolder } from "../hosts/opfs.ts";
import { sizeInBytes } from "../model/files/checkpoint-files.ts";
import type { ExportResult, MergeOptions, Progress } from "./api.ts";
import { ExportShelf } from "./export-shelf.ts";
import { exportLock, withLock, withModel } from "./locks.ts";
import { isAborted } from "./faults.ts";
import { formatLossCsv } from "../base/loss-csv.ts";
import { stepOf } from "../train/checkpoint.ts";
import { checkpointFolder, readHistory, readRun } from "./run-store.ts";
import { exportFolder, modelFolder } from "./storage.ts";
import { checkZip, zipFiles, zipLength, type ZipSource } from "./zip.ts";

const FILES = "files";
const ZIP = "zip";

/** A checkpoint of a run. */
interface Exported {
  readonly runId: string;
  readonly checkpoint: string;
}

export class ExportService {
  readonly #engine: Engine;
  readonly #shelf = new ExportShelf();
  /** What is under way: how to end it, and when it has ended. */
  readonly #current = new Map<AbortController, Promise<unknown>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** A checkpoint's adapter, with the run's config and its losses up to there. */
  adapter(exported: Exported): Promise<ExportResult> {
    return this.#cancellable((signal) => this.#writeAdapter(exported, signal));
  }

  /** The base with a checkpoint's adapter added, tensor by tensor, into storage or into `target`. */
  merged(
    exported: Exported,
    options: MergeOptions,
    target: FileSystemDirectoryHandle | undefined,
    onProgress: Progress,
  ): Promise<ExportResult> {
    return this.#cancellable(async (signal) => {
      const { runId, checkpoint } = exported;
      const adapter = await checkpointFolder(runId, checkpoint);
      const { name, modelId } = await readRun(runId);
      const { dtype, base, maxShardBytes } = options;
      const merge = async () => {
        const model = await modelFolder(modelId);
        const own = dtype === "own" ? {} : { dtype };
        const request = { model, adapter, base, maxShardBytes, onProgress, signal, ...own };
        const write = async (output: Folder) =>
          (await this.#engine.merge({ ...request, output })).check;
        if (target) return exportInto(opfsFolder(target, target.name), write);
        await this.#shelf.makeRoom("The merged model", await mergedBytes(model, dtype));
        return this.#make(`${name} merged`, write);
      };
      return withModel(modelId, merge, { signal });
    });
  }

  /** One stored archive of an export's files, read back and compared before anybody gets it. */
  zip(id: string, zipName: string): Promise<File> {
    const name = fileNameOf(zipName);
    return this.#cancellable((signal) =>
      withLock(zipLock(id), () => this.#writeZip(id, name, signal), { signal }),
    );
  }

  async file(id: string, name: string): Promise<File> {
    const file = await opfsFile((await exportFolder(id)).folder(FILES), name);
    this.#shelf.handOut(id);
    return file;
  }

  /** An export that is in a picked folder has no id, and stays there. */
  async delete(id: string): Promise<void> {
    if (id !== "") await withLock(zipLock(id), () => this.#shelf.remove(id));
  }

  /** Resolves when all that was under way has ended. */
  async cancel(): Promise<void> {
    const ended = [...this.#current.values()];
    for (const abort of this.#current.keys()) abort.abort();
    await Promise.allSettled(ended); // each failure is told to who asked for that export
  }

  clean(): Promise<void> {
    return this.#shelf.clean();
  }

  async #cancellable<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    const done = action(abort.signal);
    this.#current.set(abort, done);
    try {
      return await done;
    } finally {
      this.#current.delete(abort);
    }
  }

  async #writeAdapter({ runId, checkpoint }: Exported, signal: AbortSignal): Promise<ExportResult> {
    const source = await checkpointFolder(runId, checkpoint);
    const { name, config } = await readRun(runId);
    const texts = {
      "config.yaml": serializeConfig(config),
      "loss.csv": formatLossCsv(await readHistory(runId), stepOf(checkpoint)),
    };
    // What only resuming needs stays behind.
    const sizes = (await filesOf(source)).filter((file) => file.name !== "optimizer.safetensors");
    await this.#shelf.makeRoom("The adapter", sumOf(sizes));
    return this.#make(`${name} adapter`, async (files) => {
      const { check } = await this.#engine.exportAdapter(source, files);
      for (const [file, text] of Object.entries(texts)) {
        throwIfAborted(signal);
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

  async #writeZip(id: string, name: string, signal: AbortSignal): Promise<File> {
    const folder = await exportFolder(id);
    const sources = await zipSources(folder.folder(FILES), id, signal);
    const zip = folder.folder(ZIP);
    const bytes = zipLength(sources);
    // One that is there may be on its way to a disk.
    const isThere = (await zip.size(name)) === bytes;
    try {
      if (!isThere) {
        await this.#shelf.makeRoom("The archive", bytes);
        await zip.write(name, zipFiles(sources));
      }
      const file = await opfsFile(zip, name);
      await checkZip(file, sources, name);
      this.#shelf.handOut(id);
      return file;
    } catch (error) {
      const isKept = isThere && isAborted(error);
      if (!isKept) await zip.remove(name).catch(() => {}); // the first failure is the one to tell
      throw error;
    }
  }

  /** Writes an export under an id of its own; one that fails leaves nothing behind. */
  async #make(name: string, write: (files: Folder) => Promise<string>): Promise<ExportResult> {
    const { id, folder } = await this.#shelf.make(name);
    try {
      const files = folder.folder(FILES);
      const check = await write(files);
      return await describe(id, files, check);
    } catch (error) {
      await this.#shelf.remove(id).catch(() => {}); // the first failure is the one to tell
      throw error;
    }
  }
}

/** One archive of an export at a time. */
const zipLock = (id: string) => `${exportLock(id)}-zip`;

/** Writes an export into a folder that the person picked, which must be empty. */
async function exportInto(
  folder: Folder,
  write: (files: Folder) => Promise<string>,
): Promise<ExportResult> {
  // What the system itself puts there, such as .DS_Store, is in nobody's way.
  const before = (await folder.list()).filter((name) => !name.startsWith("."));
  if (before.length > 0) {
    throw new UserError(
      `The folder ${folder.path} is not empty: it has ${before.slice(0, 3).join(", ")}${before.length > 3 ? ` and ${before.length - 3} more` : ""}.`,
      "Pick or make an empty folder.",
    );
  }
  const written = new Set<string>();
  const noting: Folder = {
    ...folder,
    write(name, content) {
      written.add(name);
      return folder.write(name, content);
    },
  };
  try {
    const check = await write(noting);
    const files = await filesOf(folder);
    return resultOf(
      "",
      files.filter(({ name }) => written.has(name)),
      check,
    );
  } catch (error) {
    // Only what is ours: others may have put files there meanwhile. What cannot be removed is left to the person.
    for (const name of written) await folder.remove(name).catch(() => {});
    throw error;
  }
}

async function describe(id: string, folder: Folder, check: string): Promise<ExportResult> {
  return resultOf(id, await filesOf(folder), check);
}

function resultOf(id: string, files: ExportResult["files"], check: string): ExportResult {
  return { id, files, bytes: sumOf(files), check };
}

async function zipSources(files: Folder, id: string, signal: AbortSignal): Promise<ZipSource[]> {
  const list = await filesOf(files);
  if (list.length === 0) {
    throw new UserError(
      `The export "${id}" is not in the browser's storage any more.`,
      "Export it again.",
    );
  }
  async function* read(name: string) {
    for await (const piece of files.stream(name)) {
      throwIfAborted(signal);
      yield piece;
    }
  }
  return list.map(({ name, bytes }) => ({ name, bytes, stream: () => read(name) }));
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
  const beside = (await filesOf(model)).filter(
    ({ name }) => !/\.(safetensors|bin|gguf)$/.test(name),
  );
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
