// Files of torch.save (.bin, .pt, .pth): a pickle that describes tensors, and their numbers beside it.
//
// The pickle is read by an interpreter that calls nothing (pickle.ts), over a table of names (torch-pickle.ts).
// The numbers stay in the file; each tensor is a way to read a range of them, as one of a safetensors file is.
import { UserError } from "../base/error.ts";
import { unpickle } from "./pickle.ts";
import { describePickled, PickleRefusal, type PickleValue, showText } from "./pickle-values.ts";
import type { SafetensorsDtype } from "./safetensors.ts";
import { LEGACY_MAGIC, openLegacyFile } from "./torch-legacy.ts";
import {
  isPickledTensor,
  type PickledStorage,
  type PickledTensor,
  readStorage,
  storageBytes,
  TORCH_GLOBALS,
} from "./torch-pickle.ts";
import { readTensorRange } from "./torch-view.ts";
import {
  locateEntry,
  type ReadRange,
  readZipDirectory,
  type StoredEntry,
  ZIP_MAGIC,
} from "./zip-read.ts";

/** A tensor of the file, under the name of its key in the saved dict. */
export interface TorchTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Elements [start, end) of the flat tensor, little-endian, in the order of its own elements. */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
}

export interface TorchFile {
  /** Those of `state_dict` (MMEngine, Lightning) or `module` (DeepSpeed) where the file has one; else all. */
  readonly tensors: ReadonlyMap<string, TorchTensor>;
  /** What stands under `meta`, where that is a dict. */
  readonly meta?: ReadonlyMap<PickleValue, PickleValue>;
}

/** A pickle is kilobytes for a model, megabytes for a checkpoint with a history of its losses. */
const PICKLE_LIMIT_BYTES = 64 * 2 ** 20;

/** Whether a file of that name is one of torch.save. */
export function isTorchName(name: string): boolean {
  return /\.(bin|pth?|ckpt)$/i.test(name);
}

/** Reads the description of a file's tensors, not the tensors. `bytes` is its size, `place` names it in errors. */
export async function openTorchFile(
  read: ReadRange,
  bytes: number,
  place: string,
): Promise<TorchFile> {
  const first = await read(0, Math.min(bytes, LEGACY_MAGIC.length));
  const starts = (magic: readonly number[]) => magic.every((byte, i) => first[i] === byte);
  if (starts(ZIP_MAGIC)) return openZipFile(read, bytes, place);
  if (starts(LEGACY_MAGIC)) {
    const storages = new Storages();
    const persistent = (id: PickleValue) => storages.note(id);
    const legacy = { read, bytes, place, persistent, storages: storages.byKey };
    const { root, starts: at } = await openLegacyFile(legacy);
    return collect(root, place, (tensor, start, end) =>
      readTensorRange(read, at.get(tensor.storage.key) ?? 0, tensor, { start, end, place }),
    );
  }
  throw new UserError(
    `${place} is no file of torch.save: it begins with ${describeStart(first)}.`,
    "Check that it was downloaded whole, and is no web page or Git LFS pointer.",
  );
}

function describeStart(first: Uint8Array): string {
  if (first.length === 0) return "nothing; it is empty";
  const letters = String.fromCharCode(...first.subarray(0, 8));
  return /^[\x20-\x7e]+$/.test(letters)
    ? showText(letters)
    : `bytes ${[...first.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}`;
}

/** The storages that a pickle mentions; each mention must say the same. */
class Storages {
  readonly byKey = new Map<string, PickledStorage>();

  note(id: PickleValue): PickledStorage {
    const storage = readStorage(id);
    const known = this.byKey.get(storage.key);
    if (known && (known.dtype !== storage.dtype || known.size !== storage.size)) {
      throw new PickleRefusal(
        `has the storage ${showText(storage.key)} with ${known.size} elements of ${known.dtype ?? "bytes"}, and with ${storage.size} of ${storage.dtype ?? "bytes"}`,
      );
    }
    this.byKey.set(storage.key, storage);
    return storage;
  }
}

async function openZipFile(read: ReadRange, bytes: number, place: string): Promise<TorchFile> {
  const entries = await readZipDirectory(read, bytes, place);
  const { pickle, prefix } = findPickle(entries, place);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const small = async (entry: StoredEntry) => {
    const { start, end } = await locateEntry(read, entry, place);
    return read(start, end);
  };
  await refuseBigEndian(byName.get(`${prefix}byteorder`), small, place);
  const storages = new Storages();
  const inside = `${place} (${pickle.name})`;
  const source = await small(pickle);
  const { value, end } = unpickle(source, inside, {
    globals: TORCH_GLOBALS,
    persistent: (id) => storages.note(id),
  });
  if (end !== source.length) {
    throw new UserError(
      `${inside} has ${source.length - end} bytes after its end.`,
      "Ask for the weights as safetensors.",
    );
  }
  for (const storage of storages.byKey.values()) checkEntry(storage, prefix, byName, place);
  // A local header is read when a tensor is, so that a model of thousands opens at once.
  const located = new Map<string, Promise<{ start: number; end: number }>>();
  return collect(value, place, async (tensor, first, last) => {
    const name = `${prefix}data/${tensor.storage.key}`;
    const entry = byName.get(name);
    if (!entry) throw missingEntry(name, place);
    const found = located.get(name) ?? locateEntry(read, entry, place);
    located.set(name, found);
    return readTensorRange(read, (await found).start, tensor, { start: first, end: last, place });
  });
}

/** One folder holds all, and in it lies data.pkl. */
function findPickle(entries: readonly StoredEntry[], place: string) {
  const pickles = entries.filter(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickle] = pickles;
  const prefix = pickle?.name.replace(/data\.pkl$/, "") ?? "";
  const stray = entries.find(({ name }) => !name.startsWith(prefix));
  if (!pickle || pickles.length > 1 || stray) {
    throw new UserError(
      `${place} is a ZIP archive and no file of torch.save: ${
        stray
          ? `${showText(stray.name)} lies outside ${showText(prefix)}`
          : `it has ${pickles.length} files data.pkl in its folders, where one is needed`
      }.`,
      "Check that the right file was chosen.",
    );
  }
  if (entries.some(({ name }) => name === `${prefix}constants.pkl`)) {
    throw new UserError(
      `${place} is a TorchScript program, not tensors.`,
      "Save the module's state_dict with torch.save.",
    );
  }
  if (pickle.bytes > PICKLE_LIMIT_BYTES) {
    throw new UserError(
      `${place}: ${pickle.name} has ${pickle.bytes} bytes; the limit is ${PICKLE_LIMIT_BYTES}.`,
      "Save the state_dict alone.",
    );
  }
  return { pickle, prefix };
}

async function refuseBigEndian(
  entry: StoredEntry | undefined,
  content: (entry: StoredEntry) => Promise<Uint8Array>,
  place: string,
): Promise<void> {
  if (!entry) return; // before PyTorch 2.1, which wrote as the machine does; they are little-endian
  const order = entry.bytes > 16 ? "" : new TextDecoder().decode(await content(entry));
  if (order === "little") return;
  throw new UserError(
    `${place} holds its numbers in the byte order ${showText(order)}; "little" is read.`,
    "Save it again on a PC.",
  );
}

function checkEntry(
  { key, dtype, size }: PickledStorage,
  prefix: string,
  byName: ReadonlyMap<string, StoredEntry>,
  place: string,
): void {
  const name = `${prefix}data/${key}`;
  const entry = byName.get(name);
  if (!entry) throw missingEntry(name, place);
  const bytes = storageBytes(dtype, size);
  if (entry.bytes === bytes) return;
  throw new UserError(
    `${place}: the entry ${showText(name)} has ${entry.bytes} bytes, and its tensors call for ${bytes}.`,
    "Download or copy the file again.",
  );
}

function missingEntry(name: string, place: string): UserError {
  return new UserError(
    `${place} has no entry ${showText(name)}, which a tensor is in.`,
    "Download or copy the file again.",
  );
}

type ReadTensor = (
  tensor: PickledTensor,
  start: number,
  end: number,
) => Promise<Uint8Array<ArrayBuffer>>;

/** Dicts in dicts are flattened so deep, and so many entries are looked at: a dict can hold itself. */
const DEPTH_LIMIT = 4;
const VISIT_LIMIT = 500_000;

function collect(root: PickleValue, place: string, read: ReadTensor): TorchFile {
  if (!(root instanceof Map)) {
    throw new UserError(
      `${place} holds ${isPickledTensor(root) ? "one tensor" : describePickled(root)}, where a dict of tensors is needed.`,
      "Save the model's state_dict.",
    );
  }
  const inner = ["state_dict", "module"].map((key) => root.get(key));
  const dict = inner.find((value) => value instanceof Map) ?? root;
  const tensors = new Map<string, TorchTensor>();
  let visits = 0;
  const visit = (map: ReadonlyMap<PickleValue, PickleValue>, path: string, depth: number) => {
    for (const [key, value] of map) {
      if (++visits > VISIT_LIMIT) throw tooMuch(place);
      if (typeof key !== "string") continue; // an optimizer's state, by number
      const name = path + key;
      if (value instanceof Map && depth < DEPTH_LIMIT) visit(value, `${name}.`, depth + 1);
      else if (isPickledTensor(value)) {
        if (tensors.has(name)) {
          throw new UserError(`${place} has two tensors ${showText(name)}.`, "Save it again.");
        }
        const { dtype, shape } = value;
        tensors.set(name, { name, dtype, shape, read: (start, end) => read(value, start, end) });
      }
    }
  };
  visit(dict, "", 0);
  const meta = root.get("meta");
  return { tensors, ...(meta instanceof Map && { meta }) };
}

function tooMuch(place: string): UserError {
  return new UserError(
    `${place} has more than ${VISIT_LIMIT} entries in its dicts, counting each as often as it is met.`,
    "Save the model's state_dict alone.",
  );
}
