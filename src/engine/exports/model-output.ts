// What every export of full weights does beside writing them: the other files, and reading all back.
import type { Folder } from "../../base/folder.ts";
import { throwIfAborted, UserError } from "../../base/error.ts";
import { Checksum } from "../../export/checksum.ts";
import type { WrittenTensor } from "../../export/weights.ts";
import type { FloatDtype } from "../../formats/float.ts";
import { parseJsonObject } from "../../formats/json.ts";
import { openModelFiles, readSlices } from "../../model/files/checkpoint-files.ts";
import { type Companion, jsonText } from "../model-source.ts";

export const DEFAULT_SHARD_BYTES = 5e9; // Hugging Face's default
export const DTYPES = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const;

/** What stands beside the weights; config.json says their type. */
export async function writeCompanions(
  companions: AsyncIterable<Companion> | Iterable<Companion>,
  output: Folder,
  dtype: FloatDtype | undefined,
): Promise<void> {
  for await (const { name, content } of companions) {
    if (name !== "config.json" || !dtype) {
      await output.write(name, content);
      continue;
    }
    const text = typeof content === "string" ? content : new TextDecoder().decode(content);
    const config = parseJsonObject(text, "config.json");
    const named = Object.entries(DTYPES).find(([, type]) => type === dtype)?.[0];
    config["dtype" in config ? "dtype" : "torch_dtype"] = named;
    await output.write(name, jsonText(config));
  }
}

/** Reads what was written, and compares names, shapes and contents. */
export async function checkWritten(
  output: Folder,
  written: readonly WrittenTensor[],
  signal?: AbortSignal,
): Promise<void> {
  const files = await openModelFiles(output);
  for (const { name, file, shape, checksum } of written) {
    const found = files.tensors.get(name);
    if (found?.place !== `${output.path}/${file}` || found.shape.join() !== shape.join()) {
      throw damaged(`${output.path}/${file}: ${name}`);
    }
    const actual = new Checksum();
    for await (const { bytes } of readSlices(found)) {
      throwIfAborted(signal);
      actual.add(bytes);
    }
    if (actual.value !== checksum) throw damaged(`${output.path}/${file}: ${name}`);
  }
}

export function refuseSameFolder(model: Folder, output: Folder): void {
  if (model.path.replace(/\/+$/, "") !== output.path.replace(/\/+$/, "")) return;
  throw new UserError(
    `The output folder ${output.path} is the base model's own.`,
    "Choose another folder for the output.",
  );
}

export function damaged(place: string): UserError {
  return new UserError(
    `${place} does not read back as it was written.`,
    "Check the disk and export again.",
  );
}

export async function filesOf(folder: Folder): Promise<{ name: string; bytes: number }[]> {
  const files: { name: string; bytes: number }[] = [];
  for (const name of await folder.list()) {
    const bytes = await folder.size(name);
    if (bytes !== undefined) files.push({ name, bytes });
  }
  return files;
}
