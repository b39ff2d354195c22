// The hub: what a repo holds, and where its files are. In the page only public repos, without a token.
//
// One request tells the commit, and of every file the size and a checksum (`revision/…?blobs=true`); the
// tree endpoint would come in pages and without the commit. Files are then asked for at that commit, so
// nothing changes under a download that goes on tomorrow.
import { UserError } from "../base/error.ts";
import type { HubReference, RepoKind } from "./hub-reference.ts";
import { get, type HttpOptions, PassingFault, Patience, readAll } from "./http.ts";
import { urlOf } from "./http-folder.ts";

export interface HubFile {
  /** Path in the repo. */
  readonly name: string;
  readonly bytes: number;
  /** Of the content, for files in large-file storage. */
  readonly sha256?: string;
  /** Git's own checksum, SHA-1 over a header and the content, for all others. */
  readonly gitOid?: string;
}

export interface HubRepo {
  readonly kind: RepoKind;
  readonly repo: string;
  readonly revision: string;
  /** What the revision was at this moment. */
  readonly commit: string;
  readonly isGated: boolean;
  readonly files: readonly HubFile[];
}

type RepoName = Pick<HubReference, "repo" | "revision"> & { readonly kind?: RepoKind };

// A list of a repo with 10,000 files has some 3 MB.
const LIST_LIMIT_BYTES = 32 << 20;

/** What a repo holds at a revision. Refuses one that is private, missing or switched off. */
export async function listRepo(
  hubUrl: string,
  reference: RepoName,
  options: HttpOptions = {},
): Promise<HubRepo> {
  const { kind = "model", repo, revision } = reference;
  const url = `${hubUrl}/api/${kind}s/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const { host } = new URL(hubUrl);
  const what = kind === "model" ? "model" : "data set";
  const place = `The ${what} ${repo}${revision === "main" ? "" : ` at ${revision}`} on ${host}`;
  const patience = new Patience(place, options);
  for (;;) {
    try {
      const answer = await get(url, place, options);
      const text = new TextDecoder().decode(await readAll(answer, place, LIST_LIMIT_BYTES));
      return parseRepo(text, { kind, repo, revision }, place);
    } catch (error) {
      await patience.after(error);
    }
  }
}

/** Where the files of a repo are; a file's path is put behind it. */
export function filesUrl(hubUrl: string, { kind = "model", repo, commit }: FilesOf): string {
  return `${hubUrl}/${kind === "model" ? "" : "datasets/"}${repo}/resolve/${commit}/`;
}

type FilesOf = Pick<HubRepo, "repo" | "commit"> & { readonly kind?: RepoKind };

export function fileUrl(hubUrl: string, repo: FilesOf, name: string): string {
  return urlOf(filesUrl(hubUrl, repo), name);
}

/** Reads a hub's answer, or the copy of one that a cache keeps. */
export function parseRepo(
  text: string,
  { kind, repo, revision }: Required<RepoName>,
  place: string,
): HubRepo {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new PassingFault("what came is no JSON"); // cut short, mostly
  }
  const { sha, siblings, gated, disabled, id } = asObject(json);
  if (disabled === true) {
    throw new UserError(`${place} has been switched off by the hub.`, "Choose another one.");
  }
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings)) {
    throw new UserError(
      `${place}: the answer has no commit and list of files, so this is no hub.`,
      "Check the hub's address that the page is configured for.",
    );
  }
  const isRenamed = typeof id === "string" && /^[\w.-]+(\/[\w.-]+)?$/.test(id);
  return {
    kind,
    repo: isRenamed ? id : repo,
    revision,
    commit: sha,
    isGated: gated !== undefined && gated !== false,
    files: siblings.flatMap((sibling: unknown) => parseFile(asObject(sibling))),
  };
}

/** A file without a size, or with a name that leads out of a folder, is none that we could keep. */
function parseFile({ rfilename: name, size, blobId, lfs }: Record<string, unknown>): HubFile[] {
  if (typeof name !== "string" || !isInside(name)) return [];
  if (!Number.isSafeInteger(size) || Number(size) < 0) return [];
  const { sha256 } = asObject(lfs);
  return [
    {
      name,
      bytes: Number(size),
      ...(typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256)
        ? { sha256 }
        : typeof blobId === "string" && /^[0-9a-f]{40}$/.test(blobId) && !lfs
          ? { gitOid: blobId }
          : {}),
    },
  ];
}

function isInside(name: string): boolean {
  const leadsOut = name.split("/").some((part) => part === "" || part === "." || part === "..");
  // oxlint-disable-next-line no-control-regex
  return !leadsOut && !/[\\\0-\x1F]|^[A-Za-z]:/.test(name);
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
