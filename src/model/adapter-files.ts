// An adapter as files: PEFT's two, in and out. They are the form in which every checkpoint is saved.
import type { Folder } from "../base/folder.ts";
import { invariant, UserError } from "../base/error.ts";
import { decodeFloats } from "../formats/float.ts";
import {
  type AdapterConfig,
  type AdapterTarget,
  adapterTensorName,
  pairAdapterTensors,
  parseAdapterConfig,
  selectTargets,
} from "../formats/peft.ts";
import {
  encodeSafetensors,
  parseSafetensorsHeader,
  safetensorsHeaderBytes,
  type TensorEntry,
} from "../formats/safetensors.ts";
import type { LoraMatrices } from "./adapter.ts";
import type { LinearShape } from "./linears.ts";

export const ADAPTER_WEIGHTS = "adapter_model.safetensors";
export const ADAPTER_CONFIG = "adapter_config.json";

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
  return encodeSafetensors(tensors, { format: "pt" });
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
      const { dtype, name } = entry;
      if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
        throw new UserError(
          `${place}: ${name} is ${dtype}; an adapter is read in F32, F16 or BF16.`,
          "Save the adapter again in one of these types.",
        );
      }
      const values = decodeFloats(bytes.subarray(entry.start, entry.end), dtype);
      return [name, { entry, values }];
    }),
  );
}

export interface AdapterFiles {
  readonly config: AdapterConfig;
  readonly targets: readonly AdapterTarget[];
  readonly matrices: ReadonlyMap<string, LoraMatrices>;
}

/** Reads a PEFT folder for a model with these linear maps. Every shape is checked. */
export async function readAdapterFolder(
  folder: Folder,
  linears: readonly LinearShape[],
): Promise<AdapterFiles> {
  for (const name of [ADAPTER_CONFIG, ADAPTER_WEIGHTS]) {
    if ((await folder.size(name)) !== undefined) continue;
    throw new UserError(
      `${folder.path} has no ${name}.`,
      `Give the folder of a PEFT adapter: ${ADAPTER_CONFIG} and ${ADAPTER_WEIGHTS}.`,
    );
  }
  const configPlace = `${folder.path}/${ADAPTER_CONFIG}`;
  const config = parseAdapterConfig(await folder.readText(ADAPTER_CONFIG), configPlace);
  const targets = selectTargets(config, modulesOf(linears), configPlace);
  const place = `${folder.path}/${ADAPTER_WEIGHTS}`;
  const tensors = decodeTensors(await folder.read(ADAPTER_WEIGHTS), place);
  return { config, targets, matrices: collectMatrices(tensors, targets, linears, place) };
}

/** The modules an adapter may act on. */
export function modulesOf(linears: readonly LinearShape[]): { path: string; isHead: boolean }[] {
  return linears.flatMap(({ label, segments }) =>
    segments.map(({ path }) => ({ path, isHead: label === "head" })),
  );
}

/** Matches tensors to targets, one to one, and checks their shapes and that all numbers are finite. */
export function collectMatrices(
  tensors: ReadonlyMap<string, { entry: TensorEntry; values: Float32Array }>,
  targets: readonly AdapterTarget[],
  linears: readonly LinearShape[],
  place: string,
): Map<string, LoraMatrices> {
  const sizes = new Map(
    linears.flatMap(({ inputs, segments }) =>
      segments.map(({ path, rows }) => [path, { inputs, rows }] as const),
    ),
  );
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

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
