// The tensors of a model folder, wherever in its safetensors files they lie.
import type { Folder } from "../base/folder.ts";
import { UserError } from "../base/error.ts";
import {
  parseSafetensorsHeader,
  parseSafetensorsIndex,
  safetensorsHeaderBytes,
  type TensorEntry,
} from "../formats/safetensors.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

export interface TensorFile {
  readonly file: string;
  readonly entry: TensorEntry;
}

export interface ModelFiles {
  readonly folder: Folder;
  readonly tensors: ReadonlyMap<string, TensorFile>;
  /** Bytes of all tensors. */
  readonly totalBytes: number;
}

/** Reads the headers, not the weights. Refuses an index that does not match its files. */
export async function openModelFiles(folder: Folder): Promise<ModelFiles> {
  const hasIndex = (await folder.size(INDEX)) !== undefined;
  if (!hasIndex && (await folder.size(SINGLE)) === undefined) {
    const found = await folder.list();
    throw new UserError(
      `${folder.path} has neither ${SINGLE} nor ${INDEX}${found.length === 0 ? "; it is empty or missing" : ""}.`,
      "Give the folder of a Hugging Face model with safetensors weights.",
    );
  }
  const index = hasIndex
    ? parseSafetensorsIndex(await folder.readText(INDEX), `${folder.path}/${INDEX}`)
    : undefined;
  const files = index ? [...new Set(index.weightMap.values())].toSorted() : [SINGLE];

  const tensors = new Map<string, TensorFile>();
  let totalBytes = 0;
  for (const file of files) {
    for (const entry of await readHeader(folder, file)) {
      const expected = index?.weightMap.get(entry.name);
      if (index && expected !== file) continue; // a copy that the index does not mean
      tensors.set(entry.name, { file, entry });
      totalBytes += entry.end - entry.start;
    }
  }
  for (const [name, file] of index?.weightMap ?? []) {
    if (tensors.has(name)) continue;
    throw new UserError(
      `${folder.path}/${INDEX} says that ${file} holds ${name}, and it does not.`,
      "Download the model again.",
    );
  }
  return { folder, tensors, totalBytes };
}

async function readHeader(folder: Folder, file: string): Promise<readonly TensorEntry[]> {
  const place = `${folder.path}/${file}`;
  const fileBytes = await folder.size(file);
  if (fileBytes === undefined) {
    throw new UserError(`${place} is missing.`, "Download the model again.");
  }
  const first = await folder.read(file, 0, Math.min(8, fileBytes));
  const headerBytes = safetensorsHeaderBytes(first, fileBytes, place);
  return parseSafetensorsHeader(await folder.read(file, 0, headerBytes), fileBytes, place).tensors;
}

/** A tensor that the model must have, of the shape it must have, in a float type. */
export function requireTensor(
  { folder, tensors }: ModelFiles,
  name: string,
  shape: readonly number[],
): TensorFile {
  const found = tensors.get(name);
  if (!found) {
    throw new UserError(
      `${folder.path} has no tensor ${name}, which its config.json calls for.`,
      "Check that config.json and the weights are of the same model, or download it again.",
    );
  }
  const { entry, file } = found;
  if (entry.shape.join() !== shape.join()) {
    throw new UserError(
      `${folder.path}/${file}: ${name} is [${entry.shape.join(", ")}]; config.json calls for [${shape.join(", ")}].`,
      "Check that config.json and the weights are of the same model, or download it again.",
    );
  }
  if (!["F32", "F16", "BF16"].includes(entry.dtype)) {
    throw new UserError(
      `${folder.path}/${file}: ${name} is ${entry.dtype}; Hone reads F32, F16 and BF16.`,
      "Choose the unquantized model.",
    );
  }
  return found;
}

/** How much of a file is in memory at a time, in bytes. A multiple of an NF4 block in any type. */
const SLICE_BYTES = 16 * 2 ** 20;

/** Reads a tensor in slices, in order, each with its offset in the tensor. */
export async function* readSlices(
  folder: Folder,
  { file, entry }: TensorFile,
): AsyncGenerator<{ offset: number; bytes: Uint8Array<ArrayBuffer> }> {
  for (let start = entry.start; start < entry.end; start += SLICE_BYTES) {
    const end = Math.min(start + SLICE_BYTES, entry.end);
    yield { offset: start - entry.start, bytes: await folder.read(file, start, end) };
  }
}
