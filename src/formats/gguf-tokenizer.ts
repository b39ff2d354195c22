// The tokenizer in a GGUF file's metadata as tokenizer.json and its companions.
// GGUF only names how text is cut into words ("tokenizer.ggml.pre"); the rules behind the names are those
// of the families' own tokenizer.json. A name that is not known here is refused: ids would be wrong.
import { UserError } from "../base/error.ts";
import type { GgufMetadata, GgufValue } from "./gguf.ts";
import type { JsonObject } from "./json.ts";
import {
  convertSentencePiece,
  postProcessorOf,
  type SentencePieceFiles,
} from "./sentencepiece-tokenizer.ts";
import { checkSentencePiece, type PieceType, pieceTypeOf } from "./sentencepiece.ts";
import type { TokenizerFiles } from "./tokenizer.ts";

const OTHER = "Use the model's Hugging Face folder, which has its own tokenizer.json.";
const AGAIN = "Get the file again from where it was made, or convert the model to GGUF anew.";

/** How a family cuts text into words before BPE, in the form of tokenizer.json. */
interface PreTokenizer {
  readonly normalizer?: JsonObject;
  readonly stages: readonly JsonObject[];
  /** A word that is a token is that token, whatever the merges make of it. */
  readonly ignoreMerges?: boolean;
  readonly addsBos?: boolean;
}

const byteLevel = (useRegex: boolean): JsonObject => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const split = (regex: string): JsonObject => ({
  type: "Split",
  pattern: { Regex: regex },
  behavior: "Isolated",
  invert: false,
});
const digits: JsonObject = { type: "Digits", individual_digits: true };

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const MARKS = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const MARKS_AND_SLASH = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const BEFORE = String.raw`[^\r\n\p{L}\p{N}]?`;

const GPT2: PreTokenizer = { stages: [byteLevel(true)] };
const SMOLLM: PreTokenizer = { stages: [digits, byteLevel(true)] };
const LLAMA3: PreTokenizer = {
  stages: [split(String.raw`${CONTRACTION}|${BEFORE}\p{L}+|\p{N}{1,3}|${MARKS}`), byteLevel(false)],
  ignoreMerges: true,
  addsBos: true,
};
const QWEN2: PreTokenizer = {
  normalizer: { type: "NFC" },
  stages: [split(String.raw`${CONTRACTION}|${BEFORE}\p{L}+|\p{N}|${MARKS}`), byteLevel(false)],
};
const TEKKEN: PreTokenizer = {
  stages: [
    split(
      String.raw`${BEFORE}${UPPER}*${LOWER}+|${BEFORE}${UPPER}+${LOWER}*|\p{N}|${MARKS_AND_SLASH}`,
    ),
    byteLevel(false),
  ],
  ignoreMerges: true,
  addsBos: true,
};
const GPT4O: PreTokenizer = {
  stages: [
    split(
      String.raw`${BEFORE}${UPPER}*${LOWER}+${CONTRACTION}?|${BEFORE}${UPPER}+${LOWER}*${CONTRACTION}?|\p{N}{1,3}|${MARKS_AND_SLASH}`,
    ),
    byteLevel(false),
  ],
};

/** By llama.cpp's names. */
const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map([
  ["default", GPT2],
  ["gpt-2", GPT2],
  ["phi-2", GPT2],
  ["olmo", GPT2],
  ["smollm", SMOLLM],
  ["starcoder", SMOLLM],
  ["refact", SMOLLM],
  ["llama-bpe", LLAMA3],
  ["llama3", LLAMA3],
  ["llama-v3", LLAMA3],
  ["qwen2", QWEN2],
  ["deepseek-r1-qwen", QWEN2],
  ["tekken", TEKKEN],
  ["gpt-4o", GPT4O],
]);

/** `place` names the file in errors. */
export function tokenizerFromGguf(metadata: GgufMetadata, place: string): TokenizerFiles {
  const model = metadata.get("tokenizer.ggml.model");
  if (model === undefined) {
    throw new UserError(`${place} has no tokenizer ("tokenizer.ggml.model").`, OTHER);
  }
  const vocabulary = readVocabulary(metadata, place);
  const files =
    model === "llama"
      ? fromPieces(vocabulary, metadata, place)
      : fromBpe(model, vocabulary, metadata, place);
  return { ...files, generationConfig: { eos_token_id: endIds(vocabulary, metadata) } };
}

interface Vocabulary {
  readonly texts: readonly string[];
  readonly types: readonly PieceType[];
}

function readVocabulary(metadata: GgufMetadata, place: string): Vocabulary {
  const listed = textsOf(metadata, "tokenizer.ggml.tokens", place);
  const numbers = numbersOf(metadata, "tokenizer.ggml.token_type", listed.length, place);
  const types = listed.map((text, id): PieceType => {
    // llama.cpp names tokens without a text so; nothing can be encoded as them.
    if (text === "") return "unused";
    // 0 is "undefined", which llama.cpp treats as normal.
    return numbers === undefined || numbers[id] === 0
      ? "normal"
      : (pieceTypeOf(numbers[id] as number) ?? "normal");
  });
  const texts = listed.map((text, id) => (text === "" ? `[EMPTY_${id}]` : text));
  const ids = new Map<string, number>();
  for (const [id, text] of texts.entries()) {
    const before = ids.get(text);
    if (before !== undefined) {
      throw new UserError(
        `${place}: tokens ${before} and ${id} are both ${JSON.stringify(text)}.`,
        AGAIN,
      );
    }
    ids.set(text, id);
  }
  return { texts, types };
}

/** A SentencePiece BPE model, with scores in place of merges. */
function fromPieces(
  { texts, types }: Vocabulary,
  metadata: GgufMetadata,
  place: string,
): SentencePieceFiles {
  const scores = numbersOf(metadata, "tokenizer.ggml.scores", texts.length, place);
  if (scores === undefined) {
    throw new UserError(`${place} has no "tokenizer.ggml.scores" for its tokens.`, AGAIN);
  }
  const unknownId = types.indexOf("unknown");
  const model = {
    kind: "bpe" as const,
    pieces: texts.map((text, id) => ({
      // llama.cpp's converter writes spaces into symbols that have "▁" in the model.
      text: types[id] === "user-defined" ? text.replaceAll(" ", "\u2581") : text,
      score: scores[id] as number,
      type: types[id] as PieceType,
    })),
    unknownId,
    bosId: idOf(metadata, "bos", texts) ?? idWithin(1, texts),
    eosId: idOf(metadata, "eos", texts) ?? idWithin(2, texts),
    padId: idOf(metadata, "padding", texts),
    byteFallback: types.includes("byte"),
    whitespaceAsSuffix: false,
    normalizerName: "",
    charsmap: bytesOf(metadata.get("tokenizer.ggml.precompiled_charsmap")),
    addDummyPrefix: flagOf(metadata, "add_space_prefix") ?? true,
    removeExtraWhitespaces: flagOf(metadata, "remove_extra_whitespaces") ?? false,
    escapeWhitespaces: true,
  };
  checkSentencePiece(model, place);
  return convertSentencePiece(model, {
    add_bos_token: flagOf(metadata, "add_bos_token") ?? true,
    add_eos_token: flagOf(metadata, "add_eos_token") ?? false,
    ...commonConfig(metadata),
  });
}

/** Byte-level BPE ("gpt2"), or BPE of SentencePiece's making with merges ("gemma4"). */
function fromBpe(
  kind: GgufValue,
  { texts, types }: Vocabulary,
  metadata: GgufMetadata,
  place: string,
): TokenizerFiles {
  if (kind !== "gpt2" && kind !== "gemma4") {
    throw new UserError(
      `${place} has a tokenizer of the kind ${shown(kind)}; "gpt2", "llama" and "gemma4" can be read.`,
      OTHER,
    );
  }
  const isByteLevel = kind === "gpt2";
  const pre = isByteLevel ? preTokenizerOf(metadata, place) : undefined;
  const added = addedTokens(texts, types);
  const tokenText = (name: string) => {
    const id = idOf(metadata, name, texts);
    return id === undefined ? undefined : texts[id];
  };
  const bos = tokenText("bos");
  const eos = tokenText("eos");
  const unknown = tokenText("unknown");
  const pad = tokenText("padding");
  // Gemma 4's first files say that no BOS is wanted, which was a mistake.
  const wantsBos = pre === undefined || (flagOf(metadata, "add_bos_token") ?? pre.addsBos ?? false);
  const addsBos = wantsBos && bos;
  const addsEos = (flagOf(metadata, "add_eos_token") ?? false) && eos;
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: isByteLevel
        ? (pre?.normalizer ?? null)
        : { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      pre_tokenizer: pre === undefined ? null : sequence("pretokenizers", pre.stages),
      post_processor: postProcessorOf(addsBos || undefined, addsEos || undefined, (token) =>
        texts.indexOf(token),
      ),
      decoder: bpeDecoder(isByteLevel),
      model: {
        ...bpeOptions(pre, unknown),
        vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
        merges: readMerges(metadata, place),
      },
    },
    tokenizerConfig: {
      tokenizer_class: "PreTrainedTokenizerFast",
      added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
      clean_up_tokenization_spaces: false,
      add_bos_token: Boolean(addsBos),
      add_eos_token: Boolean(addsEos),
      ...(bos !== undefined && { bos_token: bos }),
      ...(eos !== undefined && { eos_token: eos }),
      ...(unknown !== undefined && { unk_token: unknown }),
      ...(pad !== undefined && { pad_token: pad }),
      ...commonConfig(metadata),
    },
  };
}

function addedTokens(texts: Vocabulary["texts"], types: Vocabulary["types"]) {
  return texts.flatMap((text, id) => {
    const type = types[id];
    const special = type === "control" || type === "unknown";
    if (!special && type !== "user-defined") return [];
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content: text, ...flags, special }];
  });
}

function bpeDecoder(isByteLevel: boolean): JsonObject | null {
  return isByteLevel
    ? { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true }
    : sequence("decoders", [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
      ]);
}

/** Without a pre-tokenizer the texts are as they are, and bytes are tokens beside them. */
function bpeOptions(pre: PreTokenizer | undefined, unknown: string | undefined): JsonObject {
  const isByteLevel = pre !== undefined;
  return {
    type: "BPE",
    dropout: null,
    unk_token: isByteLevel ? null : (unknown ?? null),
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: !isByteLevel,
    byte_fallback: !isByteLevel,
    ignore_merges: pre?.ignoreMerges ?? false,
  };
}

function sequence(key: "pretokenizers" | "decoders", stages: readonly JsonObject[]): JsonObject {
  const [only, ...others] = stages;
  return only !== undefined && others.length === 0 ? only : { type: "Sequence", [key]: stages };
}

function preTokenizerOf(metadata: GgufMetadata, place: string): PreTokenizer {
  const name = metadata.get("tokenizer.ggml.pre");
  const pre = typeof name === "string" ? PRE_TOKENIZERS.get(name) : undefined;
  if (pre !== undefined) return pre;
  const fact =
    name === undefined
      ? `${place} does not say how its tokenizer cuts words ("tokenizer.ggml.pre")`
      : `${place} has the pre-tokenizer ${shown(name)}, which Hone does not know`;
  throw new UserError(`${fact}; known are ${[...PRE_TOKENIZERS.keys()].join(", ")}.`, OTHER);
}

/** "a b" to ["a", "b"]. Bytes of a space are written otherwise; only in "gemma4" is a first space text. */
function readMerges(metadata: GgufMetadata, place: string): [string, string][] {
  return textsOf(metadata, "tokenizer.ggml.merges", place).map((merge, rank) => {
    const space = merge.indexOf(" ", 1);
    if (space > 0) return [merge.slice(0, space), merge.slice(space + 1)];
    throw new UserError(
      `${place}: merge ${rank}, ${JSON.stringify(merge)}, is not two texts with a space between.`,
      AGAIN,
    );
  });
}

/** What ends an answer besides EOS; older files have no ids for it, so it is known by its text. */
const END_OF_TURN = [
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<end_of_turn>",
  "<|end_of_text|>",
  "<|endoftext|>",
];

function endIds({ texts, types }: Vocabulary, metadata: GgufMetadata): number[] {
  const isEnd = (text: string) => types[texts.indexOf(text)] === "control";
  const eot = END_OF_TURN.find(isEnd);
  const ids = [
    idOf(metadata, "eos", texts),
    idOf(metadata, "eot", texts) ?? (eot === undefined ? undefined : texts.indexOf(eot)),
    idOf(metadata, "eom", texts),
  ];
  return [...new Set(ids.filter((id) => id !== undefined))];
}

function commonConfig(metadata: GgufMetadata): JsonObject {
  const template = metadata.get("tokenizer.chat_template");
  const context = metadata.get(`${String(metadata.get("general.architecture"))}.context_length`);
  return {
    ...(typeof template === "string" && { chat_template: template }),
    ...(typeof context === "number" && { model_max_length: context }),
  };
}

function textsOf(metadata: GgufMetadata, key: string, place: string): readonly string[] {
  const value = metadata.get(key);
  if (Array.isArray(value) && value.every((text) => typeof text === "string")) return value;
  throw new UserError(`${place} has no list of texts under "${key}".`, AGAIN);
}

/** A list of at least `count` numbers; undefined where there is none. */
function numbersOf(
  metadata: GgufMetadata,
  key: string,
  count: number,
  place: string,
): ArrayLike<number> | undefined {
  const value = metadata.get(key);
  if (value === undefined) return undefined;
  const isList = ArrayBuffer.isView(value) || (Array.isArray(value) && value.every(isNumber));
  if (isList && value.length >= count) return value;
  throw new UserError(`${place} has no list of ${count} numbers under "${key}".`, AGAIN);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number";
}

function bytesOf(value: GgufValue | undefined): Uint8Array<ArrayBuffer> {
  return ArrayBuffer.isView(value) ? Uint8Array.from(value as ArrayLike<number>) : new Uint8Array();
}

/** The id of a special token, such as "bos". An id past the vocabulary counts as none. */
function idOf(metadata: GgufMetadata, name: string, texts: readonly unknown[]): number | undefined {
  const id = metadata.get(`tokenizer.ggml.${name}_token_id`);
  return typeof id === "number" ? idWithin(id, texts) : undefined;
}

function idWithin(id: number, texts: readonly unknown[]): number | undefined {
  return id >= 0 && id < texts.length ? id : undefined;
}

function flagOf(metadata: GgufMetadata, name: string): boolean | undefined {
  const value = metadata.get(`tokenizer.ggml.${name}`);
  return typeof value === "boolean" ? value : undefined;
}

/** A value of the metadata in a message; JSON has no 64-bit integers. */
function shown(value: GgufValue | undefined): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}
