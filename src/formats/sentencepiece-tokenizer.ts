// A SentencePiece model as tokenizer.json and tokenizer_config.json, for Hone and for Python's libraries.
// Hone itself encodes by the model (`sentencePiece`); tokenizer.json says the same where its form can.
import { isJsonObject, type JsonObject } from "./json.ts";
import { collectAddedTokens, type ListedToken } from "./sentencepiece-added.ts";
import type { SentencePieceEncoding } from "./sentencepiece-encoder.ts";
import {
  isPlain,
  isUsable,
  keepsText,
  parseSentencePiece,
  type SentencePieceModel,
} from "./sentencepiece.ts";
import type { TokenizerFiles } from "./tokenizer.ts";

export interface SentencePieceFiles extends TokenizerFiles {
  tokenizer: JsonObject;
  tokenizerConfig: JsonObject;
  sentencePiece: SentencePieceEncoding;
}

const SPACE = "\u2581"; // ▁

/** `bytes` is the whole of `tokenizer.model`, which `place` names in errors. */
export function tokenizerFromSentencePiece(
  bytes: Uint8Array,
  tokenizerConfig: JsonObject | undefined,
  place: string,
): SentencePieceFiles {
  return convertSentencePiece(parseSentencePiece(bytes, place), tokenizerConfig ?? {});
}

export function convertSentencePiece(
  model: SentencePieceModel,
  config: JsonObject,
): SentencePieceFiles {
  const added = collectAddedTokens(model, config);
  // The model's own class may be code in its folder, or read the files in a way of its own.
  const { auto_map: _, tokenizer_class: __, ...options } = config;
  const texts = nameIds(model, added);
  const prefixOnce = config["legacy"] === false;
  // A dummy space for each stretch between symbols would be many; one at the start is nearest to it.
  const hasSymbols = model.pieces.some(({ type }) => type === "user-defined");
  const prefixFirst = prefixOnce || (hasSymbols && keepsText(model));
  const textOf = (key: string, id: number | undefined) =>
    contentOf(config[key]) ?? (id === undefined || id < 0 ? undefined : texts[id]);
  const bos = textOf("bos_token", model.bosId);
  const eos = textOf("eos_token", model.eosId);
  const unknown = textOf("unk_token", model.unknownId);
  const pad = textOf("pad_token", model.padId);
  // What Python does where the config says nothing: Llama's tokenizers add BOS, T5's add EOS.
  const addsBos = flagOf(config["add_bos_token"], model.kind === "bpe") && bos !== undefined;
  const addsEos = flagOf(config["add_eos_token"], model.kind === "unigram") && eos !== undefined;
  const idOf = (text: string) => texts.indexOf(text);

  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: normalizerOf(model, prefixFirst),
      pre_tokenizer:
        prefixFirst && model.addDummyPrefix && !model.whitespaceAsSuffix
          ? { type: "Metaspace", replacement: SPACE, prepend_scheme: "first", split: false }
          : null,
      post_processor: postProcessorOf(addsBos ? bos : undefined, addsEos ? eos : undefined, idOf),
      decoder: decoderOf(model),
      model: model.kind === "bpe" ? bpeOf(model, texts) : unigramOf(model, texts),
    },
    tokenizerConfig: {
      ...options,
      added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
      tokenizer_class: "PreTrainedTokenizerFast",
      add_bos_token: addsBos,
      add_eos_token: addsEos,
      clean_up_tokenization_spaces: false,
      ...(bos !== undefined && { bos_token: bos }),
      ...(eos !== undefined && { eos_token: eos }),
      ...(unknown !== undefined && { unk_token: unknown }),
      ...(pad !== undefined && { pad_token: pad }),
    },
    sentencePiece: { model, prefixOnce },
  };
}

/**
 * The text of each id, no two alike. An added token's text takes the place of a piece's; pieces that
 * text never becomes are renamed where theirs would be found.
 */
function nameIds(model: SentencePieceModel, added: readonly ListedToken[]): string[] {
  const size = added.reduce((most, { id }) => Math.max(most, id + 1), model.pieces.length);
  const texts = Array.from({ length: size }, () => "");
  const taken = new Set<string>();
  const name = (id: number, text: string) => {
    texts[id] = taken.has(text) ? `[UNUSED_${id}]` : text;
    taken.add(texts[id]);
  };
  for (const { id, content } of added) name(id, content);
  for (const [id, piece] of model.pieces.entries()) {
    if (texts[id] !== "") continue;
    const isFound = piece.type === "byte" || isPlain(model, piece);
    name(id, isFound ? piece.text : `[UNUSED_${id}]`);
  }
  for (let id = 0; id < size; id++) if (texts[id] === "") name(id, `[UNUSED_${id}]`);
  return texts;
}

function bpeOf(model: SentencePieceModel, texts: readonly string[]): JsonObject {
  return {
    type: "BPE",
    dropout: null,
    unk_token: texts[model.unknownId] ?? null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: true,
    byte_fallback: model.byteFallback,
    ignore_merges: false,
    vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
    merges: mergesOf(model, texts),
  };
}

/**
 * Every way to make a piece of two, the best score first, in the order that transformers gives them.
 * Ways to one piece have ranks of their own here, where SentencePiece takes the leftmost: the only
 * difference, seen where they overlap ("aaa").
 */
function mergesOf(model: SentencePieceModel, texts: readonly string[]): [string, string][] {
  const ids = new Map<string, number>();
  for (const [id, piece] of model.pieces.entries()) {
    if (isUsable(model, piece) && texts[id] === piece.text) ids.set(piece.text, id);
  }
  const merges: { left: string; right: string; leftId: number; rightId: number; score: number }[] =
    [];
  for (const [text, id] of ids) {
    const score = model.pieces[id]?.score ?? 0;
    for (let i = 1; i < text.length; i++) {
      const left = text.slice(0, i);
      const leftId = ids.get(left);
      if (leftId === undefined) continue;
      const right = text.slice(i);
      const rightId = ids.get(right);
      if (rightId !== undefined) merges.push({ left, right, leftId, rightId, score });
    }
  }
  merges.sort(
    (a, b) =>
      b.score - a.score ||
      characters(b.left) - characters(a.left) ||
      characters(b.right) - characters(a.right) ||
      a.leftId - b.leftId ||
      a.rightId - b.rightId,
  );
  return merges.map(({ left, right }) => [left, right]);
}

function characters(text: string): number {
  let count = text.length;
  for (let i = 1; i < text.length; i++) if ((text.charCodeAt(i) & 0xfc00) === 0xdc00) count--;
  return count;
}

function unigramOf(model: SentencePieceModel, texts: readonly string[]): JsonObject {
  const scores = model.pieces.flatMap(({ type, score }) => (type === "normal" ? [score] : []));
  const smallest = scores.reduce((a, b) => Math.min(a, b), 0);
  // What no text may become costs more than any way around it.
  const never = 100 * smallest - 100;
  return {
    type: "Unigram",
    unk_id: model.unknownId < 0 ? null : model.unknownId,
    byte_fallback: model.byteFallback,
    vocab: texts.map((text, id) => {
      const piece = model.pieces[id];
      const isFound = piece !== undefined && piece.text === text && isUsable(model, piece);
      return [text, isFound ? piece.score : never];
    }),
  };
}

function normalizerOf(model: SentencePieceModel, prefixFirst: boolean): JsonObject | null {
  const stages: JsonObject[] = [];
  const replace = (pattern: JsonObject, content: string) => {
    stages.push({ type: "Replace", pattern, content });
  };
  const space = model.escapeWhitespaces ? SPACE : " ";
  if (model.charsmap.length > 0) {
    stages.push({ type: "Precompiled", precompiled_charsmap: base64(model.charsmap) });
  }
  if (model.removeExtraWhitespaces) {
    // Not "^" and "$", which are the ends of lines.
    replace({ Regex: String.raw`(?<![\s\S]) +|[ ${space}]+(?![\s\S])` }, "");
    replace({ Regex: " {2,}" }, " ");
  }
  if (model.addDummyPrefix && model.whitespaceAsSuffix) {
    replace({ Regex: String.raw`(?<=[\s\S])(?![\s\S])` }, space);
  } else if (model.addDummyPrefix && !prefixFirst) {
    stages.push({ type: "Prepend", prepend: space });
  }
  if (model.escapeWhitespaces) replace({ String: " " }, SPACE);
  if (stages.length > 1) return { type: "Sequence", normalizers: stages };
  return stages[0] ?? null;
}

function decoderOf(model: SentencePieceModel): JsonObject {
  const strip = model.addDummyPrefix || model.removeExtraWhitespaces;
  return {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: SPACE }, content: " " },
      ...(model.byteFallback ? [{ type: "ByteFallback" }] : []),
      { type: "Fuse" },
      ...(strip && !model.whitespaceAsSuffix
        ? [{ type: "Strip", content: " ", start: 1, stop: 0 }]
        : []),
    ],
  };
}

/** Puts BOS before a text and EOS behind it. */
export function postProcessorOf(
  bos: string | undefined,
  eos: string | undefined,
  idOf: (token: string) => number,
): JsonObject | null {
  if (bos === undefined && eos === undefined) return null;
  const sequence = (id: string, type: number) => [
    ...(bos === undefined ? [] : [{ SpecialToken: { id: bos, type_id: type } }]),
    { Sequence: { id, type_id: type } },
    ...(eos === undefined ? [] : [{ SpecialToken: { id: eos, type_id: type } }]),
  ];
  const tokens = [...new Set([bos, eos])].filter((token) => token !== undefined);
  return {
    type: "TemplateProcessing",
    single: sequence("A", 0),
    pair: [...sequence("A", 0), ...sequence("B", 1)],
    special_tokens: Object.fromEntries(
      tokens.map((token) => [token, { id: token, ids: [idOf(token)], tokens: [token] }]),
    ),
  };
}

function flagOf(value: unknown, missing: boolean): boolean {
  return typeof value === "boolean" ? value : missing;
}

function contentOf(token: unknown): string | undefined {
  const content = isJsonObject(token) ? token["content"] : token;
  return typeof content === "string" ? content : undefined;
}

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(binary);
}
