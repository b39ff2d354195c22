// Which files of a data set's repo are the part of it that is wanted.
//
// In this order, as the `datasets` library finds them: what was named; what the head of the README declares; the
// names (data/train-00000-of-00002.parquet, folders called train, files called train); and all data files, where
// they are of one kind. A loading script is never run: the hub's own conversion to Parquet stands for it.
import type { DataConfig } from "../base/data-config.ts";
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";
import { matchesGlob } from "../base/glob.ts";

interface Listed {
  /** Path in the repo. */
  readonly name: string;
  readonly bytes: number;
}

export interface DataRequest {
  /** The repo, for messages. */
  readonly place: string;
  /** A file, a folder, a pattern or a config; "" for none of them. */
  readonly path: string;
  /** A split, several joined by "+", or "all". */
  readonly split: string;
  readonly configs: readonly DataConfig[];
}

export interface DataChoice<File extends Listed> {
  readonly files: readonly File[];
  /** Of the repo, where there is more than one. */
  readonly config?: string;
  /** The split's name; undefined where a file was named. */
  readonly split?: string;
  readonly reason: DataReason;
}

/** How files were found; "beginning" is a conversion of the first part alone. */
export type DataReason =
  | "named"
  | "pattern"
  | "card"
  | "names"
  | "only"
  | "all"
  | "converted"
  | "beginning";

/** The branch on which the hub keeps what it has converted. */
export const CONVERTED = "refs/convert/parquet";

/**
 * The files to take; undefined where only the hub's conversion can tell (the repo has a loading script, or no files
 * of a kind that is read here). Refuses, with what there is, where it is not clear.
 */
export function chooseDataFiles<File extends Listed>(
  files: readonly File[],
  request: DataRequest,
): DataChoice<File> | undefined {
  const { path, configs } = request;
  const named = files.find(({ name }) => name === path);
  if (named) return { files: [named], reason: "named" };
  if (/[*?[]/.test(path)) return matching(files, request);
  const config = chooseConfig(request);
  if (config) return ofConfig(files, config, request);
  const isFolder = files.some(({ name }) => name.startsWith(`${path}/`));
  if (path !== "" && !isFolder) {
    if (configs.length === 0 && hasScript(files, request)) return undefined; // one of the script's
    throw notThere(files, request);
  }
  if (path === "" && hasScript(files, request)) return undefined;
  return byNames(files, path, request);
}

/** The same on the branch of converted files, whose folders are configs and, in them, splits. */
export function chooseConverted<File extends Listed>(
  files: readonly File[],
  { place, path, split }: DataRequest,
): DataChoice<File> {
  const parquet = files.filter(({ name }) => name.endsWith(".parquet"));
  const names = [...new Set(parquet.map(({ name }) => name.split("/")[0] ?? ""))];
  const config = [path, "default"].find((name) => names.includes(name)) ?? names[0] ?? "";
  if (names.length > 1 && ![path, "default"].includes(config)) {
    throw severalConfigs(place, names);
  }
  if (path !== "" && config !== path) throw noConfig(place, path, names);
  // "train/0000.parquet"; "partial-train/…" where the hub has converted the beginning alone.
  const splits = new Map<string, File[]>();
  for (const file of parquet) {
    const [own, folder = "", ...rest] = file.name.split("/");
    if (own !== config || rest.length === 0) continue;
    const name = folder.replace(/^partial-/, "");
    splits.set(name, [...(splits.get(name) ?? []), file]);
  }
  const isPartial = parquet.some(({ name }) => name.startsWith(`${config}/partial-`));
  const reason = isPartial ? "beginning" : "converted";
  return take(splits, { place, split, reason }, names.length > 1 ? config : undefined);
}

/** The words for a repo of which the hub has no conversion either. */
export function nothingToRead(files: readonly Listed[], { place }: DataRequest): UserError {
  const script = files.find(({ name }) => name.endsWith(".py"));
  return new UserError(
    script
      ? `${place} is made by a script (${script.name}), which Hone never runs, and the hub has no conversion of it to Parquet.`
      : `${place} has no data that Hone reads: ${listOf(files)}.`,
    "Choose another data set, or write its rows into a JSONL file yourself.",
  );
}

/** What is read here, by the end of a name; a "gz" at the very end is unpacked. */
const KINDS: readonly { readonly kind: string; readonly names: RegExp }[] = [
  { kind: "parquet", names: /\.parquet$/i },
  { kind: "json", names: /\.(jsonl|ndjson|json)(\.gz)?$/i },
  { kind: "table", names: /\.(csv|tsv)(\.gz)?$/i },
  { kind: "text", names: /\.txt(\.gz)?$/i },
];

/** What lies beside data and is none; as the library has it, and texts that every repo has. */
const NO_DATA =
  /(^|\/)(config|dataset_info|dataset_infos|dataset_dict|package|package-lock|tokenizer|tokenizer_config)\.json$|(^|\/)(license|notice|requirements|readme)[\w.-]*\.txt$/i;

function isData({ name }: Listed): boolean {
  const isHidden = name.split("/").some((part) => part.startsWith(".") || part.startsWith("__"));
  return !isHidden && !NO_DATA.test(name) && kindOf(name) !== undefined;
}

function kindOf(name: string): string | undefined {
  return KINDS.find(({ names }) => names.test(name))?.kind;
}

/** A script of the repo's own name makes the data: files beside it are its raw material. */
function hasScript(files: readonly Listed[], { place }: DataRequest): boolean {
  const script = `${place.split("/").at(-1) ?? ""}.py`;
  return files.some(({ name }) => name === script);
}

function matching<File extends Listed>(
  files: readonly File[],
  request: DataRequest,
): DataChoice<File> {
  const found = files.filter((file) => isData(file) && matchesGlob(file.name, request.path));
  if (found.length === 0) throw notThere(files, request);
  return { files: byName(found), reason: "pattern" };
}

function chooseConfig({ place, path, configs }: DataRequest): DataConfig | undefined {
  if (path !== "") return configs.find(({ name }) => name === path);
  const [first, ...others] = configs;
  if (first === undefined || others.length === 0) return first;
  const chosen =
    configs.find(({ isDefault }) => isDefault) ?? configs.find(({ name }) => name === "default");
  if (chosen) return chosen;
  throw severalConfigs(
    place,
    configs.map(({ name }) => name),
  );
}

function ofConfig<File extends Listed>(
  files: readonly File[],
  { name, folder, splits }: DataConfig,
  request: DataRequest,
): DataChoice<File> {
  const config = request.configs.length > 1 ? name : undefined;
  if (!splits) return { ...byNames(files, folder, request), ...(config && { config }) };
  const below = folder === "" ? "" : `${folder}/`;
  const found = new Map<string, File[]>();
  for (const [split, patterns] of splits) {
    const own = files.filter(
      (file) =>
        isData(file) &&
        patterns.some((pattern) => matchesGlob(file.name, below + withoutHost(pattern))),
    );
    found.set(split, own);
  }
  return take(found, { ...request, reason: "card" }, config);
}

/** Some name their own repo in full: hf://datasets/org/name@revision/path. */
function withoutHost(pattern: string): string {
  return pattern.replace(/^hf:\/\/datasets\/[^/]+\/[^/]+\//, "").replace(/^\.?\//, "");
}

/** The library's words for splits, and what may stand beside them in a name. */
const KEYWORDS: readonly (readonly [split: string, words: readonly string[]])[] = [
  ["train", ["train", "training"]],
  ["validation", ["validation", "valid", "dev", "val"]],
  ["test", ["test", "testing", "eval", "evaluation"]],
];
const BESIDE = "[-._ 0-9]";
const inFolders = (word: string) => [
  `**/${word}/**`,
  `**/${word}${BESIDE}*/**`,
  `**/*${BESIDE}${word}/**`,
  `**/*${BESIDE}${word}${BESIDE}*/**`,
];
const inNames = (word: string) => [`**/${word}${BESIDE}*`, `**/*${BESIDE}${word}${BESIDE}*`];

function byNames<File extends Listed>(
  files: readonly File[],
  folder: string,
  request: DataRequest,
): DataChoice<File> {
  const below = folder === "" ? "" : `${folder}/`;
  const data = files.filter((file) => file.name.startsWith(below) && isData(file));
  if (data.length === 0) throw notThere(files, request);
  const own = (file: File) => file.name.slice(below.length);
  const sharded = new Map<string, File[]>();
  for (const file of data) {
    const split = /^data\/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*$/.exec(own(file))?.[1];
    if (split !== undefined) sharded.set(split, [...(sharded.get(split) ?? []), file]);
  }
  if (sharded.size > 0) return take(sharded, { ...request, reason: "names" });
  for (const patternsOf of [inFolders, inNames]) {
    const found = new Map<string, File[]>();
    for (const [split, words] of KEYWORDS) {
      const patterns = words.flatMap(patternsOf);
      const matched = data.filter((file) =>
        patterns.some((pattern) => matchesGlob(own(file), pattern)),
      );
      if (matched.length > 0) found.set(split, matched);
    }
    if (found.size > 0) return take(found, { ...request, reason: "names" });
  }
  return allOfOneKind(data, request);
}

/** Where no name says which split it is, all are the one that there is. */
function allOfOneKind<File extends Listed>(
  data: readonly File[],
  request: DataRequest,
): DataChoice<File> {
  // Beside rows a text is a word about them.
  const rows = data.filter(({ name }) => kindOf(name) !== "text");
  const candidates = rows.length > 0 ? rows : data;
  const kinds = new Set(candidates.map(({ name }) => kindOf(name)));
  if (kinds.size > 1) {
    throw new UserError(
      `${request.place} has data files of several kinds, and nothing says which are meant: ${listOf(candidates)}.`,
      `Name one, as in ${request.place}/${candidates[0]?.name ?? "FILE"}, or several with a pattern such as ${request.place}/*.jsonl.`,
    );
  }
  const reason = candidates.length === 1 ? "only" : "all";
  return take(new Map([["train", [...candidates]]]), { ...request, reason });
}

interface Taking {
  readonly place: string;
  readonly split: string;
  readonly reason: DataReason;
}

/** The files of the splits that were asked for, of the commonest kind where there are several. */
function take<File extends Listed>(
  splits: ReadonlyMap<string, readonly File[]>,
  { place, split, reason }: Taking,
  config?: string,
): DataChoice<File> {
  const known = [...splits].filter(([, files]) => files.length > 0).map(([name]) => name);
  const there = known.length === 0 ? "none that can be read" : known.join(", ");
  if (/[[\]]/.test(split)) {
    throw new UserError(
      `The split "${split}" asks for a part of a split.`,
      "Name the whole split, and set max_dataset_length to take that many of its rows.",
    );
  }
  const wanted = split === "all" ? known : split.split("+").map((name) => name.trim());
  const missing = wanted.find((name) => !known.includes(name));
  if (missing !== undefined || wanted.length === 0) {
    throw new UserError(
      `${place} has no split "${missing ?? split}"; it has ${there}.`,
      known.length === 0
        ? "Choose another data set."
        : `Set split to one of them: split: ${known[0]}.`,
    );
  }
  const files = wanted.flatMap((name) => byName(commonestKind(splits.get(name) ?? [])));
  return { files, split: wanted.join("+"), reason, ...(config !== undefined && { config }) };
}

/** The same rows are often there in several forms. */
function commonestKind<File extends Listed>(files: readonly File[]): readonly File[] {
  const groups = KINDS.map(({ kind }) => files.filter(({ name }) => kindOf(name) === kind));
  return groups.reduce((most, group) => (group.length > most.length ? group : most), []);
}

function byName<File extends Listed>(files: readonly File[]): File[] {
  return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function severalConfigs(place: string, names: readonly string[]): UserError {
  const more = names.length > MOST_LISTED ? ", …" : "";
  return new UserError(
    `${place} has ${names.length} configs: ${names.slice(0, MOST_LISTED).join(", ")}${more}.`,
    `Name one of them, as in ${place}/${names[0]}.`,
  );
}

function noConfig(place: string, path: string, names: readonly string[]): UserError {
  return new UserError(
    `${place} has no config ${path}; it has ${names.slice(0, MOST_LISTED).join(", ") || "none"}.`,
    "Check the name on its page.",
  );
}

function notThere(files: readonly Listed[], { place, path, configs }: DataRequest): UserError {
  const own = configs.map(({ name }) => name).slice(0, MOST_LISTED);
  return new UserError(
    path === ""
      ? `${place} has no data that Hone reads: ${listOf(files)}.`
      : `${place} has no file, folder or config ${path}: ${listOf(files)}${own.length > 1 ? `; configs: ${own.join(", ")}` : ""}.`,
    path === ""
      ? "Choose a data set of JSON, JSONL, CSV, Parquet or text files."
      : "Check the name on its page.",
  );
}

const MOST_LISTED = 12;

function listOf(files: readonly Listed[]): string {
  if (files.length === 0) return "no files at all";
  const shown = files
    .slice(0, MOST_LISTED)
    .map(({ name, bytes }) => `${name} (${formatBytes(bytes)})`);
  return `${shown.join(", ")}${files.length > shown.length ? ", …" : ""}`;
}
