// A base model, or an adapter, in another form: plain Hugging Face weights, or a Llama's names.
import type { ConvertAdapterRequest, ConvertRequest, ExportSummary } from "../../engine.ts";
import { asLlama, llamaAdapter, llamaConfig, llamaFiles } from "../../export/llama-form.ts";
import { writeWeights } from "../../export/weights.ts";
import { isJsonObject } from "../../formats/json.ts";
import { serializeAdapterConfig } from "../../formats/peft.ts";
import {
  decodeTensors,
  encodeMatrices,
  readAdapterFolder,
} from "../../model/files/adapter-files.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../../model/files/adapter-folder.ts";
import type { ModelFiles } from "../../model/files/checkpoint-files.ts";
import { allLinears } from "../../model/linears.ts";
import { MANIFEST, type ModelFolder, openModelFolder } from "../model-folder.ts";
import { type Companion, jsonText, tokenizerCompanions } from "../model-source.ts";
import {
  checkWritten,
  damaged,
  DEFAULT_SHARD_BYTES,
  DTYPES,
  filesOf,
  refuseSameFolder,
  writeCompanions,
} from "./model-output.ts";

/** Writes a base as a Hugging Face folder of plain weights, tensor by tensor. */
export async function convertModel(request: ConvertRequest): Promise<ExportSummary> {
  const { model, output, form, maxShardBytes = DEFAULT_SHARD_BYTES, onProgress, signal } = request;
  refuseSameFolder(model, output);
  const opened = await openModelFolder(model);
  const { files, companions } = form === "llama" ? inLlamaForm(opened) : inOwnForm(opened);
  const dtype = request.dtype ? DTYPES[request.dtype] : opened.source.exportDtype;
  const written = await writeWeights({ files, dtype, maxShardBytes, onProgress, signal }, output);
  await writeCompanions(companions, output, dtype);
  if ((await model.size(MANIFEST)) !== undefined && form === "llama") {
    await output.write(MANIFEST, await model.read(MANIFEST));
  }
  await checkWritten(output, written, signal);
  return {
    files: await filesOf(output),
    check: `${written.length} tensors read back equal to what was converted`,
  };
}

interface Converted {
  readonly files: ModelFiles;
  readonly companions: AsyncIterable<Companion> | Iterable<Companion>;
}

function inOwnForm({ files, source }: ModelFolder): Converted {
  return { files, companions: source.companions() };
}

function inLlamaForm({ files, source, architecture }: ModelFolder): Converted {
  const { tokenizerConfig } = source.tokenizer;
  // The model's own Python code has no place beside a Llama.
  const { auto_map: _, ...config } = isJsonObject(tokenizerConfig) ? tokenizerConfig : {};
  const tokenizer = {
    ...source.tokenizer,
    tokenizerConfig: { ...config, tokenizer_class: "PreTrainedTokenizerFast" },
  };
  return {
    files: llamaFiles(files, architecture),
    companions: [
      { name: "config.json", content: jsonText(llamaConfig(source.config)) },
      ...tokenizerCompanions(tokenizer),
    ],
  };
}

/** Writes an adapter for an InternLM2 model as one for the same model in the form of a Llama. */
export async function convertAdapter(request: ConvertAdapterRequest): Promise<ExportSummary> {
  const { model, adapter, output } = request;
  refuseSameFolder(adapter, output);
  const opened = await openModelFolder(model);
  const { architecture } = opened;
  const { config, targets, matrices } = await readAdapterFolder(adapter, opened);
  const converted = llamaAdapter(architecture, targets, matrices, model.path);
  // Whole paths, and every rank and alpha by itself: no pattern of the old names is left to go wrong.
  const byPath = (of: (target: (typeof converted.targets)[number]) => number, usual: number) =>
    Object.fromEntries(
      converted.targets
        .filter((target) => of(target) !== usual)
        .map((target) => [target.path, of(target)]),
    );
  const names = [...new Set(converted.targets.map(({ path }) => path.split(".").at(-1) ?? path))];
  const llamaNames = allLinears(asLlama(architecture, model.path))
    .flatMap(({ segments }) => segments)
    .filter(({ path }) => names.includes(path.split(".").at(-1) ?? path));
  const isExact = llamaNames.length === converted.targets.length;
  await output.write(
    ADAPTER_CONFIG,
    serializeAdapterConfig({
      ...config,
      // The base it was trained on has other names for its modules.
      baseModel: null,
      revision: null,
      targetModules: isExact ? names.toSorted() : converted.targets.map(({ path }) => path),
      excludeModules: null,
      layersToTransform: null,
      layersPattern: null,
      rankPattern: byPath(({ rank }) => rank, config.rank),
      alphaPattern: byPath(({ alpha }) => alpha, config.alpha),
    }),
  );
  const bytes = encodeMatrices(converted.matrices, converted.targets);
  await output.write(ADAPTER_WEIGHTS, bytes);
  for (const name of [MANIFEST, "chat_template.jinja"]) {
    if ((await adapter.size(name)) !== undefined)
      await output.write(name, await adapter.read(name));
  }
  const place = `${output.path}/${ADAPTER_WEIGHTS}`;
  const copy = await output.read(ADAPTER_WEIGHTS);
  if (copy.length !== bytes.length || copy.some((byte, i) => byte !== bytes[i]))
    throw damaged(place);
  return {
    files: await filesOf(output),
    check: `${decodeTensors(copy, place).size} matrices read back equal to what was converted`,
  };
}
