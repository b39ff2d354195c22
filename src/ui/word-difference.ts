// What is new in a text against the one before it, in words.

export interface TextPart {
  readonly text: string;
  readonly isNew: boolean;
}

// The table of a comparison has the product of the lengths; longer texts are compared by their beginning.
const MOST_WORDS = 600;

/** `after` in parts, the words that `before` does not have at their place marked as new. */
export function markNewWords(before: string, after: string): TextPart[] {
  const [old, all] = [splitWords(before).slice(0, MOST_WORDS), splitWords(after)];
  const words = all.slice(0, MOST_WORDS);
  const common = commonLengths(old, words);
  const parts: TextPart[] = [];
  let [i, j] = [0, 0];
  while (j < words.length) {
    const isKept = i < old.length && old[i] === words[j];
    if (isKept) {
      add(parts, words[j++] ?? "", false);
      i++;
    } else if (i < old.length && (common[i + 1]?.[j] ?? 0) >= (common[i]?.[j + 1] ?? 0)) i++;
    else add(parts, words[j++] ?? "", true);
  }
  for (const word of all.slice(MOST_WORDS)) add(parts, word, true);
  return joinAcrossSpaces(parts);
}

/** A space between two new words is part of what is new. */
function joinAcrossSpaces(parts: readonly TextPart[]): TextPart[] {
  const joined: TextPart[] = [];
  for (const [i, { text, isNew }] of parts.entries()) {
    const isBetween = joined.at(-1)?.isNew === true && parts[i + 1]?.isNew === true;
    add(joined, text, isNew || (isBetween && text.trim() === ""));
  }
  return joined;
}

/** Words, runs of spaces and punctuation marks; Chinese, Japanese and Korean by the character. */
function splitWords(text: string): string[] {
  return (
    text.match(
      /\s+|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|[\p{L}\p{N}\p{M}]+?(?=[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|[^\p{L}\p{N}\p{M}]|$)|./gsu,
    ) ?? []
  );
}

/** At [i][j]: how many words the texts from there on have in common, in order. */
function commonLengths(old: readonly string[], words: readonly string[]): Uint16Array[] {
  const rows = Array.from({ length: old.length + 1 }, () => new Uint16Array(words.length + 1));
  for (let i = old.length - 1; i >= 0; i--) {
    for (let j = words.length - 1; j >= 0; j--) {
      const [row, next] = [rows[i], rows[i + 1]];
      if (!row || !next) continue;
      row[j] =
        old[i] === words[j] ? (next[j + 1] ?? 0) + 1 : Math.max(next[j] ?? 0, row[j + 1] ?? 0);
    }
  }
  return rows;
}

function add(parts: TextPart[], text: string, isNew: boolean): void {
  const last = parts.at(-1);
  if (last && last.isNew === isNew) parts[parts.length - 1] = { text: last.text + text, isNew };
  else parts.push({ text, isNew });
}
