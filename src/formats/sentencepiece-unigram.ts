// SentencePiece's Unigram: of all ways to cut a text into pieces, the one with the largest sum of scores,
// found from left to right. Sums are 32-bit floats as in the original, since close calls depend on it.
import { PieceTrie } from "./piece-trie.ts";
import type { CutText } from "./sentencepiece-bpe.ts";
import { utf8Length } from "./tokenizer-bytes.ts";
import { isUsable, type SentencePieceModel } from "./sentencepiece.ts";

/** How much worse than the worst piece a character is that has none. */
const UNKNOWN_PENALTY = 10;
/** Sums further from 0 than this are set back to it, as a float has few digits left for the next score. */
const RESET_SUM = 100_000;
const FLT_MAX = 3.4028234663852886e38;

export function createUnigram(model: SentencePieceModel): CutText {
  const trie = new PieceTrie();
  let smallest = FLT_MAX;
  for (const { type, score } of model.pieces) {
    if (type === "normal") smallest = Math.min(smallest, score);
  }
  // A user-defined symbol is worth more the longer it is, and more than any piece.
  const scores = Float32Array.from(model.pieces, ({ text, score, type }) =>
    type === "user-defined" ? 0.1 * (utf8Bytes(text) - 1) : score,
  );
  for (const [id, piece] of model.pieces.entries()) {
    if (isUsable(model, piece)) trie.add(piece.text, id);
  }
  const unknownScore = Math.fround(smallest - UNKNOWN_PENALTY);

  return (text, emit) => {
    const length = text.length;
    // The best way to each place: its sum, where its last piece starts (−1: no way yet) and which it is.
    const sums = new Float32Array(length + 1);
    const starts = new Int32Array(length + 1).fill(-1);
    const ids = new Int32Array(length + 1);
    let frontier = 0; // the furthest place that has a way
    const improve = (start: number, end: number, id: number, sum: number) => {
      if (end > frontier) frontier = end;
      if (starts[end] !== -1 && !(sum > (sums[end] as number))) return;
      sums[end] = sum;
      starts[end] = start;
      ids[end] = id;
    };
    for (let start = 0; start < length;) {
      const isPair = (text.codePointAt(start) as number) > 0xffff;
      const characterEnd = start + (isPair ? 2 : 1);
      const far = sums[start] as number;
      if (Math.abs(far) > RESET_SUM) {
        for (let i = start; i <= frontier; i++) {
          if (i === start || starts[i] !== -1) sums[i] = (sums[i] as number) - far;
        }
      }
      const sum = sums[start] as number;
      let hasCharacter = false;
      let node = 0;
      for (let end = start; end < length;) {
        node = trie.child(node, text.charCodeAt(end++));
        if (node < 0) break;
        const id = trie.valueOf(node);
        if (id < 0) continue;
        improve(start, end, id, Math.fround((scores[id] as number) + sum));
        if (end === characterEnd) hasCharacter = true;
      }
      if (!hasCharacter) improve(start, characterEnd, -1, Math.fround(unknownScore + sum));
      start = characterEnd;
    }
    const ends: number[] = [];
    for (let end = length; end > 0; end = starts[end] as number) ends.push(end);
    for (const end of ends.toReversed()) emit(starts[end] as number, end, ids[end] as number);
  };
}

function utf8Bytes(text: string): number {
  let bytes = 0;
  for (const character of text) bytes += utf8Length(character.codePointAt(0) as number);
  return bytes;
}
