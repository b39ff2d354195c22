// tokenizer.json and its companions to a tokenizer: text to ids and back.
// Decoding gives the tokens' own text: `clean_up_tokenization_spaces` is ignored, because it eats spaces
// before punctuation, so that ids → text → ids would not return, and a stream would change its past.

import { Tokenizer as LibraryTokenizer } from "@huggingface/tokenizers";
import { messageOf, UserError } from "../base/error.ts";
import { isJsonObject } from "./json.ts";
import type { JsonObject } from "./json.ts";

export interface Tokenizer {
  /** `addSpecialTokens` adds what the model wants around a whole text, such as BOS. Off by default. */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** Ids outside the vocabulary (a model's padding rows) decode to nothing. */
  decode(ids: ArrayLike<number>, options?: { skipSpecialTokens?: boolean }): string;
  bosId?: number;
  /** Every id that ends a text; the first is the tokenizer's own EOS. */
  eosIds: number[];
  padId?: number;
  /** One past the largest id. A model's embedding may have more rows. */
  vocabSize: number;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  isSpecial(id: number): boolean;
  /** The texts of BOS and EOS, which chat templates ask for. */
  bosToken?: string;
  eosToken?: string;
  /** The model's own Jinja template. */
  chatTemplate?: string;
}

/** The parsed JSON of a model folder's tokenizer files. Only `tokenizer.json` is necessary. */
export interface TokenizerFiles {
  tokenizer: unknown;
  tokenizerConfig?: unknown;
  generationConfig?: unknown;
  specialTokensMap?: unknown;
  /** The text of `chat_template.jinja`, where newer models keep it. */
  chatTemplate?: string | undefined;
}

/** `place` names the model folder in errors. */
export function createTokenizer(files: TokenizerFiles, place: string): Tokenizer {
  const config = isJsonObject(files.tokenizerConfig) ? files.tokenizerConfig : {};
  const specialTokens = isJsonObject(files.specialTokensMap) ? files.specialTokensMap : {};
  const library = createLibraryTokenizer(files.tokenizer, config, place);
  const vocabulary = library.model?.vocab ?? [];
  const specialIds = collectSpecialIds(library, config);

  const tokenText = (key: string) => contentOf(config[key]) ?? contentOf(specialTokens[key]);
  const idOfKey = (key: string) => {
    const text = tokenText(key);
    return text === undefined ? undefined : library.token_to_id(text);
  };
  const bosId = idOfKey("bos_token");
  const padId = idOfKey("pad_token");
  const bosToken = tokenText("bos_token");
  const eosToken = tokenText("eos_token");
  const chatTemplate = files.chatTemplate ?? chooseChatTemplate(config["chat_template"]);
  const addsBos = config["add_bos_token"] === true && bosId !== undefined;

  return {
    encode(text, options) {
      const addSpecialTokens = options?.addSpecialTokens ?? false;
      const ids = library.encode(text, { add_special_tokens: addSpecialTokens }).ids;
      if (ids.includes(undefined as unknown as number)) throw noToken(text, place);
      // Python's Llama tokenizers obey add_bos_token even where tokenizer.json does not say so.
      if (addSpecialTokens && addsBos && ids[0] !== bosId) ids.unshift(bosId);
      return ids;
    },
    decode(ids, options) {
      const known: number[] = [];
      for (let i = 0; i < ids.length; i++) {
        const id = ids[i] as number;
        const skipped = options?.skipSpecialTokens === true && specialIds.has(id);
        if (!skipped && vocabulary[id] !== undefined) known.push(id);
      }
      // The library refuses an empty list.
      if (known.length === 0) return "";
      return library.decode(known, { clean_up_tokenization_spaces: false });
    },
    eosIds: collectEosIds(idOfKey("eos_token"), files.generationConfig),
    vocabSize: vocabulary.length,
    idOf: (token) => library.token_to_id(token),
    tokenOf: (id) => vocabulary[id],
    isSpecial: (id) => specialIds.has(id),
    ...(bosId === undefined ? {} : { bosId }),
    ...(padId === undefined ? {} : { padId }),
    ...(bosToken === undefined ? {} : { bosToken }),
    ...(eosToken === undefined ? {} : { eosToken }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}

function createLibraryTokenizer(
  tokenizer: unknown,
  config: JsonObject,
  place: string,
): LibraryTokenizer {
  const remedy = "Download the model's tokenizer.json again, or choose another model.";
  if (!isJsonObject(tokenizer) || !isJsonObject(tokenizer["model"])) {
    throw new UserError(`${place}: tokenizer.json has no "model".`, remedy);
  }
  const added = Array.isArray(tokenizer["added_tokens"]) ? tokenizer["added_tokens"] : [];
  // Some conversions leave parts out; Rust reads an absent part as null, the library refuses it.
  const whole = {
    decoder: null,
    post_processor: null,
    pre_tokenizer: null,
    normalizer: null,
    ...tokenizer,
    added_tokens: [...added, ...configOnlyTokens(config, added)],
  };
  try {
    return new LibraryTokenizer(whole, {});
  } catch (error) {
    throw new UserError(`${place}: tokenizer.json cannot be used: ${messageOf(error)}.`, remedy, {
      cause: error,
    });
  }
}

/**
 * Tokens that only tokenizer_config.json has. Python's transformers adds them, so a model trained
 * there knows them.
 */
function configOnlyTokens(config: JsonObject, added: readonly unknown[]): JsonObject[] {
  const listed = config["added_tokens_decoder"];
  if (!isJsonObject(listed)) return [];
  const known = new Set(added.map((token) => contentOf(token)));
  const missing: JsonObject[] = [];
  for (const [id, token] of Object.entries(listed)) {
    const content = contentOf(token);
    if (content === undefined || known.has(content) || !/^\d+$/.test(id)) continue;
    missing.push({ ...(token as JsonObject), id: Number(id) });
  }
  return missing;
}

function collectSpecialIds(library: LibraryTokenizer, config: JsonObject): Set<number> {
  const ids = new Set<number>();
  for (const [id, token] of library.get_added_tokens_decoder()) if (token.special) ids.add(id);
  const additional = config["additional_special_tokens"];
  for (const token of Array.isArray(additional) ? additional : []) {
    const content = contentOf(token);
    const id = content === undefined ? undefined : library.token_to_id(content);
    if (id !== undefined) ids.add(id);
  }
  return ids;
}

/** A model may end a text in more ways than its tokenizer names: generation_config.json lists them. */
function collectEosIds(own: number | undefined, generationConfig: unknown): number[] {
  const listed = isJsonObject(generationConfig) ? generationConfig["eos_token_id"] : undefined;
  const ids = [own, ...(Array.isArray(listed) ? listed : [listed])];
  return [...new Set(ids.filter((id): id is number => Number.isSafeInteger(id)))];
}

/** A special token is written as its text or as an object that has it. */
function contentOf(token: unknown): string | undefined {
  const content = isJsonObject(token) ? token["content"] : token;
  return typeof content === "string" ? content : undefined;
}

/** One template, or a list of named ones of which "default" is for plain chat. */
function chooseChatTemplate(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named: unknown = value.find((item) => isJsonObject(item) && item["name"] === "default");
  const template = isJsonObject(named) ? named["template"] : undefined;
  return typeof template === "string" ? template : undefined;
}

function noToken(text: string, place: string): UserError {
  return new UserError(
    `${place}: the tokenizer has no token for some of ${JSON.stringify(text.slice(0, 40))}.`,
    "Check that tokenizer.json and tokenizer_config.json are of the same model.",
  );
}

export interface StreamDecoder {
  /** Takes one more id; returns the text that it settles, which may be empty. */
  push(id: number): string;
  /** Ends the text: returns what was held back, with U+FFFD for bytes that never became a character. */
  flush(): string;
}

/**
 * Decodes ids one by one, never showing part of a character.
 *
 * A window of recent ids is decoded whole, since a token's text can depend on the one before it
 * (leading spaces, bytes). The window moves on when its text is settled.
 */
export function createStreamDecoder(
  tokenizer: Pick<Tokenizer, "decode">,
  options: { skipSpecialTokens?: boolean } = {},
): StreamDecoder {
  let context: number[] = []; // ids already shown, kept only for what they do to the next
  let pending: number[] = [];
  let shown = ""; // what of the pending ids' text was returned

  const decodePending = () => {
    const before = tokenizer.decode(context, options);
    return tokenizer.decode([...context, ...pending], options).slice(before.length);
  };
  return {
    push(id) {
      pending.push(id);
      const text = decodePending();
      // A last U+FFFD may be the start of a character; earlier ones can no longer change.
      const settled = text.endsWith("\uFFFD") ? text.slice(0, -1) : text;
      const fresh = settled.slice(shown.length);
      shown = settled;
      if (settled === text && text !== "") {
        context = pending;
        pending = [];
        shown = "";
      }
      return fresh;
    },
    flush() {
      const rest = decodePending().slice(shown.length);
      context = [];
      pending = [];
      shown = "";
      return rest;
    },
  };
}
