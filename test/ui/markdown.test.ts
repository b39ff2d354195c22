// Markdown of a model: what is read of it, and what is not.
import type { Token } from "marked";
import { describe, expect, test } from "vitest";
import { decodeEntities, readMarkdown, safeHref } from "../../src/ui/markdown.ts";

describe("links", () => {
  test.each([
    "javascript:alert(1)",
    " javascript:alert(1)",
    "java\nscript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "blob:https://x/y",
    "file:///etc/passwd",
    "#/export",
    "/runs",
    "//evil.example/x",
    "?adapter=x",
    "",
  ])("%j leads nowhere", (href) => {
    expect(safeHref(href)).toBeUndefined();
  });

  test("the web is led to, by its own host", () => {
    expect(safeHref("https://a.example@b.example/x")?.host).toBe("b.example");
    expect(safeHref("http://example.org")?.protocol).toBe("http:");
  });
});

test("blocks that are complete stay the same objects while the text grows", () => {
  const first = readMarkdown("# One\n\nA paragraph.\n\n- a");
  const second = readMarkdown("# One\n\nA paragraph.\n\n- a\n- b", first);
  expect(second.slice(0, 3).every((token, i) => token === first[i])).toBe(true);
  expect(second.at(-1)).not.toBe(first.at(-1));
});

test("entities are what they mean, and no more than once", () => {
  expect(decodeEntities("&lt;b&gt; &amp;lt; &#20013;&#x6587; &bogus; &#0; &#9999999;")).toBe(
    "<b> &lt; 中文 &bogus; &#0; &#9999999;",
  );
});

test.each([
  ["quotes", ">".repeat(5000)],
  ["lists", Array.from({ length: 120 }, (_, i) => `${"  ".repeat(i)}- x`).join("\n")],
  ["brackets", "[".repeat(20_000)],
  ["stars", "*a **b ".repeat(2000)],
])("a text made to break what reads it is read at once: %s", (_, text) => {
  const started = performance.now();
  const tokens = readMarkdown(text);
  // A tenth of a second by itself; a reader that goes over the text anew for each mark takes minutes.
  expect(performance.now() - started).toBeLessThan(3000);
  expect(depthOf(tokens)).toBeLessThanOrEqual(40);
});

function depthOf(tokens: readonly Token[]): number {
  return tokens.reduce((deepest, token) => {
    const inner = [
      ...(("tokens" in token && token.tokens) || []),
      ...(token.type === "list" ? (token as unknown as { items: Token[] }).items : []),
    ];
    return Math.max(deepest, 1 + depthOf(inner));
  }, 0);
}
