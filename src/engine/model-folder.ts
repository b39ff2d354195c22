// A model folder, read as far as it can be without a GPU: sizes, tokenizer, where each tensor lies.
import type { Folder } from "../base/folder.ts";
import { UserError } from "../base/error.ts";
import { type ChatTemplate, compileChatTemplate } from "../formats/chat-template.ts";
import { isJsonObject, parseJsonObject } from "../formats/json.ts";
import { createTokenizer, type Tokenizer, type TokenizerFiles } from "../formats/tokenizer.ts";
import type { PromptTemplate } from "../data/template-table.ts";
import { promptTemplate } from "../data/templates.ts";
import { type Architecture, endIds, readArchitecture } from "../model/architecture.ts";
import type { ModelFiles } from "../model/files/checkpoint-files.ts";
import { type ModelSource, openModelSource } from "./model-source.ts";

export interface ModelFolder {
  readonly folder: Folder;
  readonly architecture: Architecture;
  readonly tokenizer: Tokenizer;
  readonly files: ModelFiles;
  readonly source: ModelSource;
  /** Ids that end an answer, by any of the folder's files. */
  readonly endIds: readonly number[];
}

/** A template to render with, and what else ends an answer under it. */
export interface ChosenTemplate {
  /** A name of the template table, or "auto" for the model's own chat template. */
  readonly name: string;
  readonly template: PromptTemplate | ChatTemplate;
  readonly stopWords: readonly string[];
}

/** What Hone writes beside an adapter or merged weights, so that chat speaks as training did. */
export const MANIFEST = "training_manifest.json";

export interface Manifest {
  readonly promptTemplate: string;
  readonly system: string;
  /** Whether NF4's scales were kept in 8 bits in training. */
  readonly doubleQuant: boolean;
}

/** Opens a model by its small files. Refuses one whose tokenizer and config do not fit together. */
export async function openModelFolder(folder: Folder): Promise<ModelFolder> {
  const source = await openModelSource(folder);
  const { config, place, files } = source;
  const architecture = readArchitecture(config, place);
  const parts = withoutStrayTokens(source.tokenizer, architecture.vocab);
  const tokenizer = createTokenizer(parts, folder.path);
  if (tokenizer.vocabSize > architecture.vocab) {
    throw new UserError(
      `The tokenizer of ${folder.path} has ids up to ${tokenizer.vocabSize - 1}; the model's vocab_size is ${architecture.vocab}.`,
      "Check that the tokenizer and the weights are of the same model.",
    );
  }
  const ids = [
    ...tokenizer.eosIds,
    ...endIds(source.tokenizer.generationConfig),
    ...endIds(config),
  ];
  return { folder, architecture, tokenizer, files, source, endIds: [...new Set(ids)] };
}

/**
 * The tokenizer without added tokens that the model has no row for: Gemma 3's text models list an image
 * token past their embeddings. In a text such a token is then letters like any others.
 */
function withoutStrayTokens(files: TokenizerFiles, vocab: number): TokenizerFiles {
  const { tokenizer, tokenizerConfig } = files;
  if (!isJsonObject(tokenizer) || !Array.isArray(tokenizer["added_tokens"])) return files;
  const isKnown = (id: unknown) => Number(id) < vocab;
  const added = tokenizer["added_tokens"].filter(
    (token: unknown) => !isJsonObject(token) || isKnown(token["id"]),
  );
  const kept: TokenizerFiles = { ...files, tokenizer: { ...tokenizer, added_tokens: added } };
  if (!isJsonObject(tokenizerConfig)) return kept;
  const decoder = tokenizerConfig["added_tokens_decoder"];
  if (!isJsonObject(decoder)) return kept;
  const known = Object.entries(decoder).filter(([id]) => isKnown(id));
  const config = { ...tokenizerConfig, added_tokens_decoder: Object.fromEntries(known) };
  return { ...kept, tokenizerConfig: config };
}

/** The template of that name; "auto" is the model's own. */
export function chooseTemplate(name: string, { tokenizer, folder }: ModelFolder): ChosenTemplate {
  if (name !== "auto") {
    const template = promptTemplate(name);
    return { name, template, stopWords: template.stopWords ?? [] };
  }
  if (tokenizer.chatTemplate === undefined) {
    throw new UserError(
      `${folder.path} carries no chat template.`,
      "Name one with prompt_template (--prompt-template in chat), such as internlm2_chat or default; none is for plain text.",
    );
  }
  return { name, template: compileChatTemplate(tokenizer.chatTemplate), stopWords: [] };
}

/** The manifest of a folder, or undefined where Hone did not write one. */
export async function readManifest(folder: Folder): Promise<Manifest | undefined> {
  if ((await folder.size(MANIFEST)) === undefined) return undefined;
  const json = parseJsonObject(await folder.readText(MANIFEST), `${folder.path}/${MANIFEST}`);
  const { prompt_template: template, system, config } = json;
  if (typeof template !== "string") return undefined;
  return {
    promptTemplate: template,
    system: typeof system === "string" ? system : "",
    doubleQuant: !isJsonObject(config) || config["double_quant"] !== false,
  };
}
