// tokenizer.json and its companions to a tokenizer: text to ids and back.
// Decoding gives the tokens' own text: `clean_up_tokenization_spaces` is ignored, because it eats spaces
// before punctuation, so that ids → text → ids would not return, and a stream would change its past.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import type { SentencePieceEncoding } from "./sentencepiece-encoder.ts";
import { byteOfFallback } from "./tokenizer-bytes.ts";
import { NoTokenError } from "./tokenizer-model.ts";
import { createPipeline, type EncodedText, type TokenizerPipeline } from "./tokenizer-pipeline.ts";

export interface Tokenizer {
  /** `addSpecialTokens` adds what the model wants around a whole text, such as BOS. Off by default. */
  encode(text: string, options?: { addSpecialTokens?: boolean }): number[];
  /** Ids without special tokens around them, each with the units of `text` that it comes from. */
  encodeWithSpans(text: string): EncodedText;
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
  /** Whether the id's text depends on the ids after it, as that of one byte of a character does. */
  isPartial?(id: number): boolean;
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
  /** The SentencePiece model that `tokenizer` was made from: text is encoded by it. */
  sentencePiece?: SentencePieceEncoding | undefined;
}

/** `place` names the model folder in errors. */
export function createTokenizer(files: TokenizerFiles, place: string): Tokenizer {
  const config = isJsonObject(files.tokenizerConfig) ? files.tokenizerConfig : {};
  const specialTokens = isJsonObject(files.specialTokensMap) ? files.specialTokensMap : {};
  const pipeline = readPipeline(files, config, place);
  const { vocabulary, decoder } = pipeline;
  const specialIds = collectSpecialIds(pipeline, config);

  const tokenText = (key: string) => contentOf(config[key]) ?? contentOf(specialTokens[key]);
  const idOfKey = (key: string) => {
    const text = tokenText(key);
    return text === undefined ? undefined : pipeline.idOf(text);
  };
  const bosId = idOfKey("bos_token");
  const padId = idOfKey("pad_token");
  const bosToken = tokenText("bos_token");
  const eosToken = tokenText("eos_token");
  const chatTemplate = files.chatTemplate ?? chooseChatTemplate(config["chat_template"]);
  const addsBos = config["add_bos_token"] === true && bosId !== undefined;
  // Where bytes are tokens like others, U+FFFD at the end of a text says that it is not whole.
  const partialIds = new Set<number>();
  if (decoder.readsByteRuns) {
    for (const [id, token] of vocabulary.entries()) {
      if (token !== undefined && byteOfFallback(token) !== undefined) partialIds.add(id);
    }
  }

  return {
    encode(text, options) {
      const ids = refuseNoToken(text, place, () => pipeline.encode(text));
      if (options?.addSpecialTokens !== true) return ids;
      const whole = [...pipeline.prefix, ...ids, ...pipeline.suffix];
      // Python's Llama tokenizers obey add_bos_token even where tokenizer.json does not say so.
      if (addsBos && whole[0] !== bosId) whole.unshift(bosId);
      return whole;
    },
    encodeWithSpans: (text) => refuseNoToken(text, place, () => pipeline.encodeWithSpans(text)),
    decode(ids, options) {
      const tokens: string[] = [];
      for (let i = 0; i < ids.length; i++) {
        const id = ids[i] as number;
        const token = vocabulary[id];
        if (token === undefined) continue;
        if (options?.skipSpecialTokens !== true || !specialIds.has(id)) tokens.push(token);
      }
      return decoder.decode(tokens);
    },
    eosIds: collectEosIds(idOfKey("eos_token"), files.generationConfig),
    vocabSize: vocabulary.length,
    idOf: (token) => pipeline.idOf(token),
    tokenOf: (id) => vocabulary[id],
    isSpecial: (id) => specialIds.has(id),
    isPartial: (id) => partialIds.has(id),
    ...(bosId === undefined ? {} : { bosId }),
    ...(padId === undefined ? {} : { padId }),
    ...(bosToken === undefined ? {} : { bosToken }),
    ...(eosToken === undefined ? {} : { eosToken }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  };
}

function readPipeline(
  { tokenizer, sentencePiece }: TokenizerFiles,
  config: JsonObject,
  place: string,
): TokenizerPipeline {
  if (!isJsonObject(tokenizer) || !isJsonObject(tokenizer["model"])) {
    throw new UserError(
      `${place}: tokenizer.json has no "model".`,
      "Download the model's tokenizer.json again, or choose another model.",
    );
  }
  const listed = Array.isArray(tokenizer["added_tokens"]) ? tokenizer["added_tokens"] : [];
  const added = (listed as unknown[]).filter(isJsonObject);
  const all = [...added, ...configOnlyTokens(config, added)];
  return createPipeline(tokenizer, all, place, sentencePiece);
}

function refuseNoToken<T>(text: string, place: string, encode: () => T): T {
  try {
    return encode();
  } catch (error) {
    throw error instanceof NoTokenError ? noToken(text, place) : error;
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

function collectSpecialIds(pipeline: TokenizerPipeline, config: JsonObject): Set<number> {
  const ids = new Set(
    pipeline.addedTokens.filter(({ isSpecial }) => isSpecial).map(({ id }) => id),
  );
  const additional = config["additional_special_tokens"];
  for (const token of Array.isArray(additional) ? additional : []) {
    const content = contentOf(token);
    const id = content === undefined ? undefined : pipeline.idOf(content);
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
export function chooseChatTemplate(value: unknown): string | undefined {
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
  tokenizer: Pick<Tokenizer, "decode" | "tokenOf" | "isSpecial" | "isPartial">,
  options: { skipSpecialTokens?: boolean } = {},
): StreamDecoder {
  let context: number[] = []; // ids already shown, kept only for what they do to the next
  let before = ""; // their text
  let pending: number[] = [];
  let shown = ""; // what of the pending ids' text was returned

  const decodePending = () =>
    tokenizer.decode([...context, ...pending], options).slice(before.length);
  const isShown = (id: number) =>
    tokenizer.tokenOf(id) !== undefined &&
    !(options.skipSpecialTokens === true && tokenizer.isSpecial(id));
  return {
    push(id) {
      if (!isShown(id)) return "";
      pending.push(id);
      // A run of byte tokens is read as one: a later byte may yet break all of it.
      if (tokenizer.isPartial?.(id) === true) return "";
      const text = decodePending();
      // A last U+FFFD may be the start of a character; earlier ones can no longer change.
      const settled = text.endsWith("\uFFFD") ? text.slice(0, -1) : text;
      const fresh = settled.slice(shown.length);
      shown = settled;
      if (settled === text && text !== "") {
        context = pending;
        before = tokenizer.decode(context, options);
        pending = [];
        shown = "";
      }
      return fresh;
    },
    flush() {
      const rest = decodePending().slice(shown.length);
      context = [];
      before = "";
      pending = [];
      shown = "";
      return rest;
    },
  };
}
