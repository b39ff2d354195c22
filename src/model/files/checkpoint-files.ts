// The tensors of a model, wherever and however they lie in files, under their Hugging Face names.
//
// What reads weights knows only `SourceTensor`. Safetensors files and PyTorch's pickles are opened here;
// bitsandbytes' 4-bit tensors (bnb-files.ts) and GGUF (gguf-files.ts) come in the same form.
import type { Folder } from "../../base/folder.ts";
import { invariant, UserError } from "../../base/error.ts";
import { decodeFloats, encodeFloats, type FloatDtype } from "../../formats/float.ts";
import {
  parseSafetensorsHeader,
  parseSafetensorsIndex,
  type SafetensorsDtype,
  safetensorsHeaderBytes,
  tensorBytes,
  type TensorEntry,
} from "../../formats/safetensors.ts";
import { isTorchName, openTorchFile } from "../../formats/torch-file.ts";

/** The forms of a model's weights, the one to be preferred first. */
const FORMS = [
  { single: "model.safetensors", index: "model.safetensors.index.json", ending: ".safetensors" },
  { single: "pytorch_model.bin", index: "pytorch_model.bin.index.json", ending: ".bin" },
] as const;

/** A tensor of a model. */
export interface SourceTensor {
  /** With ".weight" or ".bias". */
  readonly name: string;
  readonly shape: readonly number[];
  /** Type of the numbers that `read` gives, which need not be the file's own. */
  readonly dtype: SafetensorsDtype;
  /** "DIR/model.safetensors": for errors. */
  readonly place: string;
  /** Elements [start, end) of the flat tensor, little-endian. They may come to lie in `into`: see Folder. */
  read(
    start: number,
    end: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /** Present where the file holds the tensor as NF4 in blocks of 64 already. */
  readonly nf4?: Nf4Source;
  /** Whether `read` unpacks the numbers from fewer bits, so that f16 holds all they mean. */
  readonly isUnpacked?: boolean;
}

export interface Nf4Source {
  /** Packed codes [start, end) in bytes: two a byte, the even element in the high nibble. */
  readCodes(
    start: number,
    end: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>>;
  /** The f32 scale of every block of 64, double quantization undone. */
  readAbsmax(): Promise<Float32Array<ArrayBuffer>>;
}

/** A tensor whose numbers are floats. */
export type FloatTensor = SourceTensor & { readonly dtype: FloatDtype };

export interface ModelFiles {
  /** The folder's path, for errors. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /** Bytes of all tensors, as `read` gives them. */
  readonly totalBytes: number;
  /** Whether somebody chose which weights are in 4 bits: all others are to stay as they are. */
  readonly isQuantized?: boolean;
}

/** Reads the headers, not the weights. Refuses an index that does not match its files. */
export async function openModelFiles(folder: Folder): Promise<ModelFiles> {
  const { index: indexName, single, ending, hasIndex } = await findWeights(folder);
  const index = hasIndex
    ? parseSafetensorsIndex(await folder.readText(indexName), `${folder.path}/${indexName}`, ending)
    : undefined;
  const files = index ? [...new Set(index.weightMap.values())].toSorted() : [single];

  const tensors = new Map<string, SourceTensor>();
  let totalBytes = 0;
  for (const file of files) {
    for (const tensor of await openTensorFile(folder, file)) {
      const expected = index?.weightMap.get(tensor.name);
      if (index && expected !== file) continue; // a copy that the index does not mean
      tensors.set(tensor.name, tensor);
      totalBytes += tensorBytes(tensor.dtype, tensor.shape) ?? 0;
    }
  }
  for (const [name, file] of index?.weightMap ?? []) {
    if (tensors.has(name)) continue;
    throw new UserError(
      `${folder.path}/${indexName} says that ${file} holds ${name}, and it does not.`,
      "Download the model again.",
    );
  }
  return { path: folder.path, tensors, totalBytes };
}

async function findWeights(folder: Folder) {
  const has = async (name: string) => (await folder.size(name)) !== undefined;
  for (const form of FORMS) {
    const hasIndex = await has(form.index);
    if (hasIndex || (await has(form.single))) return { ...form, hasIndex };
  }
  const found = await folder.list();
  const [{ single, index }, pickled] = FORMS;
  throw new UserError(
    `${folder.path} has neither ${single} nor ${index}, nor ${pickled.single}${found.length === 0 ? "; it is empty or missing" : ""}.`,
    "Give the folder of a Hugging Face model with safetensors weights, or with pytorch_model.bin.",
  );
}

/** The tensors of one file, in the order of its header: safetensors, or by its name one of torch.save. */
export async function openTensorFile(folder: Folder, file: string): Promise<SourceTensor[]> {
  const place = `${folder.path}/${file}`;
  const fileBytes = await folder.size(file);
  if (fileBytes === undefined) {
    throw new UserError(`${place} is missing.`, "Download the model again.");
  }
  if (!isTorchName(file)) {
    return (await readHeader(folder, file, fileBytes)).map((entry) =>
      tensorInFile(folder, file, entry),
    );
  }
  const read = (start: number, end: number) => folder.read(file, start, end);
  const { tensors } = await openTorchFile(read, fileBytes, place);
  return [...tensors.values()].map((tensor) => ({ ...tensor, place }));
}

function tensorInFile(folder: Folder, file: string, entry: TensorEntry): SourceTensor {
  const { name, shape, dtype } = entry;
  return {
    name,
    shape,
    dtype,
    place: `${folder.path}/${file}`,
    read(start, end, into) {
      const from = entry.start + sizeInBytes(dtype, start);
      return folder.read(file, from, from + sizeInBytes(dtype, end - start), into);
    },
  };
}

/** Bytes of so many elements. */
export function sizeInBytes(dtype: SafetensorsDtype, elements: number): number {
  const bytes = tensorBytes(dtype, [elements]);
  invariant(bytes !== undefined, () => `${elements} elements of ${dtype} are no whole bytes`);
  return bytes;
}

async function readHeader(
  folder: Folder,
  file: string,
  fileBytes: number,
): Promise<readonly TensorEntry[]> {
  const place = `${folder.path}/${file}`;
  const first = await folder.read(file, 0, Math.min(8, fileBytes));
  const headerBytes = safetensorsHeaderBytes(first, fileBytes, place);
  return parseSafetensorsHeader(await folder.read(file, 0, headerBytes), fileBytes, place).tensors;
}

/** A tensor that the model must have, of the shape it must have, in a float type. */
export function requireTensor(
  { path, tensors }: ModelFiles,
  name: string,
  shape: readonly number[],
): FloatTensor {
  const found = tensors.get(name);
  if (!found) {
    throw new UserError(
      `${path} has no tensor ${name}, which its config.json calls for.`,
      "Check that config.json and the weights are of the same model, or download it again.",
    );
  }
  if (found.shape.join() !== shape.join()) {
    throw new UserError(
      `${found.place}: ${name} is [${found.shape.join(", ")}]; config.json calls for [${shape.join(", ")}].`,
      "Check that config.json and the weights are of the same model, or download it again.",
    );
  }
  if (!isFloatTensor(found)) {
    throw new UserError(
      `${found.place}: ${name} is ${found.dtype}; Hone reads F32, F16 and BF16.`,
      "Choose the unquantized model, or one quantized to 4 bits by bitsandbytes.",
    );
  }
  return found;
}

/** The tensor in f16 where its numbers come from fewer bits; else as it is. */
export function asHalf(tensor: FloatTensor): FloatTensor {
  if (!tensor.isUnpacked || tensor.dtype !== "F32") return tensor;
  return {
    ...tensor,
    dtype: "F16",
    read: async (start, end) =>
      encodeFloats(decodeFloats(await tensor.read(start, end), "F32"), "F16"),
  };
}

export function isFloatTensor(tensor: SourceTensor): tensor is FloatTensor {
  return ["F32", "F16", "BF16"].includes(tensor.dtype);
}

/** How much of a tensor is in memory at a time, in elements: whole NF4 blocks, at most 16 MiB. */
const SLICE_ELEMENTS = 4 * 2 ** 20;

/** Reads a tensor in slices, in order, each with its offset in the tensor in elements. */
export async function* readSlices(
  tensor: SourceTensor,
): AsyncGenerator<{ offset: number; bytes: Uint8Array<ArrayBuffer> }> {
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  for (let offset = 0; offset < count; offset += SLICE_ELEMENTS) {
    const end = Math.min(offset + SLICE_ELEMENTS, count);
    yield { offset, bytes: await tensor.read(offset, end) };
  }
}
