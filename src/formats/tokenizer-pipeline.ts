// tokenizer.json put together: text → added tokens → normalizer → words → ids → what goes around them.
// Ids are those of Rust's tokenizers 0.23 (Python's `tokenizers`), which the interop suite compares.
import { messageOf, UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "./json.ts";
import { createTextEncoder, type SentencePieceEncoding } from "./sentencepiece-encoder.ts";
import { type AddedToken, createSegmenter } from "./tokenizer-added.ts";
import { createBpe } from "./tokenizer-bpe.ts";
import { createDecoder, type TokenDecoder } from "./tokenizer-decoders.ts";
import {
  type EncodedWord,
  ID_LIMIT,
  type TokenizerModel,
  type WordTokens,
} from "./tokenizer-model.ts";
import { createNormalizer } from "./tokenizer-normalizers.ts";
import {
  endOf,
  type Piece,
  slicePiece,
  type Splitter,
  startOf,
  unsupported,
} from "./tokenizer-piece.ts";
import { PatternError } from "./tokenizer-regex.ts";
import { createSplitter } from "./tokenizer-splitters.ts";
import { createUnigram } from "./tokenizer-unigram.ts";
import { WordTable } from "./word-table.ts";

/** Ids of a text, and the units of the text that each comes from. */
export interface EncodedText {
  readonly ids: number[];
  /** Where each id's text begins and ends; a character of several ids is in each of them. */
  readonly starts: number[];
  readonly ends: number[];
}

export interface TokenizerPipeline {
  encode(text: string): number[];
  encodeWithSpans(text: string): EncodedText;
  /** Ids that a whole text gets around it. */
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly decoder: TokenDecoder;
  /** Token by id. Some ids may have none. */
  readonly vocabulary: readonly (string | undefined)[];
  idOf(token: string): number | undefined;
  readonly addedTokens: readonly AddedToken[];
}

export function createPipeline(
  tokenizer: JsonObject,
  added: readonly JsonObject[],
  place: string,
  sentencePiece?: SentencePieceEncoding,
): TokenizerPipeline {
  const remedy = "Download the model's tokenizer.json again, or choose another model.";
  try {
    return createParts(tokenizer, added, place, sentencePiece);
  } catch (error) {
    if (!(error instanceof PatternError || error instanceof SyntaxError)) throw error;
    throw new UserError(
      `${place}: tokenizer.json has a regular expression that cannot be used: ${messageOf(error)}.`,
      remedy,
      { cause: error },
    );
  }
}

function createParts(
  tokenizer: JsonObject,
  added: readonly JsonObject[],
  place: string,
  sentencePiece: SentencePieceEncoding | undefined,
): TokenizerPipeline {
  // A SentencePiece model encodes by itself; of tokenizer.json's only the vocabulary is used then.
  const listed = tokenizer["model"];
  const needsMerges = sentencePiece === undefined || !isJsonObject(listed) || !("merges" in listed);
  const model = createModel(needsMerges ? listed : { ...listed, merges: [] }, place);
  const addedTokens = added.flatMap((token) => readAddedToken(token, model.vocabulary) ?? []);
  const idOfAdded = new Map(addedTokens.map(({ content, id }) => [content, id]));
  const idOf = (token: string) => idOfAdded.get(token) ?? model.vocabulary.get(token);
  const vocabulary: (string | undefined)[] = [];
  for (const [token, id] of [...model.vocabulary, ...idOfAdded]) checkId(id, token, place);
  for (const [token, id] of model.vocabulary) vocabulary[id] = token;
  for (const { content, id } of addedTokens) vocabulary[id] = content;

  const encode = sentencePiece
    ? createTextEncoder(sentencePiece, addedTokens, place)
    : createEncoder(tokenizer, addedTokens, model, place);
  return {
    encode: (text) => encode(text, false).ids,
    encodeWithSpans: (text) => encode(text, true),
    ...readPostProcessor(tokenizer["post_processor"], idOf, place),
    decoder: createDecoder(tokenizer["decoder"], place),
    vocabulary,
    idOf,
    addedTokens,
  };
}

function checkId(id: unknown, token: string, place: string): void {
  if (Number.isInteger(id) && Number(id) >= 0 && Number(id) < ID_LIMIT) return;
  throw new UserError(
    `${place}: tokenizer.json gives ${JSON.stringify(token)} the id ${String(id)}, where a whole number from 0 to ${ID_LIMIT - 1} must be.`,
    "Download the model's tokenizer files again.",
  );
}

function createEncoder(
  tokenizer: JsonObject,
  addedTokens: readonly AddedToken[],
  model: TokenizerModel,
  place: string,
): (text: string, track: boolean) => EncodedText {
  const normalize = createNormalizer(tokenizer["normalizer"], place);
  const split = createSplitter(tokenizer["pre_tokenizer"], place);
  const encodeWord = createWordEncoder(model, split?.write);
  const words = new WordTable(encodeWord);
  const findPlain = createSegmenter(addedTokens.filter(({ isNormalized }) => !isNormalized));
  const findNormalized = createSegmenter(
    addedTokens.filter(({ isNormalized }) => isNormalized),
    ({ content }) => normalize?.({ text: content, origin: 0 }, false).text ?? content,
  );
  return (text, track) => {
    const result: EncodedText = { ids: [], starts: [], ends: [] };
    const addToken = (id: number, start: number, end: number) => {
      result.ids.push(id);
      if (!track) return;
      result.starts.push(start);
      result.ends.push(end);
    };
    /** A word of the piece, and its tokens from [first, last) of a list of them. */
    const addTokens = (
      piece: Piece,
      word: number,
      tokens: WordTokens,
      first: number,
      last: number,
    ) => {
      for (let i = first; i < last; i++) {
        const id = tokens.ids[i] as number;
        if (!track) result.ids.push(id);
        else {
          const start = startOf(piece, word + (tokens.starts[i] ?? 0));
          addToken(id, start, endOf(piece, word + (tokens.ends[i] ?? 1) - 1));
        }
      }
    };
    const addWord = (piece: Piece, start: number, end: number) => {
      const known = words.find(piece.text, start, end);
      if (known >= 0) {
        const [first, last] = [words.firsts[known] as number, words.firsts[known + 1] as number];
        addTokens(piece, start, words, first, last);
      } else {
        const encoded = encodeWord(piece.text.slice(start, end));
        addTokens(piece, start, encoded, 0, encoded.ids.length);
      }
    };
    const addText = (piece: Piece) => {
      if (!split) addWord(piece, 0, piece.text.length);
      else if (split.scan) split.scan(piece.text, (start, end) => addWord(piece, start, end));
      else for (const word of split.cut([piece], track)) addWord(word, 0, word.text.length);
    };
    // Half a surrogate pair is no text: UTF-8 has no bytes for it.
    const whole: Piece = { text: text.toWellFormed(), origin: 0 };
    for (const outer of findPlain(whole.text)) {
      if (outer.token !== undefined) {
        addToken(outer.token.id, outer.start, outer.end);
        continue;
      }
      const raw = slicePiece(whole, outer.start, outer.end);
      const piece = normalize ? normalize(raw, track) : raw;
      for (const inner of findNormalized(piece.text)) {
        if (inner.token === undefined) addText(slicePiece(piece, inner.start, inner.end));
        else addToken(inner.token.id, startOf(piece, inner.start), endOf(piece, inner.end - 1));
      }
    }
    return result;
  };
}

/** A word as it stands in the text, by what the last stage writes for it. Starts and ends are in its own units. */
function createWordEncoder(
  model: TokenizerModel,
  write: Splitter["write"],
): (word: string) => EncodedWord {
  if (!write) return model.encode;
  return (word) => {
    const piece = write({ text: word, origin: 0 }, true);
    const { ids, starts, ends } = model.encode(piece.text);
    if (piece.origin === 0) return { ids, starts, ends };
    return {
      ids,
      starts: starts.map((start) => startOf(piece, start)),
      ends: ends.map((end) => endOf(piece, end - 1)),
    };
  };
}

function createModel(model: unknown, place: string): TokenizerModel {
  if (!isJsonObject(model)) throw unsupported("model", model, place);
  const { type } = model;
  // Files from before the type was written tell the models apart by their parts.
  if (type === "BPE" || (type === undefined && "merges" in model)) return createBpe(model, place);
  if (type === "Unigram" || (type === undefined && Array.isArray(model["vocab"]))) {
    return createUnigram(model, place);
  }
  throw unsupported("model", { type }, place);
}

function readAddedToken(
  token: JsonObject,
  vocabulary: ReadonlyMap<string, number>,
): AddedToken | undefined {
  const { content, id: listedId } = token;
  if (typeof content !== "string" || content === "") return undefined;
  // A token that the model has too keeps the model's id.
  const id = vocabulary.get(content) ?? listedId;
  if (typeof id !== "number") return undefined;
  const isSpecial = token["special"] === true;
  return {
    id,
    content,
    isSpecial,
    stripsLeft: token["lstrip"] === true,
    stripsRight: token["rstrip"] === true,
    isWord: token["single_word"] === true,
    isNormalized: typeof token["normalized"] === "boolean" ? token["normalized"] : !isSpecial,
  };
}

/** The ids before and after a text in a "post_processor". */
function readPostProcessor(
  component: unknown,
  idOf: (token: string) => number | undefined,
  place: string,
): { prefix: number[]; suffix: number[] } {
  if (component === null || component === undefined) return { prefix: [], suffix: [] };
  if (!isJsonObject(component)) throw unsupported("post-processor", component, place);
  switch (component["type"]) {
    case "ByteLevel":
      return { prefix: [], suffix: [] };
    case "Sequence": {
      const listed = component["processors"];
      if (!Array.isArray(listed)) throw unsupported("post-processor", component, place);
      const parts = listed.map((item) => readPostProcessor(item, idOf, place));
      return {
        prefix: parts.toReversed().flatMap(({ prefix }) => prefix),
        suffix: parts.flatMap(({ suffix }) => suffix),
      };
    }
    case "TemplateProcessing":
      return readTemplate(component, place);
    case "BertProcessing":
    case "RobertaProcessing": {
      const [cls, sep] = [component["cls"], component["sep"]].map((pair) =>
        Array.isArray(pair) && typeof pair[1] === "number" ? pair[1] : idOf(String(pair)),
      );
      if (cls === undefined || sep === undefined) {
        throw unsupported("post-processor", component, place);
      }
      return { prefix: [cls], suffix: [sep] };
    }
    default:
      throw unsupported("post-processor", component, place);
  }
}

function readTemplate(
  component: JsonObject,
  place: string,
): { prefix: number[]; suffix: number[] } {
  const { single, special_tokens: specialTokens } = component;
  if (!Array.isArray(single) || !isJsonObject(specialTokens)) {
    throw unsupported("post-processor", component, place);
  }
  const prefix: number[] = [];
  const suffix: number[] = [];
  let target = prefix;
  for (const item of single as unknown[]) {
    const special = isJsonObject(item) ? item["SpecialToken"] : undefined;
    if (!isJsonObject(special)) {
      target = suffix;
      continue;
    }
    const entry = specialTokens[String(special["id"])];
    const ids = isJsonObject(entry) ? entry["ids"] : undefined;
    if (!Array.isArray(ids)) throw unsupported("post-processor", component, place);
    target.push(...(ids as number[]));
  }
  return { prefix, suffix };
}
