// Text to ids as SentencePiece does it, by scores. tokenizer.json cannot say all of it: its BPE goes by a
// list of pairs, and its user-defined symbols end the text that they stand in.
import { PieceTrie } from "./piece-trie.ts";
import { createBpe } from "./sentencepiece-bpe.ts";
import { createNormalizer, type NormalizeOptions } from "./sentencepiece-normalizer.ts";
import type { SentencePieceModel } from "./sentencepiece.ts";
import { createUnigram } from "./sentencepiece-unigram.ts";
import { type AddedToken, createSegmenter } from "./tokenizer-added.ts";
import { fallbackToken, utf8Byte, utf8Length } from "./tokenizer-bytes.ts";
import { endOf, startOf } from "./tokenizer-piece.ts";
import type { EncodedText } from "./tokenizer-pipeline.ts";

/**
 * A text's ids, with special tokens in it taken for plain text. Where `track` is off, starts and ends
 * are empty.
 */
export type EncodePieces = (text: string, options?: Partial<NormalizeOptions>) => EncodedText;

/** How a tokenizer that was read from a SentencePiece model encodes the text between its special tokens. */
export interface SentencePieceEncoding {
  readonly model: SentencePieceModel;
  /** The dummy space goes before a whole text only, not behind each special token too. */
  readonly prefixOnce: boolean;
}

/** `place` names the model's file in errors. */
export function createSentencePieceEncoder(model: SentencePieceModel, place: string): EncodePieces {
  const symbols = userDefinedSymbols(model);
  const normalize = createNormalizer(model, symbols, place);
  const cut = model.kind === "bpe" ? createBpe(model, symbols) : createUnigram(model);
  const idOfByte = new Map<string, number>();
  for (const [id, { text, type }] of model.pieces.entries()) {
    if (type === "byte") idOfByte.set(text, id);
  }
  const byteIds = Array.from({ length: 256 }, (_, byte) => idOfByte.get(fallbackToken(byte)) ?? -1);

  return (text, { addPrefix = true, track = false } = {}) => {
    // Half a surrogate pair is no character; UTF-8 has U+FFFD for it.
    const piece = normalize(text.toWellFormed(), { addPrefix, track });
    const ids: number[] = [];
    const starts: number[] = [];
    const ends: number[] = [];
    const add = (id: number, start: number, end: number) => {
      ids.push(id);
      if (!track) return;
      // The dummy space is before the text's first unit.
      starts.push(Math.max(0, startOf(piece, start)));
      ends.push(Math.max(0, endOf(piece, end - 1)));
    };
    let afterUnknown = false;
    cut(piece.text, (start, end, id) => {
      if (id >= 0) {
        add(id, start, end);
      } else if (model.byteFallback) {
        for (let at = start; at < end;) {
          const point = piece.text.codePointAt(at) as number;
          const next = at + (point > 0xffff ? 2 : 1);
          const bytes = utf8Length(point);
          for (let i = 0; i < bytes; i++) {
            add(byteIds[utf8Byte(point, bytes, i)] as number, at, next);
          }
          at = next;
        }
      } else if (!afterUnknown) {
        add(model.unknownId, start, end);
      } else if (track) {
        // Unknown characters in a row are one token.
        ends[ends.length - 1] = endOf(piece, end - 1);
      }
      afterUnknown = id < 0;
    });
    return { ids, starts, ends };
  };
}

/** As above, with added tokens found in the text first; what is between them is encoded by itself. */
export function createTextEncoder(
  { model, prefixOnce }: SentencePieceEncoding,
  addedTokens: readonly AddedToken[],
  place: string,
): (text: string, track: boolean) => EncodedText {
  const encode = createSentencePieceEncoder(model, place);
  // The model finds its own symbols, in the normalized text.
  const isOwn = ({ id, content, isSpecial }: AddedToken) =>
    !isSpecial && model.pieces[id]?.type === "user-defined" && model.pieces[id].text === content;
  const findAdded = createSegmenter(addedTokens.filter((token) => !isOwn(token)));
  return (text, track) => {
    const result: EncodedText = { ids: [], starts: [], ends: [] };
    for (const { token, start, end } of findAdded(text)) {
      const part =
        token === undefined
          ? encode(text.slice(start, end), { addPrefix: !prefixOnce || start === 0, track })
          : { ids: [token.id], starts: track ? [0] : [], ends: track ? [end - start] : [] };
      for (const id of part.ids) result.ids.push(id);
      for (const at of part.starts) result.starts.push(start + at);
      for (const at of part.ends) result.ends.push(start + at);
    }
    return result;
  };
}

function userDefinedSymbols(model: SentencePieceModel): PieceTrie | undefined {
  const trie = new PieceTrie();
  let count = 0;
  for (const [id, { text, type }] of model.pieces.entries()) {
    if (type !== "user-defined") continue;
    trie.add(text, id);
    count++;
  }
  return count > 0 ? trie : undefined;
}
