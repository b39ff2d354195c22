// A hub on this machine: the API's list of a repo, resolve addresses that redirect to a storage path, ranges,
// checksums; and on demand everything that goes wrong between a hub and a browser.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface PlayedRepo {
  readonly files: Readonly<Record<string, Uint8Array>>;
  readonly gated?: "auto" | "manual";
  /** Large files, with a SHA-256 in the list; all others have Git's checksum. */
  readonly isLarge?: (name: string) => boolean;
  /** Names that resolve to the same commit; default: main. */
  readonly revisions?: readonly string[];
  /** Branches with files of their own, as refs/convert/parquet has. */
  readonly branches?: Readonly<Record<string, Readonly<Record<string, Uint8Array>>>>;
  /** Shown to those alone who send this token; a gated one says so, a private one is not there. */
  readonly token?: string;
}

/** What happens to one answer. Bytes count from the beginning of the answer's body. */
export type Fault =
  | { readonly kind: "reset" }
  /** What a browser has not handed on by then, it drops. */
  | { readonly kind: "cut"; readonly afterBytes: number; readonly afterMs?: number }
  /** Ends as if it were whole. */
  | { readonly kind: "short"; readonly afterBytes: number }
  | { readonly kind: "long"; readonly extraBytes: number }
  | { readonly kind: "stall"; readonly afterBytes: number }
  | { readonly kind: "status"; readonly status: number; readonly headers?: Record<string, string> }
  /** All of the file, whatever part was asked for. */
  | { readonly kind: "whole" }
  /** A 206 of another part than was asked for. */
  | { readonly kind: "shifted"; readonly byBytes: number }
  | { readonly kind: "etag" }
  | { readonly kind: "login" }
  /** The bit `bit` of the file's byte `at`. */
  | { readonly kind: "flip"; readonly at: number; readonly bit: number };

export interface PlayedRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface HubServer {
  readonly url: string;
  /** By "org/name"; data sets by "datasets/org/name". */
  readonly repos: Map<string, PlayedRepo>;
  /** Old names and new ones. */
  readonly renamed: Map<string, string>;
  /** Where files are said to lie; default: here. */
  storageUrl: string;
  /** Asked at every request for a file's bytes. */
  fault: ((request: PlayedRequest) => Fault | undefined) | undefined;
  readonly requests: PlayedRequest[];
  /** Of bodies of files, put on the wire. */
  sentBytes: number;
  close(): Promise<void>;
}

/** Forty hex digits that stand for a repo's state. */
function commitOf(files: PlayedRepo["files"]): string {
  const hash = createHash("sha1");
  for (const [name, bytes] of Object.entries(files)) hash.update(name).update(bytes);
  return hash.digest("hex");
}

export async function startHub(): Promise<HubServer> {
  const server = createServer((request, response) => {
    void answer(hub, request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const hub: HubServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    repos: new Map(),
    renamed: new Map(),
    storageUrl: "",
    fault: undefined,
    requests: [],
    sentBytes: 0,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return hub;
}

const EXPOSED = "ETag, Content-Range, X-Error-Code, X-Repo-Commit, Link";

async function answer(hub: HubServer, request: IncomingMessage, response: ServerResponse) {
  const path = decodeURIComponent((request.url ?? "").split("?")[0] ?? "");
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader("Access-Control-Expose-Headers", EXPOSED);
  // As the real one's storage hosts: whoever needs a preflight gets nothing.
  if (request.method === "OPTIONS") return void response.writeHead(403).end();
  const { range, authorization } = request.headers;
  const played = { method: request.method ?? "", path, range, authorization };
  hub.requests.push(played);
  const api = /^\/api\/(?:models|(datasets))\/(.+?)\/revision\/(.+)$/.exec(path);
  const resolve = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(path);
  const name = api ? `${api[1] ? "datasets/" : ""}${api[2]}` : resolve?.[1];
  const renamed = hub.renamed.get(name ?? "");
  if (name !== undefined && renamed !== undefined) {
    const { search } = new URL(request.url ?? "", hub.url);
    const [old, now] = [name, renamed].map((repo) => repo.replace("datasets/", ""));
    const to = path
      .replace(old ?? "", now ?? "")
      .split("/")
      .map(encodeURIComponent)
      .join("/");
    return void response.writeHead(307, { Location: to + search }).end();
  }
  if (api) return list(hub, name ?? "", { revision: api[3] ?? "", authorization }, response);
  if (resolve) {
    const refusal = refusalOf(hub.repos.get(name ?? ""), authorization);
    if (refusal) return void response.writeHead(...refusal).end("{}");
    const repo = hub.repos.get(name ?? "");
    const [, , revision = "", file = ""] = resolve;
    const commit = repo && repo.revisions?.includes(revision) ? commitOf(repo.files) : revision;
    const to = `${hub.storageUrl}/storage/${name}/-/${commit}/-/${file}`;
    const told = headOf(repo?.files[file], isLargeIn(repo, file), commit);
    return void response.writeHead(302, { Location: encodeURI(to), ...told }).end();
  }
  const [, of = "", commit, file = ""] = /^\/storage\/(.+)\/-\/(.+)\/-\/(.+)$/.exec(path) ?? [];
  const repo = hub.repos.get(of);
  const states = repo ? [repo.files, ...Object.values(repo.branches ?? {})] : [];
  const bytes = states.find((files) => commitOf(files) === commit)?.[file];
  if (!bytes) {
    return void response.writeHead(404, { "X-Error-Code": "EntryNotFound" }).end("Entry not found");
  }
  return send(hub, played, bytes, response);
}

/** What huggingface_hub learns of a file before it asks for it. */
function headOf(
  bytes: Uint8Array | undefined,
  isLarge: boolean,
  commit: string,
): Record<string, string | number> {
  if (!bytes) return {};
  const etag = isLarge ? createHash("sha256").update(bytes).digest("hex") : gitOidOf(bytes);
  return { "X-Repo-Commit": commit, "X-Linked-Etag": `"${etag}"`, "X-Linked-Size": bytes.length };
}

function isLargeIn(repo: PlayedRepo | undefined, name: string): boolean {
  return repo?.isLarge?.(name) ?? /\.(safetensors|gguf|parquet|bin)$/.test(name);
}

function gitOidOf(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** As the real one, which does not tell a stranger what is private and what is not there. */
function refusalOf(
  repo: PlayedRepo | undefined,
  authorization: string | undefined,
): [number, Record<string, string>] | undefined {
  const hasToken = authorization !== undefined;
  if (!repo) return [hasToken ? 404 : 401, { "X-Error-Code": "RepoNotFound" }];
  if (repo.token === undefined || authorization === `Bearer ${repo.token}`) return undefined;
  if (repo.gated === undefined) return [hasToken ? 404 : 401, { "X-Error-Code": "RepoNotFound" }];
  return [hasToken ? 403 : 401, { "X-Error-Code": "GatedRepo" }];
}

function list(
  hub: HubServer,
  name: string,
  { revision, authorization }: { revision: string; authorization: string | undefined },
  response: ServerResponse,
): void {
  const repo = hub.repos.get(name);
  // A gated one's list is for everybody; only its files are not.
  const refusal = repo?.gated ? undefined : refusalOf(repo, authorization);
  if (!repo || refusal) return void response.writeHead(...(refusal ?? [404, {}])).end("{}");
  const branches = Object.entries(repo.branches ?? {});
  const isMain = (repo.revisions ?? ["main"]).includes(revision);
  const files = isMain
    ? repo.files
    : [repo.files, ...branches.map(([, own]) => own)].find(
        (own) => commitOf(own) === revision || repo.branches?.[revision] === own,
      );
  if (!files) {
    return void response.writeHead(404, { "X-Error-Code": "RevisionNotFound" }).end("{}");
  }
  const sha = commitOf(files);
  const siblings = Object.entries(files).map(([rfilename, bytes]) => {
    const isLarge = isLargeIn(repo, rfilename);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const blobId = gitOidOf(bytes);
    return isLarge
      ? {
          rfilename,
          size: bytes.length,
          blobId: createHash("sha1").update(sha256).digest("hex"), // of the pointer
          lfs: { sha256, size: bytes.length, pointerSize: 134 },
        }
      : { rfilename, size: bytes.length, blobId };
  });
  response.writeHead(200, { "Content-Type": "application/json; charset=utf-8" });
  response.end(
    JSON.stringify({
      id: name.replace("datasets/", ""),
      sha,
      gated: repo.gated ?? false,
      private: false,
      siblings,
    }),
  );
}

async function send(
  hub: HubServer,
  request: PlayedRequest,
  file: Uint8Array,
  response: ServerResponse,
): Promise<void> {
  const fault = hub.fault?.(request);
  if (fault?.kind === "reset") return void response.destroy();
  if (fault?.kind === "status") {
    return void response.writeHead(fault.status, fault.headers ?? {}).end("no");
  }
  if (fault?.kind === "login") {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    return void response.end("<!doctype html><title>Sign in</title>");
  }
  const bytes = Buffer.from(file);
  if (fault?.kind === "flip") bytes[fault.at] = (bytes[fault.at] ?? 0) ^ (1 << fault.bit);
  const asked = /^bytes=(\d+)-(\d*)$/.exec(request.range ?? "");
  const isPart = asked !== null && fault?.kind !== "whole";
  if (isPart && Number(asked[1]) >= bytes.length) {
    return void response.writeHead(416, { "Content-Range": `bytes */${bytes.length}` }).end();
  }
  const shift = fault?.kind === "shifted" ? fault.byBytes : 0;
  const start = isPart ? Math.max(0, Math.min(Number(asked[1]) + shift, bytes.length - 1)) : 0;
  const end = isPart && asked[2] ? Math.min(Number(asked[2]) + 1, bytes.length) : bytes.length;
  const digest = createHash("md5").update(file).digest("hex");
  response.setHeader("ETag", fault?.kind === "etag" ? `"new-${digest}"` : `"${digest}"`);
  response.setHeader("Content-Type", "application/octet-stream");
  response.setHeader("Accept-Ranges", "bytes");
  if (isPart) response.setHeader("Content-Range", `bytes ${start}-${end - 1}/${bytes.length}`);
  let body = bytes.subarray(start, end);
  if (fault?.kind === "long") body = Buffer.concat([body, Buffer.alloc(fault.extraBytes)]);
  if (fault?.kind === "short") body = body.subarray(0, fault.afterBytes);
  else response.setHeader("Content-Length", body.length);
  response.writeHead(isPart ? 206 : 200);
  if (fault?.kind === "cut" || fault?.kind === "stall") {
    const part = body.subarray(0, fault.afterBytes);
    hub.sentBytes += part.length;
    if (part.length > 0) await new Promise((resolve) => response.write(part, resolve));
    else response.flushHeaders();
    if (fault.kind === "cut") setTimeout(() => response.socket?.end(), fault.afterMs ?? 0);
    return;
  }
  hub.sentBytes += body.length;
  response.end(body);
}
