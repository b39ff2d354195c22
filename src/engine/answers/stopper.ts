// The text of an answer as its tokens come: passed on at once, but for a stop word and what might yet be one.
import type { PieceInfo } from "../../engine.ts";
import type { StreamDecoder } from "../../formats/tokenizer.ts";

export interface Stopper {
  /** True once a stop word has come. */
  push(id: number, probability: number): boolean;
  /** The whole text, to the stop word or the end. */
  finish(): string;
}

/**
 * `onText` gets a piece for each token, with that token's probability. A token that ends within a character
 * comes with the one that completes it; a piece that was held back comes later, still by itself.
 */
export function createStopper(
  stopWords: readonly string[],
  decoder: StreamDecoder,
  onText: (text: string, info: PieceInfo) => void,
): Stopper {
  let text = "";
  let shown = 0;
  let isStopped = false;
  let probability = 0;
  /** Where the text of each token ends that is not shown whole yet. */
  const pieces: { readonly end: number; readonly probability: number }[] = [];
  const words = stopWords.filter((word) => word !== "");
  const show = (end: number) => {
    while (shown < end) {
      const piece = pieces[0] ?? { end, probability };
      const stop = Math.min(piece.end, end);
      onText(text.slice(shown, stop), { probability: piece.probability });
      shown = stop;
      if (piece.end <= shown) pieces.shift();
    }
  };
  const take = (fresh: string): boolean => {
    if (fresh === "") return false;
    text += fresh;
    pieces.push({ end: text.length, probability });
    const found = words.map((word) => text.indexOf(word)).filter((at) => at >= 0);
    if (found.length > 0) {
      text = text.slice(0, Math.min(...found));
      isStopped = true;
      show(text.length);
      return true;
    }
    show(text.length - heldBack(text, words));
    return false;
  };
  return {
    push(id, ofToken) {
      probability = ofToken;
      return take(decoder.push(id));
    },
    finish() {
      // An answer cut off by its length may end within a character, of which nothing is shown.
      if (!isStopped) take(decoder.flush().replace(/\uFFFD+$/u, ""));
      show(text.length);
      return text;
    },
  };
}

/** How many last characters are the beginning of a stop word. */
function heldBack(text: string, words: readonly string[]): number {
  let most = 0;
  for (const word of words) {
    for (let length = Math.min(word.length - 1, text.length); length > most; length--) {
      if (text.endsWith(word.slice(0, length))) most = length;
    }
  }
  return most;
}
