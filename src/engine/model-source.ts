// What a model is made of, whatever files it came in: a Hugging Face folder, plain or quantized to 4 bits
// by bitsandbytes, with tokenizer.json or only tokenizer.model; or one GGUF file.
import type { Folder } from "../base/folder.ts";
import { UserError } from "../base/error.ts";
import type { FloatDtype } from "../formats/float.ts";
import { tokenizerFromGguf } from "../formats/gguf-tokenizer.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "../formats/json.ts";
import { tokenizerFromSentencePiece } from "../formats/sentencepiece-tokenizer.ts";
import { chooseChatTemplate, type TokenizerFiles } from "../formats/tokenizer.ts";
import { withBnbTensors } from "../model/files/bnb-files.ts";
import { type ModelFiles, openModelFiles } from "../model/files/checkpoint-files.ts";
import { openGguf } from "../model/files/gguf-files.ts";

export interface ModelSource {
  /** config.json, or what it would be. */
  readonly config: JsonObject;
  /** Where the config stands, for errors. */
  readonly place: string;
  readonly files: ModelFiles;
  readonly tokenizer: TokenizerFiles;
  /** Type to write weights in where none is asked for; undefined: each tensor's own. */
  readonly exportDtype?: FloatDtype;
  /** What stands beside full weights in a Hugging Face folder: names to contents. */
  companions(): AsyncGenerator<Companion>;
}

export interface Companion {
  readonly name: string;
  readonly content: string | Uint8Array;
}

const CHAT_TEMPLATE = "chat_template.jinja";

// Of a base model's folder, what is not weights goes along: configs, tokenizer, code, license.
const WEIGHTS =
  /\.(safetensors|bin|pth?|gguf|onnx|onnx_data|h5|msgpack)$|\.index\.json$|^README\.md$/;

/** A model as far as it must be known to lay it out: without its tokenizer, which is megabytes. */
export interface ModelLayout extends Pick<ModelSource, "config" | "place" | "files"> {
  readChatTemplate(): Promise<string | undefined>;
}

/** Opens a Hugging Face folder, or one with a single GGUF file in it. Refuses any other, with what is missing. */
export async function openModelSource(folder: Folder): Promise<ModelSource> {
  if ((await folder.size("config.json")) !== undefined) return openHuggingFace(folder);
  return openGgufSource(folder, await findGguf(folder));
}

/** As `openModelSource`, reading only what a model is laid out by. */
export async function openModelLayout(folder: Folder): Promise<ModelLayout> {
  if ((await folder.size("config.json")) === undefined) {
    const { config, place, files, tokenizer } = await openModelSource(folder);
    return { config, place, files, readChatTemplate: async () => tokenizer.chatTemplate };
  }
  return {
    ...(await readLayout(folder)),
    readChatTemplate: async () => {
      if ((await folder.size(CHAT_TEMPLATE)) !== undefined) return folder.readText(CHAT_TEMPLATE);
      const tokenizerConfig = await readOptionalJson(folder, "tokenizer_config.json");
      return chooseChatTemplate(tokenizerConfig?.["chat_template"]);
    },
  };
}

async function findGguf(folder: Folder): Promise<string> {
  const names = await folder.list();
  const [gguf, ...others] = names.filter((name) => name.toLowerCase().endsWith(".gguf"));
  if (gguf !== undefined && others.length === 0) return gguf;
  if (gguf !== undefined) {
    throw new UserError(
      `${folder.path} has ${others.length + 1} GGUF files and no config.json.`,
      `Name the one that is meant, such as ${folder.path}/${gguf}.`,
    );
  }
  throw new UserError(
    `${folder.path} has no config.json${names.length === 0 ? "; the folder is empty or missing" : ""}.`,
    "Give the folder of a Hugging Face model (config.json, a tokenizer and safetensors weights), or a GGUF file.",
  );
}

async function readLayout(folder: Folder) {
  const place = `${folder.path}/config.json`;
  const config = parseJsonObject(await folder.readText("config.json"), place);
  const raw = await openModelFiles(folder);
  const isQuantized = isJsonObject(config["quantization_config"]);
  const files = isQuantized ? await withBnbTensors(raw, config, place) : raw;
  return { config, place, isQuantized, files };
}

async function openHuggingFace(folder: Folder): Promise<ModelSource> {
  const { config, place, isQuantized, files } = await readLayout(folder);
  const tokenizer = await readTokenizer(folder);
  return {
    config,
    place,
    tokenizer,
    files,
    async *companions() {
      for (const name of await folder.list()) {
        if (WEIGHTS.test(name) || name.startsWith(".")) continue;
        if ((await folder.size(name)) === undefined) continue; // a folder
        const content = await folder.read(name);
        yield { name, content: name === "config.json" && isQuantized ? plain(config) : content };
      }
      // For programs that do not read tokenizer.model.
      if ((await folder.size("tokenizer.json")) === undefined) {
        yield { name: "tokenizer.json", content: jsonText(tokenizer.tokenizer) };
      }
    },
  };
}

/** A config without what says that weights are quantized: exports are full weights. */
function plain(config: JsonObject): string {
  const { quantization_config: _, ...rest } = config;
  return jsonText(rest);
}

async function readOptionalJson(folder: Folder, name: string): Promise<JsonObject | undefined> {
  return (await folder.size(name)) === undefined
    ? undefined
    : parseJsonObject(await folder.readText(name), `${folder.path}/${name}`);
}

async function readTokenizer(folder: Folder): Promise<TokenizerFiles> {
  const optionalJson = (name: string) => readOptionalJson(folder, name);
  const has = async (name: string) => (await folder.size(name)) !== undefined;
  const tokenizerConfig = await optionalJson("tokenizer_config.json");
  const chatTemplate = (await has(CHAT_TEMPLATE))
    ? await folder.readText(CHAT_TEMPLATE)
    : undefined;
  const others = {
    specialTokensMap: await optionalJson("special_tokens_map.json"),
    generationConfig: await optionalJson("generation_config.json"),
    ...(chatTemplate !== undefined && { chatTemplate }),
  };
  const tokenizer = await optionalJson("tokenizer.json");
  const hasPieces = await has("tokenizer.model");
  if (tokenizer && !(hasPieces && isNormalizedByTable(tokenizer))) {
    return { tokenizer, tokenizerConfig, ...others };
  }
  if (!hasPieces) {
    throw new UserError(
      `${folder.path} has neither tokenizer.json nor tokenizer.model.`,
      "Download the model's tokenizer files into its folder.",
    );
  }
  const model = await folder.read("tokenizer.model");
  const place = `${folder.path}/tokenizer.model`;
  return { ...tokenizerFromSentencePiece(model, tokenizerConfig, place), ...others };
}

/** Whether texts go through SentencePiece's own table first, which tokenizer.model alone has exactly. */
function isNormalizedByTable({ normalizer }: JsonObject): boolean {
  const steps = isJsonObject(normalizer) ? [normalizer, normalizer["normalizers"]].flat() : [];
  return steps.some((step) => isJsonObject(step) && step["type"] === "Precompiled");
}

async function openGgufSource(folder: Folder, file: string): Promise<ModelSource> {
  const place = `${folder.path}/${file}`;
  const { config, files, metadata } = await openGguf(folder, file);
  const tokenizer = tokenizerFromGguf(metadata, place);
  return {
    config,
    place,
    files,
    tokenizer,
    // Numbers unpacked from a few bits are read as f32, of which f16 keeps all that means something. But
    // transformers computes in the type that it finds, and Gemma's activations leave the range of f16.
    ...(config["torch_dtype"] === undefined && {
      exportDtype: config["model_type"] === "gemma3_text" ? ("BF16" as const) : ("F16" as const),
    }),
    async *companions() {
      yield { name: "config.json", content: jsonText(config) };
      yield* tokenizerCompanions(tokenizer);
    },
  };
}

/** A tokenizer's files as a Hugging Face folder has them. */
export function* tokenizerCompanions(tokenizer: TokenizerFiles): Generator<Companion> {
  const parts: readonly [string, unknown][] = [
    ["tokenizer.json", tokenizer.tokenizer],
    ["tokenizer_config.json", tokenizer.tokenizerConfig],
    ["special_tokens_map.json", tokenizer.specialTokensMap],
    ["generation_config.json", tokenizer.generationConfig],
  ];
  for (const [name, json] of parts) {
    if (json !== undefined) yield { name, content: jsonText(json) };
  }
  const { chatTemplate } = tokenizer;
  if (chatTemplate !== undefined) yield { name: CHAT_TEMPLATE, content: chatTemplate };
}

export function jsonText(json: unknown): string {
  return `${JSON.stringify(json, null, 2)}\n`;
}
