// Models, adapters and data sets named by their ids on the hub, as folders and files of the cache: what is missing
// of them is downloaded first, after saying what and how much.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { AbortedError, UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { formatBytes, formatCount } from "../base/format.ts";
import { readCardConfigs } from "../config/data-card.ts";
import type { BaseModel, DataSource } from "../engine.ts";
import { checkModelConfig } from "../engine/check-config.ts";
import type { DataChoice, DataReason } from "../hosts/hub-data-files.ts";
import { findSplit } from "../hosts/hub-data-split.ts";
import { chooseFiles } from "../hosts/hub-model-files.ts";
import { type HubReference, parseHubReference, type RepoKind } from "../hosts/hub-reference.ts";
import type { HubFile } from "../hosts/hub.ts";
import { NetworkError, ServerRefusal } from "../hosts/http.ts";
import { openDataSource, openFileAsFolder, openFolder } from "../hosts/node.ts";
import {
  bytesToCome,
  type CachedRepo,
  fetchFiles,
  missingFiles,
  noteRevision,
  openRepo,
} from "../hosts/node-hub.ts";
import { type HubPlace, hubPlace } from "../hosts/node-hub-place.ts";
import type { Output } from "./output.ts";
import { formatBytesBar } from "./progress.ts";
import { untilCanceled } from "./session.ts";

/** What files of data and weights end on; no repo of the hub that is read here does, but for those of GGUF files. */
const FILE_END =
  /\.(jsonl?|ndjson|csv|tsv|txt|parquet|arrow|py|ya?ml|md|safetensors|bin|pth?|ckpt|npz|zip)(\.(gz|bz2|xz|zst))?$/i;

/**
 * Whether a name that is nothing on this disk may be an id of the hub, or a link to it. What begins as a path, ends
 * as a file where a repo's name stands, or has a part of a path that is there, is a path with a mistake in it: its
 * words are nobody else's business.
 */
export function mayBeOnHub(name: string, kind: RepoKind): boolean {
  if (/^[a-z]:[\\/]|^[./~]|\\/i.test(name)) return false;
  if (/^([a-z][a-z0-9+.-]*:\/|hf:)/i.test(name)) return true;
  const [first = "", second, third] = name.split("/");
  if (second === undefined) return false;
  if (FILE_END.test(second) || (third === undefined && /\.gguf$/i.test(second))) return false;
  return !existsSync(first) || first === `${kind}s`;
}

/** The repo that a model's name leads to, as adapters name their base; undefined for what is on this disk. */
export function hubBaseOf(name: string): BaseModel | undefined {
  if (existsSync(name) || !mayBeOnHub(name, "model")) return undefined;
  try {
    const { repo, revision } = parseHubReference(name, hubPlace().hubUrl);
    return { name: repo, ...(revision !== "main" && { revision }) };
  } catch (error) {
    if (error instanceof UserError) return undefined; // no name of the hub after all
    throw error;
  }
}

/** The folder of a model or adapter, or the GGUF file that was named, with all that it needs. */
export async function openHubModel(text: string, output: Output): Promise<Folder> {
  return asking(text, "model", output, async ({ place, reference, signal }) => {
    const { path, repo } = reference;
    const choose = (files: readonly HubFile[]) => chooseFiles(files, path, repo);
    const isEnough = (files: readonly HubFile[]) => isWholeModel(files, path);
    const cached = await openRepo(place, reference, { signal, isEnough });
    const { files, folder, kind } = choose(cached.repo.files);
    const inside = openFolder(join(cached.folder, folder).replace(/[/\\]$/, ""));
    // With the small ones it may turn out that the weights are of no use.
    const check = async () => (kind === "model" ? checkModelConfig(inside) : undefined);
    await bring(place, cached, files, { output, signal, check });
    const [first] = files;
    if (first && files.length === 1 && /\.gguf$/i.test(first.name)) {
      return openFileAsFolder(join(cached.folder, first.name));
    }
    return inside;
  });
}

/** The files of a data set's split, or the file that was named. */
export async function openHubData(
  text: string,
  split: string,
  output: Output,
): Promise<DataSource[]> {
  return asking(text, "dataset", output, async ({ place, reference, signal }) => {
    const options = { output, signal };
    const found = await chooseData(place, reference, split, options);
    const { cached, choice } = found;
    output.say(describeChoice(cached, choice));
    await bring(place, cached, choice.files, options);
    return Promise.all(
      choice.files.map(async ({ name }) => ({
        ...(await openDataSource(join(cached.folder, name))),
        name: `${cached.repo.repo}/${name}`,
      })),
    );
  });
}

export interface Asking {
  readonly place: HubPlace;
  readonly reference: HubReference;
  readonly signal: AbortSignal;
}

/** Does something with the hub: Ctrl-C ends it and keeps what came, and refusals are told with their remedy. */
export async function asking<T>(
  text: string,
  kind: RepoKind,
  output: Output,
  action: (asked: Asking) => Promise<T>,
): Promise<T> {
  const place = hubPlace();
  const reference = parseHubReference(text, place.hubUrl, kind);
  const stopped = new AbortedError(
    `The download of ${reference.repo} was stopped; what came so far is kept.`,
    "Run the same command again to go on where it stopped.",
  );
  try {
    return await untilCanceled(stopped, (signal) => action({ place, reference, signal }));
  } catch (error) {
    throw inWordsOfHub(error, place, reference);
  } finally {
    output.status(undefined);
  }
}

interface Saying {
  readonly output: Output;
  readonly signal: AbortSignal;
}

interface FoundData {
  readonly cached: CachedRepo;
  readonly choice: DataChoice<HubFile>;
}

/** Finds the files of a split: on the branch that was named, or on that of the hub's own conversion. */
export async function chooseData(
  place: HubPlace,
  reference: HubReference,
  split: string,
  { output, signal, isFresh = false }: Saying & { readonly isFresh?: boolean },
): Promise<FoundData> {
  const { path } = reference;
  // A file by its name needs nothing else of the repo; of a whole split only the hub knows the files.
  const isEnough = (files: readonly HubFile[]) =>
    path !== "" && files.some(({ name }) => name === path);
  const { held, choice } = await findSplit<CachedRepo>(reference, split, {
    async list(wanted) {
      const cached = await openRepo(place, wanted, { signal, isEnough, isFresh });
      sayWarning(cached, output);
      return cached;
    },
    async readCard(cached, card) {
      await fetchFiles(place, cached, [card], { signal });
      return readCardConfigs(await openFolder(cached.folder).readText(card.name));
    },
  });
  return { cached: held, choice };
}

export function sayWarning({ repo, warning }: CachedRepo, output: Output): void {
  if (warning === undefined) return;
  output.say(
    `${output.paint.yellow("Warning:")} ${warning} Using what the cache has of ${repo.repo}.`,
  );
}

const REASONS: Readonly<Record<DataReason, string>> = {
  named: "by its name",
  pattern: "by that pattern",
  card: "by the head of its README",
  names: "by their names",
  only: "the only data file there",
  all: "all data files there",
  converted: "as the hub has converted it to Parquet",
  beginning: "as the hub has converted it to Parquet, of which it has only the beginning",
};

function describeChoice({ repo }: CachedRepo, choice: DataChoice<HubFile>): string {
  const { files, split, config, reason } = choice;
  const [first] = files;
  const what = files.length === 1 && first ? first.name : `${formatCount(files.length)} files`;
  const of = split === undefined ? "" : ` for the split ${split}`;
  return `Data set ${repo.repo}${config === undefined ? "" : `, config ${config}`}: ${what}${of}, ${REASONS[reason]}.`;
}

interface Bringing extends Saying {
  /** Called when all but weights are here; what it throws saves the rest. */
  readonly check?: () => Promise<void>;
}

const isWeight = ({ name }: HubFile) => /\.(safetensors|gguf|bin)$/i.test(name);

/** Downloads what is missing of these files, saying what and how much, and where it goes. */
export async function bring(
  place: HubPlace,
  cached: CachedRepo,
  files: readonly HubFile[],
  { output, signal, check }: Bringing,
): Promise<void> {
  const { repo, commit, revision, isGated } = cached.repo;
  const missing = await missingFiles(cached, files);
  const at = `${revision === commit ? "" : `${revision}, `}commit ${commit.slice(0, 8)}`;
  const event = { repo, revision, commit, folder: cached.folder };
  if (missing.length === 0) {
    await noteRevision(cached);
    output.emit("cached", { ...event, files: files.length });
    return;
  }
  if (isGated && !place.token) throw gated(place, { repo, kind: cached.repo.kind });
  const bytes = await bytesToCome(cached, missing);
  const count = missing.length === 1 ? "1 file" : `${formatCount(missing.length)} files`;
  output.say(
    `Downloading ${repo} (${at}): ${count}, ${formatBytes(bytes)} to come, into ${cached.folder}`,
  );
  output.emit("download", { ...event, files: missing.map(({ name }) => name), bytes });
  const options = {
    signal,
    onProgress: progressTeller(output, repo),
    onWait: (file: string) =>
      output.say(`Waiting for another process, which is downloading ${file}.`),
  };
  const small = files.filter((file) => !isWeight(file));
  await fetchFiles(place, cached, small, options);
  await check?.();
  await fetchFiles(place, cached, files.filter(isWeight), options);
  await noteRevision(cached);
  output.status(undefined);
  output.say(`Downloaded ${repo}; every file has the checksum that the hub lists.`);
  output.emit("downloaded", event);
}

const TELL_MS = 1000;

/** A bar on terminals, a line every tenth in logs, an event a second with --json. */
export function progressTeller(output: Output, repo: string) {
  let tenth = 0;
  let told = 0;
  return (bytes: number, totalBytes: number, file: string): void => {
    output.status(formatBytesBar("downloading", bytes, totalBytes, output.columns));
    const now = performance.now();
    if (now - told >= TELL_MS) {
      told = now;
      output.emit("progress", { repo, file, bytes, totalBytes });
    }
    const done = Math.floor((10 * bytes) / Math.max(totalBytes, 1));
    if (output.isLive || output.isJson || done <= tenth || totalBytes < LARGE_BYTES) return;
    tenth = done;
    output.say(`${10 * done} %: ${formatBytes(bytes)} of ${formatBytes(totalBytes)}`);
  };
}

/** What takes long enough that a log should show how it goes. */
const LARGE_BYTES = 100e6;

/** Whether a snapshot, of which the hub's list is not known, has all that a model or adapter needs. */
function isWholeModel(files: readonly HubFile[], path: string): boolean {
  try {
    const { kind, files: chosen, folder } = chooseFiles(files, path, "the snapshot");
    const names = new Set(chosen.map(({ name }) => name.slice(folder.length)));
    const isGguf = chosen.every(({ name }) => /\.gguf$/i.test(name));
    const hasTokenizer = ["tokenizer.json", "tokenizer.model", "vocab.json"].some((name) =>
      names.has(name),
    );
    return isGguf || kind === "adapter" || (hasTokenizer && hasAllShards(names));
  } catch {
    return false; // weights or config have not come yet
  }
}

/** By their own numbers: "model-00001-of-00003.safetensors". */
function hasAllShards(names: ReadonlySet<string>): boolean {
  const shards = [...names].flatMap((name) => {
    const [, stem, , of, end] = /^(.*)-(\d+)-of-(\d+)(\.\w+)$/.exec(name) ?? [];
    return stem === undefined ? [] : [{ stem, of: Number(of), digits: of?.length ?? 0, end }];
  });
  const [first] = shards;
  const isSharded = [...names].some((name) => name.endsWith(".index.json"));
  return first ? shards.length === first.of : !isSharded;
}

/** The hub's refusals in the words of this command line. */
function inWordsOfHub(error: unknown, place: HubPlace, reference: HubReference): unknown {
  const proxy = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"].find(
    (name) => process.env[name],
  );
  if (error instanceof NetworkError && proxy && !process.env["NODE_USE_ENV_PROXY"]) {
    const [problem = ""] = error.message.split("\n");
    const remedy = `Node takes ${proxy} from the environment only with NODE_USE_ENV_PROXY=1 (Node 24): set it too.`;
    return new UserError(problem, remedy, { cause: error });
  }
  if (!(error instanceof ServerRefusal)) return error;
  const { status, code } = error;
  const { repo, revision, kind } = reference;
  if (code === "GatedRepo") return gated(place, { repo, kind }, error);
  if (code === "RevisionNotFound") {
    return new UserError(
      `${repo} has no branch, tag or commit ${revision}.`,
      "Check the name on its page, or leave it out for main.",
      { cause: error },
    );
  }
  if (status !== 401 && code !== "RepoNotFound") return error;
  const { host } = new URL(place.hubUrl);
  const what = kind === "model" ? "model" : "data set";
  return place.token
    ? new UserError(
        `${host} shows no ${what} ${repo} to the owner of the token in ${place.token.source}.`,
        "Check the name, and that the token has not expired and may read that repo.",
        { cause: error },
      )
    : new UserError(
        `There is no ${what} ${repo} on ${host}, or it is private.`,
        `Check the name. If it is private, make a token at ${place.hubUrl}/settings/tokens and set HF_TOKEN to it.`,
        { cause: error },
      );
}

function gated(
  { hubUrl, token }: HubPlace,
  { repo, kind }: { readonly repo: string; readonly kind: RepoKind },
  cause?: unknown,
): UserError {
  const page = `${hubUrl}/${kind === "dataset" ? "datasets/" : ""}${repo}`;
  return new UserError(
    token
      ? `${repo} is gated, and the owner of the token in ${token.source} has no access yet.`
      : `${repo} is gated: its files are given only to those who have accepted its terms.`,
    token
      ? `Accept the terms at ${page} with that account, or check that the token may read gated repos.`
      : `Accept the terms at ${page}, make a token at ${hubUrl}/settings/tokens, and set HF_TOKEN to it.`,
    { cause },
  );
}
