// What a person means who names a model or a data set of the hub: an id, or any address copied from its pages.
import { UserError } from "../base/error.ts";

/** What a repo of the hub holds; each kind has its own addresses. */
export type RepoKind = "model" | "dataset";

export interface HubReference {
  readonly kind: RepoKind;
  /** "org/name", or a name alone for the oldest repos. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** A file or folder inside the repo, or of a data set one of its configs; "" for all of it. */
  readonly path: string;
  /** The part of a data set that a link to its viewer shows. */
  readonly split?: string;
}

/** Hosts that are the hub whatever mirror of it is configured. */
const HUB_HOSTS = ["huggingface.co", "www.huggingface.co", "hf.co"];
const FORMS = "Give it as org/name, org/name@revision, or a link copied from its page.";
const DEFAULT_REVISION = "main";
/** What messages call them. */
const KIND_WORDS: Readonly<Record<RepoKind, string>> = { model: "model", dataset: "data set" };
/** The first word of their addresses; models may go without. */
const KIND_PATHS: Readonly<Record<RepoKind, string>> = { model: "models", dataset: "datasets" };

/** Reads what was typed or pasted. Refuses everything that leads elsewhere than to a repo of that kind. */
export function parseHubReference(
  text: string,
  hubUrl: string,
  kind: RepoKind = "model",
): HubReference {
  const trimmed = text.trim().replaceAll(/^["'<]+|["'>]+$/g, "");
  if (trimmed === "") throw new UserError(`No ${KIND_WORDS[kind]} was named.`, FORMS);
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(trimmed)?.[1]?.toLowerCase();
  if (scheme === "hf") return parseId(trimmed.replace(/^hf:\/*/i, ""), trimmed, kind);
  if (scheme === "http" || scheme === "https") return parseUrl(trimmed, hubUrl, kind);
  const [host = ""] = trimmed.split("/", 1);
  if (isHubHost(host, hubUrl)) return parseUrl(`https://${trimmed}`, hubUrl, kind);
  if (scheme !== undefined) {
    throw new UserError(`"${shorten(trimmed)}" is an address that begins with ${scheme}:.`, FORMS);
  }
  return parseId(trimmed, trimmed, kind);
}

/** "org/name@revision/path" in full, as ids of models that are only on the hub carry it. */
export function formatHubReference({ repo, revision, path }: Omit<HubReference, "kind">): string {
  return `${repo}@${encodeURIComponent(revision)}${path === "" ? "" : `/${path}`}`;
}

function isHubHost(host: string, hubUrl: string): boolean {
  return HUB_HOSTS.includes(host.toLowerCase()) || host.toLowerCase() === new URL(hubUrl).host;
}

/** Words between repo and revision in the addresses of the hub's pages. */
const VIEWS = [
  "tree",
  "blob",
  "resolve",
  "raw",
  "commit",
  "commits",
  "edit",
  "discussions",
  "viewer",
];
const OTHER_KINDS = [
  "models",
  "datasets",
  "spaces",
  "collections",
  "papers",
  "blog",
  "docs",
  "learn",
  "buckets",
];

function parseUrl(text: string, hubUrl: string, kind: RepoKind): HubReference {
  if (!URL.canParse(text)) throw new UserError(`"${shorten(text)}" is no address.`, FORMS);
  const url = new URL(text);
  if (!isHubHost(url.host, hubUrl)) {
    throw new UserError(
      `${shorten(text)} leads to ${url.host}. Hone asks no server but ${new URL(hubUrl).host}.`,
      `Download the files yourself and use them from the disk, or name the ${KIND_WORDS[kind]}'s repo on the hub.`,
    );
  }
  const segments = decodeSegments(url.pathname, text);
  if (segments[0] === "api") segments.shift();
  dropKind(segments, text, kind, kind === "dataset");
  const viewAt = segments.findIndex(
    (segment, i) => (i === 1 || i === 2) && VIEWS.includes(segment),
  );
  if (viewAt < 0) {
    const [org = "", ...rest] = segments;
    const [name, ...path] = rest;
    const [repo = "", revision] = [org, name].filter(Boolean).join("/").split("@");
    return check({ kind, repo, revision, path: fileOf(url) ?? path.join("/") }, text);
  }
  const [view, ...after] = segments.slice(viewAt);
  const repo = segments.slice(0, viewAt).join("/");
  if (view === "discussions") return check({ kind, repo, path: "" }, text);
  if (view === "viewer") {
    const [config = "default", split] = after;
    const shown = split === undefined ? {} : { split };
    return { ...check({ kind, repo, path: config === "default" ? "" : config }, text), ...shown };
  }
  // Of all revisions only these have slashes: refs/pr/1, refs/convert/parquet.
  const length = after[0] === "refs" ? 3 : 1;
  return check(
    {
      kind,
      repo,
      revision: after.slice(0, length).join("/"),
      path: fileOf(url) ?? after.slice(length).join("/"),
    },
    text,
  );
}

/** The page of a GGUF repo shows a file's facts in front of all others. */
function fileOf(url: URL): string | undefined {
  return url.searchParams.get("show_file_info") ?? undefined;
}

function decodeSegments(pathname: string, text: string): string[] {
  try {
    return pathname.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    throw new UserError(`"${shorten(text)}" is no address: a % in it stands for nothing.`, FORMS);
  }
}

function parseId(id: string, text: string, kind: RepoKind): HubReference {
  const segments = id.split("/");
  dropKind(segments, text, kind, false);
  const own = segments.join("/").replace(/\/+$/, "");
  const [, repo = "", revision, path = ""] =
    /^([^/@]+(?:\/[^/@]+)?)(?:@([^/]*))?(?:\/(.*))?$/.exec(own) ?? [];
  if (!revision?.includes("%")) return check({ kind, repo, revision, path }, text);
  return check({ kind, repo, revision: decodeSegments(revision, text).join("/"), path }, text);
}

/** Takes the word of the kind from the front, and refuses that of another kind. */
function dropKind(segments: string[], text: string, kind: RepoKind, isNeeded: boolean): void {
  const [first] = segments;
  if (first === KIND_PATHS[kind]) {
    segments.shift();
    return;
  }
  const isOther = first !== undefined && OTHER_KINDS.includes(first);
  if (!isOther && !isNeeded) return;
  const kinds: Record<string, string> = {
    datasets: "a data set",
    spaces: "an app (a Space)",
    models: "a model",
  };
  const found = isOther ? (kinds[first] ?? `one of the hub's ${first}`) : "a model";
  throw new UserError(
    `${shorten(text)} is ${found}, not a ${KIND_WORDS[kind]}.`,
    first === "datasets"
      ? "Use it as data, and name a model's repo here: org/name."
      : `Name a ${KIND_WORDS[kind]}'s repo: org/name.`,
  );
}

const NAME = /^(?!.*(?:--|\.\.))[\w][\w.-]{0,95}$/;
/** What a branch, tag or commit may be; no "..", no space, no control character. */
const REVISION = /^(?!.*\.\.)[\w][\w./+-]{0,199}$/;

interface Found {
  readonly kind: RepoKind;
  readonly repo: string;
  readonly revision?: string | undefined;
  readonly path: string;
}

function check(found: Found, text: string): HubReference {
  const { kind, repo, path } = found;
  const names = repo.split("/");
  if (names.length > 2 || !names.every((name) => NAME.test(name))) {
    throw new UserError(`"${shorten(text)}" names no ${KIND_WORDS[kind]} of the hub.`, FORMS);
  }
  const revision = found.revision || DEFAULT_REVISION;
  if (!REVISION.test(revision)) {
    throw new UserError(`"${shorten(revision)}" is no branch, tag or commit.`, FORMS);
  }
  const isInside = path.split("/").every((part) => part !== "." && part !== "..");
  // oxlint-disable-next-line no-control-regex
  if (!isInside || /[\\\0-\x1F]/.test(path)) {
    throw new UserError(`"${shorten(path)}" is no file or folder of ${repo}.`, FORMS);
  }
  return { kind, repo, revision, path: path.replaceAll(/^\/+|\/+$/g, "") };
}

function shorten(text: string): string {
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
