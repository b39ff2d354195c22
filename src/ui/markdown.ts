// Markdown as tokens that are safe to show: what has no place here becomes text.
//
// Answers are hostile text. Nothing of them is ever parsed as HTML: tokens become elements one by one.
import { lexer, type Token } from "marked";

// Nobody nests so deeply but to break what reads it.
const MOST_NESTED = 40;

/** Tokens of `text`; those that were the same in `before` are the same objects, so what shows them stays. */
export function readMarkdown(text: string, before: readonly Token[] = []): Token[] {
  return readTokens(text).map((token, i) => {
    const known = before[i];
    return known?.raw === token.raw && known.type === token.type ? known : token;
  });
}

/** As Markdown; as the plain text it is where that cannot be read, or goes too deep to be shown. */
function readTokens(text: string): Token[] {
  try {
    const tokens = lexer(text);
    if (!isDeeper(tokens, MOST_NESTED)) return tokens;
  } catch {
    // The lexer ran out of stack.
  }
  return [{ type: "html", raw: text, text, block: true, pre: false } satisfies Token];
}

function isDeeper(tokens: readonly Token[], depth: number): boolean {
  if (depth === 0) return tokens.length > 0;
  return tokens.some((token) => {
    const inner =
      "items" in token
        ? token["items"]
        : token.type === "table"
          ? []
          : ("tokens" in token && token.tokens) || [];
    return isDeeper(inner as Token[], depth - 1);
  });
}

/** Where a link may lead, or undefined: the web, and no page of ours. */
export function safeHref(href: string): URL | undefined {
  let url: URL;
  try {
    url = new URL(href);
  } catch {
    return undefined; // relative ones would lead into this page
  }
  return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
}

/** `&amp;` and its like as they are meant; the lexer leaves them in text. */
export function decodeEntities(text: string): string {
  return text.replaceAll(/&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,7}|#x[\da-f]{1,6});/gi, (entity) => {
    const name = entity.slice(1, -1).toLowerCase();
    if (!name.startsWith("#")) return ENTITIES[name] ?? entity;
    const code = name.startsWith("#x") ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : entity;
  });
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00A0",
};
