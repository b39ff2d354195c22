// The YAML head of a data set's README on the hub: which files are which part of it.
//
// Anybody may have written it. What is not understood is left out, as if it were not there.
import { parse } from "yaml";
import type { DataConfig } from "../base/data-config.ts";

const HEAD_LIMIT = 1 << 20;
const DEEPEST = 100;
const MOST_CONFIGS = 2000;
const MOST_PATTERNS = 20_000;

/** The configs that a README's head declares; none where it declares none. */
export function readCardConfigs(readme: string): DataConfig[] {
  const head = headOf(readme);
  if (head === undefined) return [];
  const { configs } = asRecord(parseYaml(head));
  if (!Array.isArray(configs)) return [];
  return configs.slice(0, MOST_CONFIGS).flatMap((config: unknown) => {
    const { config_name: name, default: isDefault, data_dir: folder, ...more } = asRecord(config);
    const splits = splitsOf(more["data_files"]);
    if (splits === undefined && typeof folder !== "string") return [];
    return [
      {
        name: typeof name === "string" && name !== "" ? name : "default",
        isDefault: isDefault === true,
        folder: typeof folder === "string" ? folder.replaceAll(/^[./]+|\/+$/g, "") : "",
        splits,
      },
    ];
  });
}

/** What lies between a first line "---" and the next one. */
function headOf(readme: string): string | undefined {
  const text = readme.slice(0, HEAD_LIMIT).replace(/^\uFEFF/, "");
  return /^---[ \t]*\r?\n([^]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(text)?.[1];
}

function parseYaml(text: string): unknown {
  // Brackets in brackets take the library a time that grows with the square of their number.
  if (depthOf(text) > DEEPEST || /(?:[-?] ){20}/.test(text)) return undefined;
  try {
    return parse(text, { logLevel: "silent", maxAliasCount: 100 }) as unknown;
  } catch {
    return undefined;
  }
}

/** How many brackets are open at once, those in texts counted too. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [letter] of text.matchAll(/[[\]{}]/g)) {
    depth = Math.max(0, depth + (letter === "[" || letter === "{" ? 1 : -1));
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** A text, a list of texts, a list of {split, path}, or an object of splits: all forms that the library takes. */
function splitsOf(files: unknown): ReadonlyMap<string, readonly string[]> | undefined {
  if (files === undefined || files === null) return undefined;
  const entries: [string, unknown][] = [];
  if (typeof files === "string") entries.push(["train", files]);
  else if (Array.isArray(files)) {
    const isNamed = files.some((entry) => typeof entry === "object");
    if (!isNamed) entries.push(["train", files]);
    else {
      for (const entry of files) {
        const { split, path } = asRecord(entry);
        if (typeof split === "string") entries.push([split, path]);
      }
    }
  } else entries.push(...Object.entries(asRecord(files)));
  const splits = new Map<string, readonly string[]>();
  for (const [split, paths] of entries) {
    const patterns = (Array.isArray(paths) ? paths : [paths]).slice(0, MOST_PATTERNS);
    const known = patterns.filter(
      (pattern): pattern is string => typeof pattern === "string" && pattern.length <= 500,
    );
    if (known.length > 0) splits.set(split, known);
  }
  return splits.size > 0 ? splits : undefined;
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
