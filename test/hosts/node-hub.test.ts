// The cache that huggingface_hub keeps: what Python left is used without the hub, what comes is verified and lies
// where Python finds it, and a token goes to the hub's own host alone.
import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { parseHubReference, type RepoKind } from "../../src/hosts/hub-reference.ts";
import {
  bytesToCome,
  type CachedRepo,
  fetchFiles,
  noteRevision,
  openRepo,
} from "../../src/hosts/node-hub.ts";
import { withFileLock } from "../../src/hosts/node-hub-lock.ts";
import { hubPlace } from "../../src/hosts/node-hub-place.ts";
import { type HubServer, startHub } from "./hub-server.ts";
import { failOn, randomBytes, refusal, reset } from "./hub-use.ts";

let hub: HubServer;
let folder: string;
let environment: Record<string, string>;

beforeAll(async () => {
  hub = await startHub();
});
afterAll(() => hub.close());
beforeEach(() => {
  reset(hub);
  hub.repos.clear();
  hub.renamed.clear();
  hub.storageUrl = "";
  folder = mkdtempSync(join(tmpdir(), "hone-hub-"));
  environment = { HF_ENDPOINT: hub.url, HF_HOME: folder };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const weights = randomBytes(300_001);
const config = Buffer.from('{"model_type":"llama"}');
const FILES = { "model.safetensors": weights, "config.json": config, "sub/dir/a.json": config };
const hash = (kind: "sha1" | "sha256", bytes: Uint8Array) =>
  createHash(kind)
    .update(kind === "sha1" ? `blob ${bytes.length}\0` : "")
    .update(bytes)
    .digest("hex");

const always = () => true;
const refuseLink = () => Promise.reject(Object.assign(new Error("no links"), { code: "EPERM" }));
const place = () => hubPlace(environment);
const refer = (text: string, kind: RepoKind = "model") => parseHubReference(text, hub.url, kind);

/** Opens a repo and brings all of it. */
async function bring(text = "org/name", kind: RepoKind = "model"): Promise<CachedRepo> {
  const cached = await openRepo(place(), refer(text, kind));
  await fetchFiles(place(), cached, cached.repo.files);
  await noteRevision(cached);
  return cached;
}

function readBack({ folder: snapshot }: CachedRepo, name: string): Buffer {
  return readFileSync(join(snapshot, name));
}

describe("what comes from the hub", () => {
  test("lies as Python keeps it, and is found again without a request", async () => {
    hub.repos.set("org/name", { files: FILES });
    const cached = await bring();
    const top = join(folder, "hub/models--org--name");
    const { commit } = cached.repo;
    expect(cached.folder).toBe(join(top, "snapshots", commit));
    expect(readFileSync(join(top, "refs/main"), "utf8")).toBe(commit);
    expect(readdirSync(join(top, "blobs")).toSorted()).toEqual(
      [hash("sha256", weights), hash("sha1", config)].toSorted(),
    );
    expect(readlinkSync(join(cached.folder, "model.safetensors"))).toBe(
      `../../blobs/${hash("sha256", weights)}`,
    );
    expect(readlinkSync(join(cached.folder, "sub/dir/a.json"))).toBe(
      `../../../../blobs/${hash("sha1", config)}`,
    );
    for (const [name, bytes] of Object.entries(FILES)) {
      expect(readBack(cached, name).equals(bytes), name).toBe(true);
    }
    expect(hub.sentBytes, "the same content once").toBe(weights.length + config.length);
    hub.requests.length = 0;
    const again = await bring();
    expect(again).toMatchObject({ isFromCache: true, folder: cached.folder });
    expect(hub.requests).toEqual([]);
    const fresh = await openRepo(place(), refer("org/name"), { isFresh: true });
    expect(fresh.isFromCache).toBe(false);
  });

  test("of a data set has its own addresses and folder, and a branch its own files", async () => {
    const rows = Buffer.from('{"a":1}\n');
    const branches = { "refs/convert/parquet": { "default/train/0000.parquet": weights } };
    hub.repos.set("datasets/org/rows", { files: { "train.jsonl": rows }, branches });
    const cached = await bring("org/rows", "dataset");
    expect(cached.folder).toContain(join(folder, "hub/datasets--org--rows/snapshots"));
    expect(readBack(cached, "train.jsonl").equals(rows)).toBe(true);
    const converted = await bring("org/rows@refs%2Fconvert%2Fparquet", "dataset");
    expect(readBack(converted, "default/train/0000.parquet").equals(weights)).toBe(true);
    const ref = join(folder, "hub/datasets--org--rows/refs/refs/convert/parquet");
    expect(readFileSync(ref, "utf8")).toBe(converted.repo.commit);
  });

  test("is verified: a flipped bit is mended, one that stays is refused and not kept", async () => {
    hub.repos.set("org/name", { files: { "model.safetensors": weights } });
    failOn(hub, { kind: "flip", at: 99, bit: 2 });
    expect(readBack(await bring(), "model.safetensors").equals(weights)).toBe(true);
    hub.repos.set("org/bad", { files: { "model.safetensors": randomBytes(5000, 3) } });
    hub.fault = () => ({ kind: "flip", at: 99, bit: 2 });
    expect(await refusal(bring("org/bad"))).toContain("its SHA-256 is wrong");
    expect(readdirSync(join(folder, "hub/models--org--bad/blobs"))).toEqual([]);
    expect(existsSync(join(folder, "hub/models--org--bad/refs"))).toBe(false);
  });

  test("goes on where a connection or a person broke it off", async () => {
    hub.repos.set("org/name", { files: { "model.safetensors": weights } });
    failOn(hub, { kind: "cut", afterBytes: 100_000 });
    await bring();
    expect(hub.sentBytes).toBeLessThanOrEqual(weights.length + 65_536);

    const more = randomBytes(400_000, 7);
    hub.repos.set("org/more", { files: { "model.safetensors": more } });
    hub.sentBytes = 0;
    hub.fault = () => ({ kind: "stall", afterBytes: 200_000 });
    const cached = await openRepo(place(), refer("org/more"));
    const controller = new AbortController();
    const stopped = fetchFiles(place(), cached, cached.repo.files, {
      signal: controller.signal,
      onProgress: (bytes) => bytes >= 200_000 && controller.abort(new Error("stopped")),
    });
    await expect(stopped).rejects.toThrow("stopped");
    expect(existsSync(join(folder, "hub/models--org--more/refs/main"))).toBe(false);
    expect(await bytesToCome(cached, cached.repo.files)).toBe(200_000);
    hub.fault = undefined;
    expect(readBack(await bring("org/more"), "model.safetensors").equals(more)).toBe(true);
    expect(hub.sentBytes).toBe(more.length);
  });

  test("of a renamed repo lies under the name that was asked for", async () => {
    hub.repos.set("new/name", { files: { "config.json": config } });
    hub.renamed.set("old/name", "new/name");
    const cached = await bring("old/name");
    expect(cached.folder).toContain("models--old--name");
    expect(cached.repo.repo).toBe("new/name");
    expect(readBack(cached, "config.json").equals(config)).toBe(true);
  });

  test("with a name that leads out of its folder is not taken", async () => {
    const files = {
      "../../evil": config,
      "/evil": config,
      "a/../../evil": config,
      "C:evil": config,
      ok: config,
    };
    hub.repos.set("org/name", { files });
    const cached = await bring();
    expect(cached.repo.files.map(({ name }) => name)).toEqual(["ok"]);
  });

  test("that has no room on the disk is refused before it begins", async () => {
    hub.repos.set("org/name", { files: { "config.json": config } });
    const cached = await openRepo(place(), refer("org/name"));
    const files = [{ name: "huge.bin", bytes: Number.MAX_SAFE_INTEGER, sha256: "0".repeat(64) }];
    expect(await refusal(fetchFiles(place(), cached, files))).toMatch(
      /needs 8192\.0 TiB more, and the disk of .* has .* free\.\nFree some space/,
    );
  });

  test("is copied where the disk has no links", async () => {
    vi.resetModules();
    vi.doMock(import("node:fs/promises"), async (original) => ({
      ...(await original()),
      symlink: refuseLink,
      link: refuseLink,
    }));
    const fresh = await import("../../src/hosts/node-hub.ts");
    vi.doUnmock("node:fs/promises");
    hub.repos.set("org/name", { files: FILES });
    const cached = await fresh.openRepo(place(), refer("org/name"));
    await fresh.fetchFiles(place(), cached, cached.repo.files);
    expect(lstatSync(join(cached.folder, "model.safetensors")).isSymbolicLink()).toBe(false);
    expect(readBack(cached, "model.safetensors").equals(weights)).toBe(true);
    expect(readdirSync(cached.folder).toSorted()).toEqual([
      "config.json",
      "model.safetensors",
      "sub",
    ]);
  });
});

describe("what Python downloaded", () => {
  const COMMIT = "1234567890".repeat(4);

  /** As huggingface_hub lays it, by hand. */
  function lay(repo: string, files: Record<string, Uint8Array>, revision = "main"): string {
    const top = join(folder, "hub", repo);
    mkdirSync(join(top, "refs"), { recursive: true });
    mkdirSync(join(top, "blobs"), { recursive: true });
    writeFileSync(join(top, "refs", revision), COMMIT);
    for (const [name, bytes] of Object.entries(files)) {
      const blob = hash("sha256", bytes);
      const path = join(top, "snapshots", COMMIT, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(join(top, "blobs", blob), bytes);
      const up = "../".repeat(name.split("/").length + 1);
      symlinkSync(`${up}blobs/${blob}`, path);
    }
    return join(top, "snapshots", COMMIT);
  }

  test("is used as it is where it is enough", async () => {
    const snapshot = lay("models--org--name", FILES);
    const found = await openRepo(place(), refer("org/name"), { isEnough: always });
    expect(found).toMatchObject({ isFromCache: true, folder: snapshot });
    expect(found.repo.files.map(({ name }) => name)).toEqual(Object.keys(FILES).toSorted());
    expect(hub.requests).toEqual([]);
    const byCommit = await openRepo(place(), refer(`org/name@${COMMIT}`), { isEnough: always });
    expect(byCommit.folder).toBe(snapshot);
  });

  test("is all there is offline, or where the hub is away", async () => {
    const snapshot = lay("datasets--org--rows", { "train.jsonl": config });
    environment["HF_HUB_OFFLINE"] = "1";
    const reference = refer("org/rows", "dataset");
    expect((await openRepo(place(), reference)).folder).toBe(snapshot);
    expect(await refusal(openRepo(place(), refer("org/none")))).toMatch(
      /org\/none at main is not in the cache .* HF_HUB_OFFLINE says to ask nobody/,
    );
    expect(hub.requests).toEqual([]);
    environment = { HF_HOME: folder, HF_ENDPOINT: "http://127.0.0.1:9" }; // nobody listens there
    const away = await openRepo(place(), reference);
    expect(away.folder).toBe(snapshot);
    expect(away.warning).toContain("could not be fetched, in 2 tries");
  });

  test("is completed by what the hub has more, without a byte of what is here", async () => {
    hub.repos.set("org/name", { files: FILES });
    const { repo } = await openRepo(place(), refer("org/name"));
    rmSync(join(folder, "hub"), { recursive: true });
    const top = dirname(dirname(lay("models--org--name", { "model.safetensors": weights })));
    writeFileSync(join(top, "refs/main"), repo.commit); // the hub's own commit: another snapshot
    const cached = await bring();
    expect(readBack(cached, "model.safetensors").equals(weights)).toBe(true);
    expect(hub.sentBytes).toBe(config.length);
  });

  test("a link whose content is gone is no file", async () => {
    const snapshot = lay("models--org--name", { "config.json": config });
    rmSync(join(folder, "hub/models--org--name/blobs"), { recursive: true });
    environment["HF_HUB_OFFLINE"] = "1";
    expect(lstatSync(join(snapshot, "config.json")).isSymbolicLink()).toBe(true);
    expect(await refusal(openRepo(place(), refer("org/name")))).toContain("not in the cache");
  });
});

describe("a token", () => {
  test("opens what is gated, and reaches no host that the hub redirects to", async () => {
    const storage = await startHub();
    try {
      const repo = { files: FILES, gated: "manual", token: "hf_secret" } as const;
      hub.repos.set("org/name", repo);
      storage.repos.set("org/name", repo);
      hub.storageUrl = storage.url;
      expect(await refusal(bring())).toContain("since the repo is gated");
      environment["HF_TOKEN"] = "hf_wrong";
      expect(await refusal(bring())).toContain("403");
      environment["HF_TOKEN"] = "hf_secret";
      const cached = await bring();
      expect(readBack(cached, "model.safetensors").equals(weights)).toBe(true);
      expect(storage.requests.length).toBeGreaterThan(0);
      expect(storage.requests.map(({ authorization }) => authorization)).toEqual(
        storage.requests.map(() => undefined),
      );
      expect(hub.requests.at(-1)?.authorization).toBe("Bearer hf_secret");
    } finally {
      await storage.close();
    }
  });

  test("is in no file and no message", async () => {
    environment["HF_TOKEN"] = "hf_secret";
    hub.repos.set("org/name", { files: FILES });
    await bring();
    const paths = readdirSync(folder, { recursive: true, withFileTypes: true });
    for (const entry of paths.filter((found) => found.isFile())) {
      expect(readFileSync(join(entry.parentPath, entry.name)).includes("hf_secret")).toBe(false);
    }
    expect(await refusal(bring("org/private"))).not.toContain("hf_secret");
  });

  test("a redirect without end is refused", async () => {
    hub.repos.set("a/x", { files: FILES });
    hub.renamed.set("a/x", "a/x");
    expect(await refusal(bring("a/x"))).toContain("redirected more than 10 times");
  });
});

describe("two at once", () => {
  test("share one download", async () => {
    hub.repos.set("org/name", { files: FILES });
    const all = await Promise.all([bring(), bring(), bring()]);
    for (const cached of all) {
      expect(readBack(cached, "model.safetensors").equals(weights)).toBe(true);
    }
    expect(hub.sentBytes).toBe(weights.length + config.length);
  });

  test("a lock is held by one, and left by none", async () => {
    const path = join(folder, "locks/x");
    let inside = 0;
    let most = 0;
    const work = () =>
      withFileLock(path, {}, async () => {
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setTimeout(resolve, 5));
        inside--;
      });
    await Promise.all(Array.from({ length: 6 }, work));
    expect(most).toBe(1);
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  test("a lock of a process that is gone is taken, one of a process that lives is waited for", async () => {
    const path = join(folder, "x");
    const child = spawn(process.execPath, ["-e", ""]);
    await new Promise((resolve) => child.on("exit", resolve));
    const { hostname } = await import("node:os");
    writeFileSync(path, JSON.stringify({ pid: child.pid, host: hostname() }));
    await withFileLock(path, {}, async () => {});
    expect(existsSync(path)).toBe(false);

    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }));
    const waited = vi.fn<() => void>();
    const held = withFileLock(
      path,
      { onWait: waited, signal: AbortSignal.timeout(400) },
      async () => {},
    );
    await expect(held).rejects.toThrow("timeout");
    expect(waited).toHaveBeenCalledOnce();

    // Of another machine nothing is known but when it last gave a sign of life.
    writeFileSync(path, JSON.stringify({ pid: 1, host: "elsewhere" }));
    const longAgo = new Date(Date.now() - 60_000);
    utimesSync(path, longAgo, longAgo);
    await withFileLock(path, {}, async () => {});
    expect(existsSync(path)).toBe(false);
  });
});
