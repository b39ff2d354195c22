// What cards say of a model, and whether the engine can read it: from headers, without its weights.
import type { Folder } from "../base/folder.ts";
import { openModelFolder } from "../engine/model-folder.ts";
import { openModelLayout } from "../engine/model-source.ts";
import { isBnb4bit } from "../formats/bnb.ts";
import { type JsonObject, parseJsonObject } from "../formats/json.ts";
import { baseTensorOf, pairAdapterTensors } from "../formats/peft-tensors.ts";
import { chooseChatTemplate } from "../formats/tokenizer.ts";
import { openAdapterFolder } from "../model/files/adapter-folder.ts";
import { readArchitecture } from "../model/architecture.ts";
import { type ModelFiles, openModelFiles, sizeInBytes } from "../model/files/checkpoint-files.ts";
import { readGguf } from "../model/files/gguf-files.ts";
import { checkAllTensors } from "../model/files/required-tensors.ts";
import type { ModelFacts, StoredModel } from "./api.ts";

/** What the engine's own reader finds; it refuses what it cannot use. */
export async function examine(
  kind: "model" | "adapter",
  folder: Folder,
): Promise<Pick<StoredModel, "facts" | "baseModel">> {
  if (kind === "adapter") {
    const baseModel = await checkAdapter(folder);
    return baseModel === undefined ? {} : { baseModel };
  }
  await checkModel(folder);
  return { facts: await readModelFacts(folder) };
}

/** Refuses a model of a kind that Hone cannot compute. Of a folder on the hub it reads little. */
export async function readModelFacts(folder: Folder): Promise<ModelFacts> {
  return (await folder.size("config.json")) === undefined
    ? readGgufFacts(folder)
    : readFolderFacts(folder);
}

async function readFolderFacts(folder: Folder): Promise<ModelFacts> {
  const place = `${folder.path}/config.json`;
  const config = parseJsonObject(await folder.readText("config.json"), place);
  const is4bit = isBnb4bit(config, place);
  const sizes = sizesOf(config, place);
  const weights = storedWeights(await openModelFiles(folder), is4bit);
  return { ...sizes, ...weights, hasChatTemplate: await hasChatTemplate(folder) };
}

async function readGgufFacts(folder: Folder): Promise<ModelFacts> {
  const layout = await openModelLayout(folder);
  const file = (await folder.list()).find((name) => name.toLowerCase().endsWith(".gguf")) ?? "";
  const { tensors } = await readGguf(folder, file);
  return {
    ...sizesOf(layout.config, layout.place),
    ...countWeights(tensors.map(({ type, shape }) => [typeName(type), elementsOf(shape)])),
    hasChatTemplate: (await layout.readChatTemplate()) !== undefined,
  };
}

function sizesOf(config: JsonObject, place: string) {
  const { family, layers, maxPositions, vocab } = readArchitecture(config, place);
  return { family: family.modelType, layers, contextTokens: maxPositions, vocab };
}

async function hasChatTemplate(folder: Folder): Promise<boolean> {
  if ((await folder.size("chat_template.jinja")) !== undefined) return true;
  const name = "tokenizer_config.json";
  if ((await folder.size(name)) === undefined) return false;
  const config = parseJsonObject(await folder.readText(name), `${folder.path}/${name}`);
  return chooseChatTemplate(config["chat_template"]) !== undefined;
}

type Weighted = readonly [type: string, elements: number];

// Beside a weight in 4 bits lie its scales, and an object of which the name ends in its type.
const COMPANION = /\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+__\w+)$/;

/** Counted from the header alone: two numbers a byte, where a weight is in 4 bits. */
function storedWeights({ tensors }: ModelFiles, is4bit: boolean) {
  const all = [...tensors.values()].filter(({ name }) => !is4bit || !COMPANION.test(name));
  return countWeights(
    all.map(({ name, dtype, shape }) => {
      const elements = elementsOf(shape);
      const type = ["nf4", "fp4"].find((quantType) =>
        tensors.has(`${name}.quant_state.bitsandbytes__${quantType}`),
      );
      return type ? [type, 2 * sizeInBytes(dtype, elements)] : [typeName(dtype), elements];
    }),
  );
}

/** Floats in small letters, as PyTorch's people write them; ggml's own types as ggml does. */
function typeName(type: string): string {
  return /^B?F\d+$/.test(type) ? type.toLowerCase() : type;
}

/** How many numbers there are, and of which type most are. */
function countWeights(weights: readonly Weighted[]) {
  const counts = new Map<string, number>();
  for (const [type, elements] of weights) counts.set(type, (counts.get(type) ?? 0) + elements);
  const [commonest] = [...counts].toSorted((a, b) => b[1] - a[1]);
  return {
    parameters: weights.reduce((sum, [, elements]) => sum + elements, 0),
    storedAs: commonest?.[0] ?? "nothing",
  };
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Opens all that the engine opens of a model before its weights, the tokenizer too. */
export async function checkModel(folder: Folder): Promise<void> {
  const { architecture, files } = await openModelFolder(folder);
  checkAllTensors(architecture, files);
}

/** Refuses a folder that is no LoRA adapter in a form that is read; returns what its base is called. */
async function checkAdapter(folder: Folder): Promise<string | undefined> {
  const { config, place, tensors } = await openAdapterFolder(folder);
  const names = tensors.map(({ name }) => name);
  // What an adapter of the head repeats of its base is compared when both are loaded.
  const own = names.filter((name) => baseTensorOf(name) === undefined);
  pairAdapterTensors(own, place);
  return config.baseModel ?? undefined;
}
