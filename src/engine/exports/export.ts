// Adapter and merged weights as folders of their own, each read again after it was written.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import type { AdapterExportOptions, ExportSummary, MergeRequest } from "../../engine.ts";
import type { AdapterTarget } from "../../formats/peft.ts";
import { pairAdapterTensors } from "../../formats/peft-tensors.ts";
import type { Gpu } from "../../gpu/device.ts";
import { writeWeights } from "../../export/weights.ts";
import { modulesOf, readAdapterFolder, requireFloat } from "../../model/files/adapter-files.ts";
import {
  ADAPTER_CONFIG,
  ADAPTER_WEIGHTS,
  openAdapterFolder,
} from "../../model/files/adapter-folder.ts";
import type { Architecture } from "../../model/architecture.ts";
import { openTensorFile } from "../../model/files/checkpoint-files.ts";
import { allLinears } from "../../model/linears.ts";
import { CHAT_TEMPLATE } from "./adapter-companions.ts";
import { refuseOtherConfig } from "./checkpoint-match.ts";
import { MANIFEST, openModelFolder, readManifest } from "../model-folder.ts";
import {
  checkWritten,
  damaged,
  DEFAULT_SHARD_BYTES,
  DTYPES,
  filesOf,
  refuseSameFolder,
  writeCompanions,
} from "./model-output.ts";
import { writeAdapter } from "./write-adapter.ts";

const ADAPTER_FILES = [ADAPTER_CONFIG, ADAPTER_WEIGHTS, MANIFEST, CHAT_TEMPLATE, "README.md"];

/**
 * Copies a checkpoint's adapter without what only resuming needs. One in another form (a pickle, mlx-lm's)
 * is written as PEFT's two files, and so is one whose type is asked for.
 */
export async function exportAdapter(
  checkpoint: Folder,
  output: Folder,
  options: AdapterExportOptions = {},
): Promise<ExportSummary> {
  if ((await checkpoint.size(ADAPTER_CONFIG)) === undefined) {
    throw new UserError(
      `${checkpoint.path} has no ${ADAPTER_CONFIG}; it is no checkpoint of Hone and no adapter.`,
      "Give a folder such as work_dirs/my-run/iter_300.",
    );
  }
  if (options.config) await refuseOtherConfig(checkpoint, options.config);
  const { dtype } = options;
  const isOurs = (await checkpoint.size(ADAPTER_WEIGHTS)) !== undefined && dtype === undefined;
  for (const name of ADAPTER_FILES) {
    if ((await checkpoint.size(name)) === undefined) continue;
    if (name === ADAPTER_CONFIG && !isOurs) continue;
    await output.write(name, checkpoint.stream(name));
  }
  const place = `${output.path}/${ADAPTER_WEIGHTS}`;
  if (!isOurs) {
    const { config, place: source, tensors } = await openAdapterFolder(checkpoint);
    const check = await writeAdapter({ config, tensors, source, ...(dtype && { dtype }) }, output);
    return { files: await filesOf(output), check };
  }
  if (!(await isCopy(checkpoint, output, ADAPTER_WEIGHTS))) throw damaged(place);
  const tensors = await openTensorFile(output, ADAPTER_WEIGHTS);
  for (const tensor of tensors) requireFloat(tensor, place);
  const names = tensors.map(({ name }) => name);
  const pairs = pairAdapterTensors(names, place).length;
  return {
    files: await filesOf(output),
    check: `${pairs} pairs of matrices read back equal to the checkpoint's`,
  };
}

/** How much of a file is compared at a time. */
const SLICE_BYTES = 2 ** 22;

async function isCopy(source: Folder, copy: Folder, name: string): Promise<boolean> {
  const bytes = (await source.size(name)) ?? 0;
  if ((await copy.size(name)) !== bytes) return false;
  for (let start = 0; start < bytes; start += SLICE_BYTES) {
    const end = Math.min(start + SLICE_BYTES, bytes);
    const expected = await source.read(name, start, end);
    const found = await copy.read(name, start, end);
    if (expected.some((byte, i) => byte !== found[i])) return false;
  }
  return true;
}

/** Writes the base with the adapter added to its weights, and reads it back. */
export async function merge(gpu: Gpu, request: MergeRequest): Promise<ExportSummary> {
  const { model, adapter, output } = request;
  refuseSameFolder(model, output);
  const opened = await openModelFolder(model);
  const { architecture } = opened;
  const { targets, matrices } = await readAdapterFolder(adapter, opened);
  refuseTiedHead(model, architecture, targets);
  const manifest = await readManifest(adapter);
  const dtype = request.dtype ? DTYPES[request.dtype] : opened.source.exportDtype;
  const written = await writeWeights(
    {
      files: opened.files,
      dtype,
      maxShardBytes: request.maxShardBytes ?? DEFAULT_SHARD_BYTES,
      merge: {
        gpu,
        targets,
        matrices,
        rounded: new Set(request.base === "nf4" ? roundedModules(architecture) : []),
        doubleQuant: manifest?.doubleQuant ?? true,
      },
      onProgress: request.onProgress,
      signal: request.signal,
    },
    output,
  );
  await writeCompanions(opened.source.companions(), output, dtype);
  // So that chat renders prompts as training did.
  if ((await adapter.size(MANIFEST)) !== undefined) {
    await output.write(MANIFEST, await adapter.read(MANIFEST));
  }
  await checkWritten(output, written, request.signal);
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
