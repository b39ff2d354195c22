// Adapter and merged weights as folders of their own, each read again after it was written.
import type { Folder } from "../base/folder.ts";
import { UserError } from "../base/error.ts";
import type { ExportSummary, MergeRequest } from "../engine.ts";
import type { AdapterTarget } from "../formats/peft.ts";
import type { FloatDtype } from "../formats/float.ts";
import { parseJsonObject } from "../formats/json.ts";
import { pairAdapterTensors } from "../formats/peft.ts";
import type { Gpu } from "../gpu/device.ts";
import { Checksum } from "../export/checksum.ts";
import { writeMergedWeights, type WrittenTensor } from "../export/merge.ts";
import {
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  decodeTensors,
  modulesOf,
  readAdapterFolder,
} from "../model/adapter-files.ts";
import type { Architecture } from "../model/architecture.ts";
import { openModelFiles, readSlices } from "../model/checkpoint-files.ts";
import { allLinears } from "../model/linears.ts";
import { CHAT_TEMPLATE } from "./adapter-companions.ts";
import { MANIFEST, openModelFolder, readManifest } from "./model-folder.ts";

const ADAPTER_FILES = [ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST, CHAT_TEMPLATE, "README.md"];
const DEFAULT_SHARD_BYTES = 5e9; // Hugging Face's default
// Of a base model's folder, what is not weights goes along: configs, tokenizer, code, licence.
const WEIGHTS =
  /\.(safetensors|bin|pth?|gguf|onnx|onnx_data|h5|msgpack)$|\.index\.json$|^README\.md$/;
const DTYPES = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const;

/** Copies a checkpoint's adapter without what only resuming needs. */
export async function exportAdapter(checkpoint: Folder, output: Folder): Promise<ExportSummary> {
  for (const name of [ADAPTER_CONFIG, ADAPTER_WEIGHTS]) {
    if ((await checkpoint.size(name)) !== undefined) continue;
    throw new UserError(
      `${checkpoint.path} has no ${name}; it is no checkpoint of Hone.`,
      "Give a folder such as work_dirs/my-run/iter_300.",
    );
  }
  for (const name of ADAPTER_FILES) {
    if ((await checkpoint.size(name)) === undefined) continue;
    await output.write(name, await checkpoint.read(name));
  }
  const place = `${output.path}/${ADAPTER_WEIGHTS}`;
  const tensors = decodeTensors(await output.read(ADAPTER_WEIGHTS), place);
  const source = await checkpoint.read(ADAPTER_WEIGHTS);
  const copy = await output.read(ADAPTER_WEIGHTS);
  if (source.some((byte, i) => byte !== copy[i])) throw damaged(place);
  const pairs = pairAdapterTensors(tensors.keys(), place).length;
  return {
    files: await filesOf(output),
    check: `${pairs} pairs of matrices read back equal to the checkpoint's`,
  };
}

export async function merge(gpu: Gpu, request: MergeRequest): Promise<ExportSummary> {
  const { model, adapter, output } = request;
  refuseSameFolder(model, output);
  const opened = await openModelFolder(model);
  const { architecture } = opened;
  const { targets, matrices } = await readAdapterFolder(adapter, allLinears(architecture));
  refuseTiedHead(model, architecture, targets);
  const manifest = await readManifest(adapter);
  const dtype = request.dtype && DTYPES[request.dtype];
  const written = await writeMergedWeights(
    {
      gpu,
      files: opened.files,
      targets,
      matrices,
      dtype,
      rounded: new Set(request.base === "nf4" ? roundedModules(architecture) : []),
      doubleQuant: manifest?.doubleQuant ?? true,
      maxShardBytes: request.maxShardBytes ?? DEFAULT_SHARD_BYTES,
      onProgress: request.onProgress,
    },
    output,
  );
  await writeCompanions(model, adapter, output, dtype);
  await checkMerged(output, written);
  return {
    files: await filesOf(output),
    check: `${written.length} tensors read back equal to what was computed, ${targets.length} of them merged`,
  };
}

/** Loading for training rounds the maps of the blocks, adapted or not; never the head. */
function roundedModules(architecture: Architecture): string[] {
  return modulesOf(allLinears(architecture)).flatMap(({ path, isHead }) => (isHead ? [] : [path]));
}

/** A head in the file is not read where the embeddings are tied, so a change of it would be lost. */
function refuseTiedHead(
  { path }: Folder,
  { family, hasTiedEmbeddings }: Architecture,
  targets: readonly AdapterTarget[],
): void {
  if (!hasTiedEmbeddings || targets.every((target) => target.path !== family.head)) return;
  throw new UserError(
    `The adapter acts on ${family.head}, and ${path} has no such weight of its own: embeddings and head are one tensor there.`,
    "Train without the head among target_modules, or keep the adapter unmerged.",
  );
}

async function writeCompanions(
  model: Folder,
  adapter: Folder,
  output: Folder,
  dtype: FloatDtype | undefined,
): Promise<void> {
  for (const name of await model.list()) {
    if (WEIGHTS.test(name) || name.startsWith(".") || (await model.size(name)) === undefined) {
      continue;
    }
    await output.write(name, await model.read(name));
  }
  if (dtype) {
    const config = parseJsonObject(await model.readText("config.json"), "config.json");
    const named = Object.entries(DTYPES).find(([, type]) => type === dtype)?.[0];
    config["dtype" in config ? "dtype" : "torch_dtype"] = named;
    await output.write("config.json", `${JSON.stringify(config, null, 2)}\n`);
  }
  // So that chat renders prompts as training did.
  if ((await adapter.size(MANIFEST)) !== undefined) {
    await output.write(MANIFEST, await adapter.read(MANIFEST));
  }
}

async function checkMerged(output: Folder, written: readonly WrittenTensor[]): Promise<void> {
  const files = await openModelFiles(output);
  for (const { name, file, shape, checksum } of written) {
    const found = files.tensors.get(name);
    if (found?.file !== file || found.entry.shape.join() !== shape.join()) {
      throw damaged(`${output.path}/${file}: ${name}`);
    }
    const actual = new Checksum();
    for await (const { bytes } of readSlices(output, found)) actual.add(bytes);
    if (actual.value !== checksum) throw damaged(`${output.path}/${file}: ${name}`);
  }
}

function refuseSameFolder(model: Folder, output: Folder): void {
  if (model.path.replace(/\/+$/, "") !== output.path.replace(/\/+$/, "")) return;
  throw new UserError(
    `The output folder ${output.path} is the base model's own.`,
    "Choose another folder for the merged weights.",
  );
}

function damaged(place: string): UserError {
  return new UserError(
    `${place} does not read back as it was written.`,
    "Check the disk and export again.",
  );
}

async function filesOf(folder: Folder): Promise<{ name: string; bytes: number }[]> {
  const files: { name: string; bytes: number }[] = [];
  for (const name of await folder.list()) {
    const bytes = await folder.size(name);
    if (bytes !== undefined) files.push({ name, bytes });
  }
  return files;
}
