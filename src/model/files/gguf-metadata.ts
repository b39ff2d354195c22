// Reads the keys of one architecture from a GGUF file's metadata, or refuses by the key's name.
import { UserError } from "../../base/error.ts";
import type { GgufMetadata, GgufValue } from "../../formats/gguf.ts";

export interface MetadataReader {
  readonly place: string;
  /** What stands under "llama.KEY", say. */
  value(key: string): GgufValue | undefined;
  /** f32s come as the decimal that their author wrote: 1e-5, not 9.99999974737875e-6. */
  number(key: string): number;
  optionalNumber(key: string): number | undefined;
  /** A positive whole number; one for each layer is taken where all are equal. */
  size(key: string): number;
  /** The same, or undefined for none or zero. */
  optionalSize(key: string): number | undefined;
  unsupported(key: string): UserError;
}

export function metadataReader(
  metadata: GgufMetadata,
  architecture: string,
  place: string,
): MetadataReader {
  const full = (key: string) => `${architecture}.${key}`;
  const value = (key: string) => metadata.get(full(key));
  /** One value for all layers, where it is given for each. */
  const single = (key: string): GgufValue | undefined => {
    const found = value(key);
    const isPerLayer = ArrayBuffer.isView(found) || Array.isArray(found);
    if (!isPerLayer || found.length === 0) return found;
    const [first] = found;
    return found.every((one: GgufValue) => one === first) && typeof first === "number"
      ? first
      : found;
  };
  const describe = (key: string): string => {
    const found = value(key);
    if (found === undefined) return `has no ${full(key)}`;
    return `says ${full(key)} = ${typeof found === "object" ? "a list" : JSON.stringify(String(found))}`;
  };
  const refuse = (key: string, needed: string) =>
    new UserError(
      `${place} ${describe(key)}, where ${needed} is needed.`,
      "Get the file again from where it was made, or choose another conversion of the model.",
    );
  const optionalNumber = (key: string): number | undefined => {
    const found = single(key);
    if (found === undefined) return undefined;
    if (typeof found === "number" && Number.isFinite(found)) return shortestDecimal(found);
    throw refuse(key, "a number");
  };
  const optionalSize = (key: string): number | undefined => {
    const found = single(key);
    if (found === undefined || found === 0) return undefined;
    if (typeof found === "number" && Number.isSafeInteger(found) && found > 0) return found;
    throw refuse(key, "a positive whole number");
  };
  return {
    place,
    value,
    optionalNumber,
    optionalSize,
    number(key) {
      const found = optionalNumber(key);
      if (found === undefined) throw refuse(key, "a number");
      return found;
    },
    size(key) {
      const found = optionalSize(key);
      if (found === undefined) throw refuse(key, "a positive whole number");
      return found;
    },
    unsupported: (key) =>
      new UserError(
        `${place} ${describe(key)}, which Hone does not support.`,
        "Choose another model.",
      ),
  };
}

/** The shortest decimal that is the same f32. Numbers that are no f32 stay as they are. */
export function shortestDecimal(value: number): number {
  if (Math.fround(value) !== value) return value;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
