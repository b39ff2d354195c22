// Files that the person picked or dropped, as a folder that is only read.
import { UserError } from "../base/error.ts";
import { type Folder, readOnly } from "../base/folder.ts";
import type { LocalFile } from "./api.ts";
import { type Choice, chooseFiles, type Listed } from "../hosts/hub-model-files.ts";

interface ListedFile extends Listed {
  readonly file: File;
}

const CHUNK_BYTES = 4 << 20;

/** The model among what was picked: at the top of it, or in the one folder that was dropped. */
export function chooseLocalFiles(
  name: string,
  files: readonly LocalFile[],
): {
  readonly kind: "model" | "adapter";
  readonly folder: Folder;
  readonly names: readonly string[];
} {
  const listed = files
    .filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")))
    .map(({ path, file }) => ({ name: path.replace(/^\/+/, ""), bytes: file.size, file }));
  const chosen = chooseFiles(listed, commonFolder(listed), name);
  const stored = storedFiles(chosen);
  return { kind: chosen.kind, folder: filesFolder(name, stored), names: [...stored.keys()] };
}

/** A dropped folder comes with its own name, and those above it, in front of all its files. */
function commonFolder(files: readonly Listed[]): string {
  const [first, ...others] = files.map(({ name }) => name.split("/").slice(0, -1));
  const length = others.reduce(
    (common, parts) => Math.min(common, countEqual(parts, first ?? [])),
    first?.length ?? 0,
  );
  return (first ?? []).slice(0, length).join("/");
}

function countEqual(a: readonly string[], b: readonly string[]): number {
  const differs = a.findIndex((part, i) => part !== b[i]);
  return differs < 0 ? a.length : differs;
}

function storedFiles({ files, folder }: Choice<ListedFile>): Map<string, File> {
  return new Map(files.map(({ name, file }) => [storedName(name.slice(folder.length)), file]));
}

/** Only the name of a GGUF file is somebody's own choice; all others are of a list. */
function storedName(name: string): string {
  if (/^[\w.-]+$/.test(name)) return name;
  const plain = name.replaceAll(/[^\w.-]+/g, "-").replace(/^[.-]+/, "");
  return plain === "" ? "model.gguf" : plain.slice(-120);
}

function filesFolder(path: string, files: ReadonlyMap<string, File>): Folder {
  const fileOf = (name: string): File => {
    const file = files.get(name);
    if (file) return file;
    throw new UserError(`${path} has no file ${name}.`, "Choose all files of the model together.");
  };
  const readable = async <T>(name: string, action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      throw new UserError(
        `${path}/${name} could not be read (${error.name}): it was changed, moved or removed after it was chosen.`,
        "Choose the files again.",
        { cause: error },
      );
    }
  };
  const folder: Folder = {
    path,
    list: async () => [...files.keys()].toSorted((a, b) => (a < b ? -1 : 1)),
    size: async (name) => files.get(name)?.size,
    async read(name, start = 0, end = fileOf(name).size) {
      const file = fileOf(name);
      if (start > end || end > file.size) {
        throw new UserError(
          `${path}/${name} has ${file.size} bytes; bytes ${start} to ${end} were asked for.`,
          "The file is cut short: download or copy it again.",
        );
      }
      return new Uint8Array(await readable(name, () => file.slice(start, end).arrayBuffer()));
    },
    async readText(name) {
      return new TextDecoder().decode(await folder.read(name));
    },
    async *stream(name) {
      const { size } = fileOf(name);
      for (let start = 0; start < size; start += CHUNK_BYTES) {
        yield await folder.read(name, start, Math.min(start + CHUNK_BYTES, size));
      }
    },
    ...readOnly(path),
    folder(name) {
      throw new UserError(
        `${path} has no folder ${name}.`,
        "Choose all files of the model together.",
      );
    },
  };
  return folder;
}
