// Tokens that stand beside the model's vocabulary: found in a text before the model sees what is between.
import { PieceTrie } from "./piece-trie.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Left out of decoded text on request. */
  readonly isSpecial: boolean;
  /** Takes in the white space before it, after it. */
  readonly stripsLeft: boolean;
  readonly stripsRight: boolean;
  /** Found only where no letter or digit touches it. */
  readonly isWord: boolean;
  /** Looked for in the normalized text, itself normalized. */
  readonly isNormalized: boolean;
}

/** A stretch of text that is a token, or is to be encoded. */
export interface Segment {
  readonly token: AddedToken | undefined;
  readonly start: number;
  readonly end: number;
}

const SPACES = /[\t-\r\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;

/** Finds tokens from the left, the longest of several; `contentOf` gives the text to look for. */
export function createSegmenter(
  tokens: readonly AddedToken[],
  contentOf: (token: AddedToken) => string = ({ content }) => content,
): (text: string) => readonly Segment[] {
  const trie = new PieceTrie();
  const firstUnits = new Uint8Array(0x10000);
  for (const [index, token] of tokens.entries()) {
    const content = contentOf(token);
    if (content === "") continue;
    trie.add(content, index);
    firstUnits[content.charCodeAt(0)] = 1;
  }
  return (text) => {
    const segments: Segment[] = [];
    let done = 0;
    for (let i = 0; i < text.length;) {
      const match = firstUnits[text.charCodeAt(i)] === 1 ? trie.matchLongest(text, i) : undefined;
      if (match === undefined) {
        i++;
        continue;
      }
      const token = tokens[match.value] as AddedToken;
      let start = i;
      let { end } = match;
      i = end;
      if (token.isWord && touchesWord(text, start, end)) continue;
      if (token.stripsLeft) {
        while (start > done && SPACES.test(text[start - 1] ?? "")) start--;
      }
      if (token.stripsRight) {
        while (end < text.length && SPACES.test(text[end] ?? "")) end++;
      }
      // The white space that the token before took may have been the start of this one.
      start = Math.max(start, done);
      if (start > done) segments.push({ token: undefined, start: done, end: start });
      segments.push({ token, start, end });
      done = end;
    }
    if (done < text.length) segments.push({ token: undefined, start: done, end: text.length });
    return segments;
  };
}

function touchesWord(text: string, start: number, end: number): boolean {
  return WORD_BEFORE.test(text.slice(0, start)) || WORD_AFTER.test(text.slice(end));
}
