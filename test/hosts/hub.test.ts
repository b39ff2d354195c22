// Downloads from a hub that fails in every way: in the end there are exactly the bytes the hub lists, or an
// error in words.
import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { UserError } from "../../src/base/error.ts";
import type { Folder } from "../../src/base/folder.ts";
import { createRandom } from "../../src/base/random.ts";
import { downloadFile } from "../../src/hosts/hub-download.ts";
import { opfsPlace } from "../../src/hosts/hub-opfs.ts";
import { fileUrl, type HubFile, listRepo } from "../../src/hosts/hub.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import { type Fault, type HubServer, startHub } from "./hub-server.ts";
import { failOn, publishOn, randomBytes, refusal, REPO, reset, STALL_MS } from "./hub-use.ts";
import { stubBrowser } from "./memory-browser.ts";
import type { MemoryDisk } from "./memory-opfs.ts";

/** What undici hands over at a time: as much may be lost when a connection breaks. */
const CHUNK_BYTES = 65_536;

let hub: HubServer;
let disk: MemoryDisk;
let folder: Folder;
let waits: number[];

beforeAll(async () => {
  hub = await startHub();
});
afterAll(() => hub.close());
beforeEach(async () => {
  disk = stubBrowser();
  folder = (await openOpfs()).folder("partial");
  waits = [];
  reset(hub);
});
afterEach(() => {
  vi.unstubAllGlobals();
  if (disk.openHandles !== 0) throw new Error(`${disk.openHandles} handles were left open`);
});

const wait = async (ms: number): Promise<void> => void waits.push(ms);
const publish = (bytes: Uint8Array, name?: string) => publishOn(hub, bytes, name);
const failWith = (...faults: readonly Fault[]) => failOn(hub, ...faults);

async function download(
  file: HubFile,
  more: { signal?: AbortSignal; onProgress?: (bytes: number) => void } = {},
) {
  const { commit } = await listRepo(hub.url, { repo: REPO, revision: "main" });
  const url = fileUrl(hub.url, { repo: REPO, commit }, file.name);
  await downloadFile({
    place: opfsPlace,
    url,
    file,
    folder,
    name: "file",
    wait,
    stallMs: STALL_MS,
    ...more,
  });
}

async function expectExact(bytes: Uint8Array): Promise<void> {
  expect(Buffer.from(bytes).equals(await folder.read("file"))).toBe(true);
  expect(await folder.list(), "nothing beside it").toEqual(["file"]);
}

describe("a download", () => {
  test.each(["model.safetensors", "tokenizer.json"])(
    "of %s is verified by the checksum of its kind",
    async (name) => {
      const bytes = randomBytes(300_001);
      const file = await publish(bytes, name);
      expect([file.sha256 !== undefined, file.gitOid !== undefined]).toEqual(
        name === "tokenizer.json" ? [false, true] : [true, false],
      );
      const seen: number[] = [];
      await download(file, { onProgress: (done) => seen.push(done) });
      await expectExact(bytes);
      expect(seen.at(-1)).toBe(bytes.length);
      expect(seen).toEqual(seen.toSorted((a, b) => a - b));
      expect(hub.sentBytes).toBe(bytes.length);
      await download(file); // it is there: nothing is asked for
      expect(hub.sentBytes).toBe(bytes.length);
    },
  );

  test("of an empty file makes an empty file", async () => {
    const file = await publish(new Uint8Array(0), "merges.txt");
    await download(file);
    await expectExact(new Uint8Array(0));
  });

  test("without a checksum is refused before anything is asked for", async () => {
    await publish(randomBytes(5));
    expect(await refusal(download({ name: "x.json", bytes: 5 }))).toContain(
      "no checksum for x.json",
    );
    expect(hub.sentBytes).toBe(0);
  });

  const bytes = randomBytes(400_003, 2);
  const size = bytes.length;

  test.each<[string, Fault[]]>([
    ["a reset", [{ kind: "reset" }]],
    ["a cut before the first byte", [{ kind: "cut", afterBytes: 0 }]],
    ["a cut before the last byte", [{ kind: "cut", afterBytes: size - 1 }]],
    ["three cuts", [100_000, 1, 70_000].map((afterBytes) => ({ kind: "cut", afterBytes }))],
    ["an end that looks whole", [{ kind: "short", afterBytes: 123_457 }]],
    ["a stall", [{ kind: "stall", afterBytes: 200_000 }]],
    ["a stall before the first byte", [{ kind: "stall", afterBytes: 0 }]],
    ["busy servers", [500, 502, 503, 504, 429].map((status) => ({ kind: "status", status }))],
    ["too many bytes", [{ kind: "long", extraBytes: 7 }]],
    ["a 200 instead of a 206", [{ kind: "cut", afterBytes: 150_000 }, { kind: "whole" }]],
    [
      "another range",
      [
        { kind: "cut", afterBytes: 150_000 },
        { kind: "shifted", byBytes: -5 },
      ],
    ],
    ["a changed ETag", [{ kind: "cut", afterBytes: 150_000 }, { kind: "etag" }]],
    [
      "a range past the end",
      [
        { kind: "cut", afterBytes: 9 },
        { kind: "status", status: 416 },
      ],
    ],
    ["a flipped byte", [{ kind: "flip", at: 399_999, bit: 3 }]],
    [
      "a flipped byte before a cut",
      [
        { kind: "flip", at: 7, bit: 0 },
        { kind: "cut", afterBytes: 5 },
      ],
    ],
  ])("gets through %s", async (_name, faults) => {
    const file = await publish(bytes);
    failWith(...faults);
    await download(file);
    await expectExact(bytes);
  });

  test("goes on at the byte it was cut at, and fetches no more than a chunk twice", async () => {
    const file = await publish(bytes);
    const cuts = [90_001, 1, 77_777, 130_000];
    failWith(...cuts.map((afterBytes): Fault => ({ kind: "cut", afterBytes })));
    await download(file);
    await expectExact(bytes);
    expect(hub.sentBytes).toBeLessThanOrEqual(size + cuts.length * CHUNK_BYTES);
    expect(hub.requests.filter(({ path }) => path.startsWith("/storage")).length).toBe(5);
  });

  test.each([
    ["seconds", () => "7"],
    ["a date", () => new Date(Date.now() + 7_000).toUTCString()],
  ])("waits as long as a Retry-After in %s asks", async (_name, after) => {
    const file = await publish(bytes);
    failWith({ kind: "status", status: 429, headers: { "Retry-After": after() } });
    await download(file);
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeGreaterThan(4_000); // a date has whole seconds, and the test takes its time
    expect(waits[0]).toBeLessThanOrEqual(7_000);
  });

  test.each<[string, Fault, RegExp]>([
    [
      "403",
      { kind: "status", status: 403 },
      /is not given to everyone: the server answered 403\.\n/,
    ],
    [
      "403 for a gated repo",
      { kind: "status", status: 403, headers: { "X-Error-Code": "GatedRepo" } },
      /since the repo is gated/,
    ],
    ["404", { kind: "status", status: 404 }, /is not there: the server answered 404/],
    ["a login page", { kind: "login" }, /^Instead of model\.safetensors came a web page from 127/],
    [
      "an answer that it may ask again tomorrow",
      { kind: "status", status: 429, headers: { "Retry-After": "86400" } },
      /429; it asks to wait 1440 minutes/,
    ],
  ])("is refused in words at %s, and keeps what came", async (_name, fault, words) => {
    const file = await publish(bytes);
    failWith({ kind: "cut", afterBytes: 111_111 }, fault);
    expect(await refusal(download(file))).toMatch(words);
    expect(await folder.size("file")).toBeGreaterThan(0);
    hub.fault = undefined;
    await download(file);
    await expectExact(bytes);
  });

  test("gives up in words when nothing comes any more, having waited longer each time", async () => {
    const file = await publish(bytes);
    hub.fault = () => ({ kind: "status", status: 503 });
    expect(await refusal(download(file))).toBe(
      "model.safetensors could not be fetched, in 8 tries: the server answered 503.\n" +
        "Check the connection, then start again: it goes on where it stopped.",
    );
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000]);
  });

  test("that a server begins anew for ever ends", async () => {
    const file = await publish(bytes);
    hub.fault = ({ range }) => (range ? { kind: "etag" } : { kind: "cut", afterBytes: 5_000 });
    expect(await refusal(download(file))).toContain("could not be fetched");
  });

  test("whose quota is full keeps what fitted, and goes on when there is room", async () => {
    const file = await publish(bytes);
    disk.quotaBytes = 200_000;
    expect(await refusal(download(file))).toContain("no room for partial/file");
    disk.quotaBytes = 1e9;
    await download(file);
    await expectExact(bytes);
    expect(hub.requests.at(-1)?.range).toMatch(/^bytes=[1-9]\d*-$/);
  });
});

/** Stops a download when so many bytes have come. */
async function stopAt(file: HubFile, at: number): Promise<void> {
  const controller = new AbortController();
  const stopped = download(file, {
    signal: controller.signal,
    onProgress: (done) => {
      if (done >= at) controller.abort(new UserError("It was stopped.", "Go on."));
    },
  });
  expect(await refusal(stopped)).toBe("It was stopped.\nGo on.");
}

describe("a download that was stopped", () => {
  const bytes = randomBytes(900_001, 3);

  test("goes on later without reading again what is here", async () => {
    const file = await publish(bytes);
    await stopAt(file, 300_000);
    const here = (await folder.size("file")) ?? 0;
    expect(here).toBeGreaterThanOrEqual(300_000);
    expect(await folder.list()).toEqual(["file", "file.state"]);
    const reads: string[] = [];
    disk.fault = (operation, name) => {
      if (operation === "read") reads.push(name);
    };
    await download(file);
    await expectExact(bytes);
    expect(reads, "the checksum's state was kept").toEqual([]);
    expect(hub.requests.at(-1)?.range).toBe(`bytes=${here}-`);
  });

  test.each([
    ["gone", undefined],
    ["no JSON", "{"],
    ["of another file", '{"checksum":"00","bytes":5,"hash":"AAAA","etag":null}'],
  ])("reads what is here when the checksum's state is %s", async (_name, state) => {
    const file = await publish(bytes);
    await stopAt(file, 300_000);
    await (state === undefined ? folder.remove("file.state") : folder.write("file.state", state));
    await download(file);
    await expectExact(bytes);
    expect(hub.requests.at(-1)?.range).toMatch(/^bytes=[1-9]/);
  });

  test("and lost bytes that were not on the disk yet reads what is left", async () => {
    const file = await publish(bytes);
    await stopAt(file, 300_000);
    await folder.write("file", await folder.read("file", 0, 250_000));
    await download(file);
    await expectExact(bytes);
    expect(hub.requests.at(-1)?.range).toBe("bytes=250000-");
  });

  test("and holds another file's bytes now begins anew", async () => {
    const file = await publish(bytes);
    await folder.write("file", randomBytes(950_000, 9));
    await download(file);
    await expectExact(bytes);
  });
});

test("1,200 flips of one bit are all found, and nothing of them stays", async () => {
  const bytes = randomBytes(150, 4);
  const file = await publish(bytes);
  const { commit } = await listRepo(hub.url, { repo: REPO, revision: "main" });
  const url = fileUrl(hub.url, { repo: REPO, commit }, file.name);
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      hub.fault = () => ({ kind: "flip", at, bit });
      const action = downloadFile({
        place: opfsPlace,
        url,
        file,
        folder,
        name: "file",
        wait,
        stallMs: STALL_MS,
      });
      found.push(
        await action.then(
          () => "nothing",
          (error: Error) => error.message,
        ),
      );
    }
  }
  expect(found).toHaveLength(1200);
  expect(new Set(found)).toEqual(
    new Set([
      "model.safetensors came as other bytes than the hub lists: its SHA-256 is wrong, of all 150 B, 2 times.\n" +
        "Try again later, or over another connection: something on the way changes the file.",
    ]),
  );
  expect(await folder.list()).toEqual([]);
}, 60_000);

describe("any faults in any order", () => {
  const CASES = 250;
  test(`${CASES} seeded downloads end with the exact bytes or in words`, async () => {
    const random = createRandom(20);
    const below = (count: number) => Math.floor(random.next() * count);
    let exact = 0;
    for (let index = 0; index < CASES; index++) {
      const size = 1 + below(below(3) === 0 ? 300_000 : 5_000);
      const bytes = randomBytes(size, index);
      const file = await publish(bytes, below(2) === 0 ? "a.json" : "a.safetensors");
      const makers: (() => Fault)[] = [
        () => ({ kind: "reset" }),
        () => ({ kind: "cut", afterBytes: below(size) }),
        () => ({ kind: "cut", afterBytes: below(size) }),
        () => ({ kind: "short", afterBytes: below(size) }),
        () => ({ kind: "long", extraBytes: 1 + below(9) }),
        () => ({
          kind: "status",
          status: [400, 403, 404, 408, 416, 418, 429, 500, 503][below(9)] ?? 500,
        }),
        () => ({ kind: "whole" }),
        () => ({ kind: "shifted", byBytes: below(200) - 100 }),
        () => ({ kind: "etag" }),
        () => ({ kind: "login" }),
        () => ({ kind: "flip", at: below(size), bit: below(8) }),
        ...(below(20) === 0 ? [(): Fault => ({ kind: "stall", afterBytes: below(size) })] : []),
      ];
      const faults = Array.from({ length: below(6) }, () =>
        (makers[below(makers.length)] ?? makers[0]!)(),
      );
      failWith(...faults);
      const outcome = await download(file).then(
        () => "exact",
        (error: unknown) => error,
      );
      const label = `case ${index}: ${JSON.stringify(faults)} ended in ${String(outcome)}`;
      expect(outcome === "exact" || outcome instanceof UserError, label).toBe(true);
      if (outcome === "exact") exact++;
      // Whatever came of it, the next try with a hub in order gets it, from where it stopped.
      hub.fault = undefined;
      await download(file);
      const sha = createHash("sha256")
        .update(await folder.read("file"))
        .digest("hex");
      expect(sha, label).toBe(createHash("sha256").update(bytes).digest("hex"));
      await folder.remove("file");
    }
    expect(exact).toBeGreaterThan(CASES / 3); // or the faults say nothing of success
  }, 120_000);

  test("60 downloads cut at random fetch the file and at most a chunk for each cut", async () => {
    const random = createRandom(21);
    for (let index = 0; index < 60; index++) {
      const size = 1 + Math.floor(random.next() * 600_000);
      const bytes = randomBytes(size, 100 + index);
      const file = await publish(bytes);
      const cuts = Array.from({ length: 1 + Math.floor(random.next() * 6) }, () =>
        Math.floor(random.next() * size),
      );
      hub.sentBytes = 0;
      failWith(...cuts.map((afterBytes): Fault => ({ kind: "cut", afterBytes })));
      await download(file);
      await expectExact(bytes);
      expect(hub.sentBytes).toBeLessThanOrEqual(size + cuts.length * CHUNK_BYTES);
      await folder.remove("file");
    }
  }, 60_000);
});
