// A plain model as a folder that transformers and bitsandbytes load in 4 bits, read again after it was
// written.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import type { ExportSummary, QuantizeRequest } from "../../engine.ts";
import { withBnbConfig } from "../../formats/bnb.ts";
import { parseJsonObject } from "../../formats/json.ts";
import type { Gpu } from "../../gpu/device.ts";
import { quantizeToBnb } from "../../export/bnb.ts";
import { writeWeights } from "../../export/weights.ts";
import { allLinears, headLinear } from "../../model/linears.ts";
import { withBnbTensors } from "../../model/files/bnb-files.ts";
import {
  asHalf,
  isFloatTensor,
  type ModelFiles,
  openModelFiles,
  requireTensor,
  type SourceTensor,
} from "../../model/files/checkpoint-files.ts";
import { checkWritten, DEFAULT_SHARD_BYTES, filesOf, refuseSameFolder } from "./model-output.ts";
import { type ModelFolder, openModelFolder } from "../model-folder.ts";

/** Writes every linear map of the blocks as NF4; embeddings, head and norms stay as they are. */
export async function quantizeModel(gpu: Gpu, request: QuantizeRequest): Promise<ExportSummary> {
  const { model, output, doubleQuant = true, quantStorage: storage = "uint8" } = request;
  refuseSameFolder(model, output);
  const opened = await openModelFolder(model);
  const weights = weightsOf(opened);
  const sources = weights.map(({ name, shape }) => requireTensor(opened.files, name, shape));
  const quantized = sources.find(({ nf4 }) => nf4);
  if (quantized) {
    throw new UserError(
      `${quantized.place}: ${quantized.name} is in 4 bits already.`,
      "Give the unquantized model.",
    );
  }
  // Scales that are quantized take a pass over the weights of their own, as long as the writing.
  const share = doubleQuant ? 0.5 : 0;
  const report = (from: number, to: number) => (bytes: number, total: number) => {
    const whole = opened.files.totalBytes;
    request.onProgress?.(Math.round((from + (to - from) * (bytes / total)) * whole), whole);
  };
  const files = withHalves(opened.files, new Set(weights.map(({ name }) => name)));
  const { signal } = request;
  const parts = { gpu, files, weights, doubleQuant, storage, signal };
  const made = await quantizeToBnb({ ...parts, onProgress: report(0, share) });
  try {
    const written = await writeWeights(
      {
        files: made.files,
        dtype: undefined,
        maxShardBytes: request.maxShardBytes ?? DEFAULT_SHARD_BYTES,
        onProgress: report(share, 1),
        signal,
      },
      output,
    );
    const computeDtype = sources[0]?.dtype ?? "BF16";
    for await (const { name, content } of opened.source.companions()) {
      const text = () =>
        typeof content === "string" ? content : new TextDecoder().decode(content);
      const settings = { doubleQuant, storage, computeDtype };
      await output.write(name, name === "config.json" ? withBnbConfig(text(), settings) : content);
    }
    await checkWritten(output, written, signal);
  } finally {
    made.free();
  }
  await checkReadable(output, weights);
  return {
    files: await filesOf(output),
    check: `${weights.length} weights read back in 4 bits, and everything else as it was`,
  };
}

/** The files with what stays unquantized in f16, where its numbers come from fewer bits. */
function withHalves(files: ModelFiles, quantized: ReadonlySet<string>): ModelFiles {
  const tensors = [...files.tensors].map(([name, tensor]): [string, SourceTensor] => [
    name,
    isFloatTensor(tensor) && !quantized.has(name) ? asHalf(tensor) : tensor,
  ]);
  return { ...files, tensors: new Map(tensors) };
}

type Weight = { readonly name: string; readonly shape: readonly [number, number] };

/** The maps of the blocks, module by module. */
function weightsOf({ architecture }: ModelFolder): Weight[] {
  const head = headLinear(architecture).label;
  return allLinears(architecture)
    .filter(({ label }) => label !== head)
    .flatMap(({ segments, inputs }) =>
      segments.map(({ path, rows }): Weight => ({ name: `${path}.weight`, shape: [rows, inputs] })),
    );
}

/** What was written is a model whose weights are NF4. */
async function checkReadable(output: Folder, weights: readonly Weight[]): Promise<void> {
  const place = `${output.path}/config.json`;
  const config = parseJsonObject(await output.readText("config.json"), place);
  const files = await withBnbTensors(await openModelFiles(output), config, place);
  for (const { name, shape } of weights) {
    if (requireTensor(files, name, shape).nf4) continue;
    throw new UserError(
      `${output.path}: ${name} does not read back in 4 bits.`,
      "Check the disk and export again.",
    );
  }
}
