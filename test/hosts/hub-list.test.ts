// What a hub lists and what is read of its files before a download, from a hub that fails; and a hub whose
// files lie where the page may not ask.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import type { Folder } from "../../src/base/folder.ts";
import { httpFolder } from "../../src/hosts/http-folder.ts";
import { filesUrl, listRepo } from "../../src/hosts/hub.ts";
import { type Fault, type HubServer, startHub } from "./hub-server.ts";
import { failOn, publishOn, randomBytes, refusal, REPO, reset, STALL_MS } from "./hub-use.ts";

let hub: HubServer;

beforeAll(async () => {
  hub = await startHub();
});
afterAll(() => hub.close());
beforeEach(() => reset(hub));
afterEach(() => vi.unstubAllGlobals());

const wait = async (): Promise<void> => {};

describe("the list of a repo", () => {
  test("has the commit, sizes and checksums", async () => {
    const files = { "config.json": randomBytes(20), "w/model.safetensors": randomBytes(30) };
    hub.repos.set(REPO, { files, revisions: ["main", "refs/pr/1"] });
    const repo = await listRepo(hub.url, { repo: REPO, revision: "refs/pr/1" });
    expect(repo.commit).toMatch(/^[0-9a-f]{40}$/);
    expect(repo.files.map(({ name, bytes }) => [name, bytes])).toEqual([
      ["config.json", 20],
      ["w/model.safetensors", 30],
    ]);
    expect(repo.files.map(({ sha256, gitOid }) => [sha256?.length, gitOid?.length])).toEqual([
      [undefined, 40],
      [64, undefined],
    ]);
    const again = await listRepo(hub.url, { repo: REPO, revision: repo.commit });
    expect(again.commit).toBe(repo.commit);
  });

  test.each([
    [
      { repo: "no/such", revision: "main" },
      /^The model no\/such on 127.* is not given to everyone: the server answered 401/,
    ],
    [
      { repo: REPO, revision: "v9" },
      /^The model org\/model at v9 on 127.* is not there: the server answered 404/,
    ],
  ])("of %j is refused in words", async (reference, words) => {
    hub.repos.set(REPO, { files: {} });
    expect(await refusal(listRepo(hub.url, reference, { wait }))).toMatch(words);
  });

  test("of a server that is no hub, or is not there, is refused in words", async () => {
    expect(
      await refusal(
        listRepo("http://127.0.0.1:9", { repo: REPO, revision: "main" }, { wait, tries: 2 }),
      ),
    ).toMatch(/could not be fetched, in 2 tries/);
  });
});

describe("a folder over HTTP", () => {
  const bytes = randomBytes(700_001, 5);

  async function openFolder(): Promise<Folder> {
    const file = await publishOn(hub, bytes);
    const { commit } = await listRepo(hub.url, { repo: REPO, revision: "main" });
    return httpFolder(filesUrl(hub.url, { repo: REPO, commit }), [file], {
      wait,
      stallMs: STALL_MS,
      path: REPO,
    });
  }

  test("reads ranges, and a header in one request", async () => {
    const remote = await openFolder();
    hub.requests.length = 0;
    expect(await remote.list()).toEqual(["model.safetensors"]);
    expect(await remote.size("model.safetensors")).toBe(bytes.length);
    expect(await remote.size("none")).toBeUndefined();
    const at = (start: number, end: number) => remote.read("model.safetensors", start, end);
    expect(await at(0, 8)).toEqual(bytes.slice(0, 8));
    expect(await at(8, 100_000)).toEqual(bytes.slice(8, 100_000));
    const asked = () => hub.requests.filter(({ path }) => path.startsWith("/storage"));
    expect(asked().map(({ range }) => range)).toEqual(["bytes=0-131071"]);
    expect(await at(699_000, 700_001)).toEqual(bytes.slice(699_000));
    expect(await at(5, 5)).toHaveLength(0);
    expect(Buffer.from(await remote.read("model.safetensors")).equals(bytes)).toBe(true);
    expect(asked()).toHaveLength(3);
  });

  test.each<[string, Fault]>([
    ["a cut", { kind: "cut", afterBytes: 50 }],
    ["a short body", { kind: "short", afterBytes: 50 }],
    ["a long body", { kind: "long", extraBytes: 1 }],
    ["another range", { kind: "shifted", byBytes: 3 }],
    ["a busy server", { kind: "status", status: 503 }],
  ])("gets through %s once, and refuses it in words for ever", async (_name, fault) => {
    const remote = await openFolder();
    failOn(hub, fault);
    expect(await remote.read("model.safetensors", 200_000, 200_900)).toEqual(
      bytes.slice(200_000, 200_900),
    );
    hub.fault = () => fault;
    expect(await refusal(remote.read("model.safetensors", 200_000, 200_900))).toContain(
      "could not be fetched",
    );
  });

  test.each<[string, Fault, string]>([
    ["all of the file", { kind: "whole" }, "sends no parts of files: it answered 200"],
    ["a login page", { kind: "login" }, "came a web page"],
    ["a 403", { kind: "status", status: 403 }, "is not given to everyone"],
  ])("refuses %s", async (_name, fault, words) => {
    const remote = await openFolder();
    hub.fault = () => fault;
    expect(await refusal(remote.read("model.safetensors", 200_000, 200_900))).toContain(words);
    hub.fault = undefined; // and remembers no failure
    expect(await remote.read("model.safetensors", 0, 5)).toEqual(bytes.slice(0, 5));
  });

  test("refuses what is past the end or not there", async () => {
    const remote = await openFolder();
    expect(await refusal(remote.read("model.safetensors", 0, 700_002))).toContain(
      "has 700001 bytes",
    );
    expect(await refusal(remote.read("none"))).toContain("has no file none");
  });
});

describe("a file from which not even an answer comes", () => {
  const bytes = randomBytes(5_001, 6);
  let asked = 0;

  /** A folder on the hub, of which the first `failures` requests fail as a browser's do. */
  async function openFailing(failures: number, answers: () => Promise<boolean>): Promise<Folder> {
    const file = await publishOn(hub, bytes);
    const { commit } = await listRepo(hub.url, { repo: REPO, revision: "main" });
    const { fetch } = globalThis;
    asked = 0;
    vi.stubGlobal("fetch", (url: string, options: RequestInit) =>
      asked++ < failures ? Promise.reject(new TypeError("Failed to fetch")) : fetch(url, options),
    );
    return httpFolder(filesUrl(hub.url, { repo: REPO, commit }), [file], { wait, answers });
  }

  test("though the hub answers lies where the page may not ask", async () => {
    const remote = await openFailing(Infinity, async () => true);
    expect(await refusal(remote.read("model.safetensors"))).toContain(
      "(Failed to fetch), though the hub answers: it may send its files from a host that this page does not allow.\n",
    );
    expect(asked).toBe(3);
  });

  test("as from the hub itself is behind a cut line", async () => {
    const remote = await openFailing(Infinity, async () => false);
    expect(await refusal(remote.read("model.safetensors"))).toMatch(
      /could not be fetched, in 8 tries: Failed to fetch\.\nCheck the connection/,
    );
  });

  test("twice, or while the hub was away too, comes in the end", async () => {
    const twice = await openFailing(2, async () => true);
    expect(await twice.read("model.safetensors")).toEqual(bytes);
    vi.unstubAllGlobals();
    let looks = 0;
    const away = await openFailing(6, async () => ++looks > 5);
    expect(await away.read("model.safetensors")).toEqual(bytes);
  });
});
