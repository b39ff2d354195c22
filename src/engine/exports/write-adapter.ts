// An adapter of any form as PEFT's two files, with its numbers in their own type or in a chosen one.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import { decodeFloats, encodeFloats, type FloatDtype } from "../../formats/float.ts";
import { type AdapterConfig, serializeAdapterConfig } from "../../formats/peft.ts";
import { adapterTensorName, pairAdapterTensors } from "../../formats/peft-tensors.ts";
import { encodeSafetensors } from "../../formats/safetensors.ts";
import { elementCount } from "../../gpu/tensor.ts";
import { requireFloat } from "../../model/files/adapter-files.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../../model/files/adapter-folder.ts";
import type { SourceTensor } from "../../model/files/checkpoint-files.ts";
import { damaged } from "./model-output.ts";

export interface AdapterParts {
  readonly config: AdapterConfig;
  /** Whole pairs, under names that `pairAdapterTensors` takes. */
  readonly tensors: readonly SourceTensor[];
  /** Of the tensors, for errors. */
  readonly source: string;
  /** Type to write in; each tensor's own, if not given. */
  readonly dtype?: FloatDtype;
}

/** Writes both files and reads the weights back; returns what was compared, in a sentence. */
export async function writeAdapter(parts: AdapterParts, output: Folder): Promise<string> {
  const { config, tensors, source } = parts;
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const pairs = pairAdapterTensors(byName.keys(), source);
  const written = new Map<string, Awaited<ReturnType<typeof cast>>>();
  for (const { modulePath, lora_A, lora_B } of pairs) {
    for (const [part, name] of [
      ["lora_A", lora_A],
      ["lora_B", lora_B],
    ] as const) {
      const tensor = byName.get(name);
      if (tensor) written.set(adapterTensorName(modulePath, part), await cast(tensor, parts));
    }
  }
  const bytes = encodeSafetensors(written, { format: "pt" });
  await output.write(ADAPTER_CONFIG, serializeAdapterConfig(config));
  await output.write(ADAPTER_WEIGHTS, bytes);
  const copy = await output.read(ADAPTER_WEIGHTS);
  if (copy.length !== bytes.length || copy.some((byte, i) => byte !== bytes[i])) {
    throw damaged(`${output.path}/${ADAPTER_WEIGHTS}`);
  }
  return `${pairs.length} pairs of matrices read back equal to what was converted`;
}

async function cast(tensor: SourceTensor, { dtype, source }: AdapterParts) {
  const own = requireFloat(tensor, source);
  const raw = await tensor.read(0, elementCount(tensor.shape));
  const values = decodeFloats(raw, own);
  if (!values.every(Number.isFinite)) {
    throw new UserError(
      `${source}: ${tensor.name} holds numbers that are not finite.`,
      "Use an earlier checkpoint; this training run had broken down.",
    );
  }
  if (!dtype || dtype === own) return { dtype: own, shape: tensor.shape, bytes: raw };
  const bytes = encodeFloats(values, dtype);
  if (!decodeFloats(bytes, dtype).every(Number.isFinite)) {
    throw new UserError(
      `${source}: ${tensor.name} holds numbers that are too large for ${dtype}.`,
      "Keep them in float32, with --fp32.",
    );
  }
  return { dtype, shape: tensor.shape, bytes };
}
