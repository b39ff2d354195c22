// Files that torch.save wrote before PyTorch 1.6, and still does where it is asked to: five pickles one after
// the other, then the numbers of every storage, each after its length.
import { UserError } from "../base/error.ts";
import { TruncatedPickle, unpickle } from "./pickle.ts";
import { describePickled, PickleRefusal, type PickleValue } from "./pickle-values.ts";
import { type PickledStorage, storageBytes, TORCH_GLOBALS } from "./torch-pickle.ts";
import type { ReadRange } from "./zip-read.ts";

/** How such a file begins: protocol 2, and the number 0x1950a86a20f9469cfc6c. */
export const LEGACY_MAGIC = [
  0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e,
];
const VERSION = 1001;

/** Pickles are read from so much of the file, and from more where they need more. */
const FIRST_WINDOW_BYTES = 2 ** 20;
const LAST_WINDOW_BYTES = 64 * 2 ** 20;

const AGAIN = "Download or copy the file again.";

export interface LegacyFile {
  readonly root: PickleValue;
  /** Where each storage's numbers begin, by its key. */
  readonly starts: ReadonlyMap<string, number>;
}

export interface LegacyParts {
  readonly read: ReadRange;
  readonly bytes: number;
  readonly place: string;
  /** Notes the storages that the main pickle mentions. */
  readonly persistent: (id: PickleValue) => PickledStorage;
  /** Those that were noted, by key. */
  readonly storages: ReadonlyMap<string, PickledStorage>;
}

export async function openLegacyFile(parts: LegacyParts): Promise<LegacyFile> {
  const { root, keys, end } = await readPickles(parts);
  return { root, starts: await findStorages(parts, keys, end) };
}

async function readPickles(parts: LegacyParts) {
  for (let window = FIRST_WINDOW_BYTES; ; window *= 8) {
    const known = Math.min(window, parts.bytes, LAST_WINDOW_BYTES);
    const start = await parts.read(0, known);
    try {
      return parsePickles(start, parts);
    } catch (error) {
      const isAll = known === parts.bytes || known === LAST_WINDOW_BYTES;
      if (!(error instanceof TruncatedPickle) || isAll) throw error;
    }
  }
}

function parsePickles(bytes: Uint8Array, { place, persistent }: LegacyParts) {
  let at = LEGACY_MAGIC.length;
  const next = (isMain: boolean): PickleValue => {
    const { value, end } = unpickle(bytes, place, {
      globals: isMain ? TORCH_GLOBALS : new Map(),
      persistent: isMain ? persistent : refusePersistent,
      start: at,
    });
    at = end;
    return value;
  };
  const version = next(false);
  if (version !== VERSION) {
    throw new UserError(
      `${place} is of version ${describePickled(version)} of torch.save's old format; ${VERSION} is read.`,
      "Save it again with a current PyTorch.",
    );
  }
  const system = next(false);
  if (!(system instanceof Map) || system.get("little_endian") !== true) {
    throw new UserError(
      `${place} was not written on a little-endian machine, or does not say so.`,
      "Save it again on a PC.",
    );
  }
  const root = next(true);
  const keys = next(false);
  return { root, keys, end: at };
}

function refusePersistent(): never {
  throw new PickleRefusal("has a persistent id where none belongs");
}

/** The storages follow in the order of the keys: 8 bytes of length in elements, then the numbers. */
async function findStorages(
  { read, bytes, place, storages }: LegacyParts,
  keys: PickleValue,
  start: number,
): Promise<Map<string, number>> {
  const starts = new Map<string, number>();
  let at = start;
  for (const key of Array.isArray(keys) ? keys : []) {
    const storage = typeof key === "string" && !starts.has(key) ? storages.get(key) : undefined;
    if (!storage) {
      throw new UserError(
        `${place} lists the storage ${describePickled(key)}, which no tensor is in or which was listed before.`,
        AGAIN,
      );
    }
    const dataBytes = storageBytes(storage.dtype, storage.size) ?? 0;
    const dataAt = at + 8;
    if (dataAt + dataBytes > bytes) throw cutShort(place, storage, dataAt + dataBytes, bytes);
    const length = new DataView((await read(at, dataAt)).buffer).getBigUint64(0, true);
    if (length !== BigInt(storage.size)) {
      throw new UserError(
        `${place}: the storage ${describePickled(storage.key)} at byte ${at} has ${length} elements, and its tensors say ${storage.size}.`,
        AGAIN,
      );
    }
    starts.set(storage.key, dataAt);
    at = dataAt + dataBytes;
  }
  const missing = [...storages.keys()].find((key) => !starts.has(key));
  if (missing !== undefined || at !== bytes) {
    throw new UserError(
      missing === undefined
        ? `${place} has ${bytes - at} bytes after its last storage.`
        : `${place} has no numbers for the storage ${describePickled(missing)}.`,
      AGAIN,
    );
  }
  return starts;
}

function cutShort(place: string, { key }: PickledStorage, end: number, bytes: number): UserError {
  return new UserError(
    `${place} is cut short: the storage ${describePickled(key)} ends at byte ${end} and the file has ${bytes}.`,
    AGAIN,
  );
}
