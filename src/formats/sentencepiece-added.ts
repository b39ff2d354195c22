// The tokens of a SentencePiece model that stand beside its pieces, from the model and from
// tokenizer_config.json, in the form of tokenizer.json's "added_tokens".
import { isJsonObject, type JsonObject } from "./json.ts";
import { keepsText, type SentencePieceModel } from "./sentencepiece.ts";
import { ID_LIMIT } from "./tokenizer-model.ts";

/** An entry of "added_tokens". */
export interface ListedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

const NAMED = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);

/**
 * By id: the model's control and user-defined symbols, what "added_tokens_decoder" puts in their place
 * or adds, and tokens that the config only names. A name that no piece has gets the next free id.
 */
export function collectAddedTokens(model: SentencePieceModel, config: JsonObject): ListedToken[] {
  const tokens = new Map<number, ListedToken>();
  const isStable = keepsText(model);
  for (const [id, { text, type }] of model.pieces.entries()) {
    const isSpecial = type === "control" || type === "unknown";
    if (!isSpecial && type !== "user-defined") continue;
    // SentencePiece looks for its symbols in the normalized text, where spaces are "▁". Python's
    // tokenizers normalize the symbol too, which must leave it as it is.
    tokens.set(id, { ...listToken(id, text, {}, isSpecial), normalized: !isSpecial && isStable });
  }
  const listed = config["added_tokens_decoder"];
  for (const [key, value] of Object.entries(isJsonObject(listed) ? listed : {})) {
    if (!/^\d{1,7}$/.test(key) || Number(key) >= ID_LIMIT || !isJsonObject(value)) continue;
    const content = value["content"];
    if (typeof content !== "string" || content === "") continue;
    tokens.set(Number(key), listToken(Number(key), content, value, value["special"] === true));
  }

  const ids = new Map<string, number>();
  for (const [id, { text }] of model.pieces.entries()) if (!tokens.has(id)) ids.set(text, id);
  for (const { id, content } of tokens.values()) ids.set(content, id);
  let nextId = [...tokens.keys()].reduce((most, id) => Math.max(most, id + 1), model.pieces.length);
  const additional = config["additional_special_tokens"];
  const named = NAMED.map((key) => config[key]);
  for (const value of [...named, ...(Array.isArray(additional) ? additional : [])]) {
    const options: JsonObject = isJsonObject(value) ? value : {};
    const content: unknown = isJsonObject(value) ? value["content"] : value;
    if (typeof content !== "string" || content === "") continue;
    const id = ids.get(content) ?? nextId++;
    ids.set(content, id);
    const known = tokens.get(id);
    if (known?.special !== true) {
      tokens.set(id, known ? { ...known, special: true } : listToken(id, content, options, true));
    }
  }
  return [...tokens.values()].toSorted((a, b) => a.id - b.id);
}

function listToken(
  id: number,
  content: string,
  options: JsonObject,
  special: boolean,
): ListedToken {
  return {
    id,
    content,
    single_word: options["single_word"] === true,
    lstrip: options["lstrip"] === true,
    rstrip: options["rstrip"] === true,
    // Whatever is written for them, Python's tokenizers for SentencePiece look in the text as it is.
    normalized: false,
    special,
  };
}
