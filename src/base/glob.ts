// Patterns of file names, as in "data/train-*.parquet", matched in time that grows with name and pattern alone:
// they come from files that anybody may have written.

/**
 * Whether a path with "/" between its parts matches. "*" stands for any characters but "/", "?" for one, "[ab-d]"
 * for one of these ("[!…]" for none of them), and a part "**" for any folders or, at the end, everything below.
 */
export function matchesGlob(path: string, pattern: string): boolean {
  const parts = path.split("/");
  const patterns = pattern.split("/").filter((part) => part !== "" && part !== ".");
  return matchSequence(parts, patterns, {
    isStar: (part) => part === "**",
    isMatch: (part, own) => matchesPart(part, own),
    lastStarTakes: 1, // at the end it stands for a file, not for nothing
  });
}

function matchesPart(name: string, pattern: string): boolean {
  return matchSequence(Array.from(name), tokensOf(pattern), {
    isStar: (token) => token === "*",
    isMatch: (letter, token) => token === "?" || matchesLetter(letter, token),
    lastStarTakes: 0,
  });
}

/** "a[b-d]*" → "a", "[b-d]", "*"; stars in a row are one. */
function tokensOf(pattern: string): string[] {
  const tokens = pattern.match(/\[!?\]?[^\]]*\]|[^]/gu) ?? [];
  return tokens.filter((token, i) => token !== "*" || tokens[i - 1] !== "*");
}

function matchesLetter(letter: string, token: string): boolean {
  if (token.length < 3 || !token.startsWith("[")) return letter === token;
  const isNegated = token[1] === "!" || token[1] === "^";
  const members = Array.from(token.slice(isNegated ? 2 : 1, -1));
  let isMember = false;
  for (let i = 0; i < members.length; i++) {
    const [first = "", dash, last = ""] = members.slice(i, i + 3);
    const isRange = dash === "-" && last !== "";
    isMember ||= isRange ? first <= letter && letter <= last : letter === first;
    if (isRange) i += 2;
  }
  return isMember !== isNegated;
}

interface Rules {
  readonly isStar: (token: string) => boolean;
  readonly isMatch: (item: string, token: string) => boolean;
  /** How many items a star at the very end takes at least. */
  readonly lastStarTakes: number;
}

/** Matches items with tokens, of which stars take any number: after a failure only the last star takes one more. */
function matchSequence(items: readonly string[], tokens: readonly string[], rules: Rules): boolean {
  const { isStar, isMatch, lastStarTakes } = rules;
  let at = 0;
  let token = 0;
  let star: { readonly token: number; at: number } | undefined;
  for (;;) {
    const own = tokens[token];
    const item = items[at];
    if (own !== undefined && isStar(own)) {
      const takes = token === tokens.length - 1 ? lastStarTakes : 0;
      star = { token, at: at + takes };
      if (star.at > items.length) return false;
      at = star.at;
      token++;
    } else if (own !== undefined && item !== undefined && isMatch(item, own)) {
      at++;
      token++;
    } else if (own === undefined && item === undefined) {
      return true;
    } else if (star && star.at < items.length) {
      at = ++star.at;
      token = star.token + 1;
    } else {
      return false;
    }
  }
}
