// An adapter for a model, in and out: PEFT's two files, the form in which every checkpoint is saved, and what
// adapter-folder.ts takes for them.
import type { Folder } from "../../base/folder.ts";
import { invariant, UserError } from "../../base/error.ts";
import { decodeFloats, type FloatDtype } from "../../formats/float.ts";
import { type AdapterConfig, type AdapterTarget, selectTargets } from "../../formats/peft.ts";
import { adapterTensorName, baseTensorOf, pairAdapterTensors } from "../../formats/peft-tensors.ts";
import {
  compareTensors,
  encodeSafetensors,
  parseSafetensorsHeader,
  safetensorsHeader,
  safetensorsHeaderBytes,
  type TensorEntry,
} from "../../formats/safetensors.ts";
import { elementCount } from "../../gpu/tensor.ts";
import type { LoraMatrices } from "../adapter.ts";
import { ADAPTER_CONFIG, openAdapterFolder } from "./adapter-folder.ts";
import type { Architecture } from "../architecture.ts";
import {
  isFloatTensor,
  type ModelFiles,
  readSlices,
  type SourceTensor,
} from "./checkpoint-files.ts";
import { allLinears, type LinearShape } from "../linears.ts";

const METADATA = { format: "pt" }; // as PEFT writes it

/** Matrices by module path to the bytes of a safetensors file in f32, under PEFT's names. */
export function encodeMatrices(
  matrices: ReadonlyMap<string, LoraMatrices>,
  targets: readonly AdapterTarget[],
  prefix = "",
): Uint8Array<ArrayBuffer> {
  const tensors = new Map<string, { dtype: "F32"; shape: number[]; bytes: Uint8Array }>();
  for (const { path, rank } of targets) {
    const found = matrices.get(path);
    invariant(found !== undefined, () => `no matrices for ${path}`);
    const { a, b } = found;
    const add = (part: "lora_A" | "lora_B", shape: number[], values: Float32Array) =>
      tensors.set(prefix + adapterTensorName(path, part), {
        dtype: "F32",
        shape,
        bytes: bytesOf(values),
      });
    add("lora_A", [rank, a.length / rank], a);
    add("lora_B", [b.length / rank, rank], b);
  }
  return encodeSafetensors(tensors, METADATA);
}

/** Bytes of the file that `encodeMatrices` makes of these targets, and the numbers in it. */
export function adapterFileBytes(
  targets: readonly AdapterTarget[],
  linears: readonly LinearShape[],
): { bytes: number; parameters: number } {
  const sizes = sizesOf(linears);
  const tensors = targets.flatMap(({ path, rank }) => {
    const size = sizes.get(path);
    invariant(size !== undefined, () => `no module ${path}`);
    return [
      {
        name: adapterTensorName(path, "lora_A"),
        dtype: "F32",
        shape: [rank, size.inputs],
      } as const,
      { name: adapterTensorName(path, "lora_B"), dtype: "F32", shape: [size.rows, rank] } as const,
    ];
  });
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const header = safetensorsHeader(tensors.toSorted(compareTensors), METADATA);
  return { bytes: header.length + 4 * parameters, parameters };
}

/** Parses a whole safetensors file of floats: name to shape and f32 values. */
export function decodeTensors(
  bytes: Uint8Array<ArrayBuffer>,
  place: string,
): Map<string, { entry: TensorEntry; values: Float32Array<ArrayBuffer> }> {
  safetensorsHeaderBytes(bytes, bytes.length, place);
  const { tensors } = parseSafetensorsHeader(bytes, bytes.length, place);
  return new Map(
    tensors.map((entry) => {
      const bytesOfEntry = bytes.subarray(entry.start, entry.end);
      const values = decodeFloats(bytesOfEntry, requireFloat(entry, place));
      return [entry.name, { entry, values }];
    }),
  );
}

/** Refuses a tensor that is none of an adapter's. */
export function requireFloat(
  { name, dtype }: Pick<TensorEntry, "name" | "dtype">,
  place: string,
): FloatDtype {
  if (dtype === "F32" || dtype === "F16" || dtype === "BF16") return dtype;
  throw new UserError(
    `${place}: ${name} is ${dtype}; an adapter is read in F32, F16 or BF16.`,
    "Save the adapter again in one of these types.",
  );
}

interface AdapterTensor {
  readonly entry: { readonly shape: readonly number[] };
  readonly values: Float32Array;
}

export interface AdapterFiles {
  readonly config: AdapterConfig;
  readonly targets: readonly AdapterTarget[];
  readonly matrices: ReadonlyMap<string, LoraMatrices>;
}

/** The model that an adapter is for. */
interface Base {
  readonly architecture: Architecture;
  readonly files: ModelFiles;
}

/**
 * Reads an adapter's folder for a base model. Every shape is checked. PEFT saves the embeddings and the head
 * along with an adapter of one of them; those must be the base's own.
 */
export async function readAdapterFolder(folder: Folder, base: Base): Promise<AdapterFiles> {
  const linears = allLinears(base.architecture);
  const { config, configPlace, place, tensors: found } = await openAdapterFolder(folder);
  const targets = selectTargets(config, modulesOf(linears), configPlace);
  const tensors = new Map<string, AdapterTensor>();
  for (const tensor of found) {
    const repeated = repeatedTensor(tensor.name, base);
    if (repeated) {
      await refuseOtherWeights(tensor, repeated);
    } else {
      const dtype = requireFloat(tensor, place);
      const values = decodeFloats(await tensor.read(0, elementCount(tensor.shape)), dtype);
      tensors.set(tensor.name, { entry: tensor, values });
    }
  }
  return { config, targets, matrices: collectMatrices(tensors, targets, linears, place) };
}

/** The base's tensor that an adapter's file holds once more, if it is one. */
function repeatedTensor(name: string, { architecture, files }: Base): SourceTensor | undefined {
  const { family, hasTiedEmbeddings } = architecture;
  const own = baseTensorOf(name);
  const isTiedHead = hasTiedEmbeddings && own === `${family.head}.weight`;
  return files.tensors.get(isTiedHead ? `${family.embedding}.weight` : (own ?? ""));
}

// As two roundings to bf16 or f16 may leave two copies of one weight.
const ROUNDING_RELATIVE = 2 ** -7;
const ROUNDING_ABSOLUTE = 2 ** -24;

/** What an adapter file repeats of the base must be equal to it, but for its type. */
async function refuseOtherWeights(copy: SourceTensor, base: SourceTensor): Promise<void> {
  const isSame = async (): Promise<boolean> => {
    if (copy.shape.join() !== base.shape.join() || !isFloatTensor(base)) return false;
    const dtype = requireFloat(copy, copy.place);
    for await (const { offset, bytes } of readSlices(base)) {
      const expected = decodeFloats(bytes, base.dtype);
      const found = decodeFloats(await copy.read(offset, offset + expected.length), dtype);
      const differs = expected.some((value, i) => {
        const slack = ROUNDING_RELATIVE * Math.abs(value) + ROUNDING_ABSOLUTE;
        return !(Math.abs((found[i] ?? Number.NaN) - value) <= slack);
      });
      if (differs) return false;
    }
    return true;
  };
  if (await isSame()) return;
  throw new UserError(
    `${copy.place}: ${copy.name} is another weight than the base model's ${base.name} in ${base.place}.`,
    "Use the base model that the adapter was trained on. Hone reads no embeddings or heads that were resized or trained whole.",
  );
}

/** The modules an adapter may act on. */
export function modulesOf(linears: readonly LinearShape[]): { path: string; isHead: boolean }[] {
  return linears.flatMap(({ label, segments }) =>
    segments.map(({ path }) => ({ path, isHead: label === "head" })),
  );
}

/** Matches tensors to targets, one to one, and checks their shapes and that all numbers are finite. */
export function collectMatrices(
  tensors: ReadonlyMap<string, AdapterTensor>,
  targets: readonly AdapterTarget[],
  linears: readonly LinearShape[],
  place: string,
): Map<string, LoraMatrices> {
  const sizes = sizesOf(linears);
  const pairs = new Map(
    pairAdapterTensors(tensors.keys(), place).map((pair) => [pair.modulePath, pair]),
  );
  const matrices = new Map<string, LoraMatrices>();
  for (const { path, rank } of targets) {
    const pair = pairs.get(path);
    const size = sizes.get(path);
    if (!pair || !size) {
      throw new UserError(
        `${place} has no tensors for ${path}, which ${ADAPTER_CONFIG} targets.`,
        "Check that the two files belong together.",
      );
    }
    pairs.delete(path);
    const take = (name: string, shape: readonly [number, number]): Float32Array => {
      const found = tensors.get(name);
      if (!found || found.entry.shape.join() !== shape.join()) {
        throw new UserError(
          `${place}: ${name} is [${found?.entry.shape.join(", ")}]; the model and ${ADAPTER_CONFIG} call for [${shape.join(", ")}].`,
          "Use the adapter with the base model that it was trained on.",
        );
      }
      if (!found.values.every(Number.isFinite)) {
        throw new UserError(
          `${place}: ${name} holds numbers that are not finite.`,
          "Use an earlier checkpoint; this training run had broken down.",
        );
      }
      return found.values;
    };
    matrices.set(path, {
      a: take(pair.lora_A, [rank, size.inputs]),
      b: take(pair.lora_B, [size.rows, rank]),
    });
  }
  const [extra] = pairs.keys();
  if (extra !== undefined) {
    throw new UserError(
      `${place} has tensors for ${extra}, which is no target of ${ADAPTER_CONFIG}.`,
      "Use the adapter with the base model that it was trained on.",
    );
  }
  return matrices;
}

/** Of each module. */
function sizesOf(
  linears: readonly LinearShape[],
): ReadonlyMap<string, { readonly inputs: number; readonly rows: number }> {
  return new Map(
    linears.flatMap(({ inputs, segments }) =>
      segments.map(({ path, rows }) => [path, { inputs, rows }] as const),
    ),
  );
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
