// The tables of texts match: nothing is missing in a language, and nothing is left in the other one.
import { describe, expect, test } from "vitest";
import { TEXTS } from "../../src/ui/text/table.ts";

/** Leaves by path; a function is called with its parameters' numbers, so that what it leaves out shows. */
function leavesOf(table: object, path = ""): [string, string | ((...given: never[]) => unknown)][] {
  return Object.entries(table).flatMap(([key, value]: [string, unknown]) => {
    const at = path === "" ? key : `${path}.${key}`;
    if (typeof value === "string") return [[at, value]];
    if (typeof value === "function") return [[at, value as (...given: never[]) => unknown]];
    return leavesOf(value as object, at);
  });
}

/** What kind of text, and how many things it takes. */
function said(leaf: string | ((...given: never[]) => unknown) | undefined): string {
  return typeof leaf === "function" ? `a function of ${leaf.length}` : typeof leaf;
}

const en = new Map(leavesOf(TEXTS.en));
const zh = new Map(leavesOf(TEXTS.zh));

// The same in every language: names, and texts that are data rather than words.
const SHARED = /^(app\.name)$/;

describe("texts", () => {
  test("there are hundreds, and every path is in both languages", () => {
    expect(en.size).toBeGreaterThan(300);
    expect([...zh.keys()].toSorted()).toEqual([...en.keys()].toSorted());
  });

  test.each([...en.keys()])("%s says something in both, and takes the same", (path) => {
    expect(said(zh.get(path))).toBe(said(en.get(path)));
    expect(String(en.get(path)).trim()).not.toBe("");
    expect(String(zh.get(path)).trim()).not.toBe("");
  });

  test("Chinese texts are Chinese, but for names", () => {
    const left = [...zh].filter(
      ([path, text]) =>
        typeof text === "string" &&
        !SHARED.test(path) &&
        /[a-z]{4,} [a-z]{2,}/.test(text) &&
        !/\p{Script=Han}/u.test(text),
    );
    expect(left).toEqual([]);
  });

  test("English texts have no Chinese in them", () => {
    const left = [...en].filter(
      ([, text]) => typeof text === "string" && /\p{Script=Han}/u.test(text),
    );
    expect(left).toEqual([]);
  });
});
