// Data sets of the hub in the page: told before the download, verified, gone on with, and taken in as rows.
import { describe, expect, test, vi } from "vitest";
import type { StoredData } from "../../src/services/api.ts";
import { createDataDownloads } from "../../src/services/data-downloads.ts";
import { tableRows } from "../../src/services/data-read.ts";
import { listData } from "../../src/services/data-store.ts";
import { randomBytes } from "../hosts/hub-use.ts";
import { quiet, refusal, useTab } from "./model-tab.ts";

const tab = useTab();
const open = () => createDataDownloads(tab.hub.url);
const jsonl = (from: number, count: number, answer = "It is") =>
  Buffer.from(
    Array.from({ length: count }, (_, i) =>
      JSON.stringify({
        instruction: `Say ${from + i}`,
        input: "",
        output: `${answer} ${from + i}.`,
      }),
    ).join("\n"),
  );
const publish = (files: Record<string, Uint8Array>, more = {}) =>
  tab.hub.repos.set("datasets/org/rows", { files, ...more });

async function contents({ id, rows }: StoredData): Promise<(string | undefined)[]> {
  return (await tableRows(id, 0, rows)).map(({ messages }) => messages[0]?.content.trim());
}

describe("a data set of the hub", () => {
  test("tells its files and size, and its rows come verified and in order", async () => {
    const files = {
      "README.md": Buffer.from("# Rows"),
      "data/train-00001-of-00002.jsonl": jsonl(3, 2),
      "data/train-00000-of-00002.jsonl": jsonl(0, 3),
      "data/test-00000-of-00001.jsonl": jsonl(50, 1),
    };
    publish(files);
    const store = open();
    const found = await store.resolveHubData(`${tab.hub.url}/datasets/org/rows`, "train");
    expect(found).toMatchObject({
      repo: "org/rows",
      split: "train",
      reason: "names",
      partialBytes: 0,
      totalBytes: jsonl(0, 3).length + jsonl(3, 2).length,
    });
    expect(found.files.map(({ name }) => name)).toEqual([
      "data/train-00000-of-00002.jsonl",
      "data/train-00001-of-00002.jsonl",
    ]);
    const seen: [number, number][] = [];
    const stored = await store.downloadData(found, (...counts) => seen.push(counts));
    expect(stored).toMatchObject({ name: "org/rows (train)", rows: 5, format: "alpaca" });
    expect(await contents(stored)).toEqual([0, 1, 2, 3, 4].map((i) => `Say ${i}`));
    expect(seen.at(-1)).toEqual([found.totalBytes, found.totalBytes]);
    expect(await listData()).toEqual([stored]);
    expect(await store.listDataDownloads(), "the files themselves are gone").toEqual([]);
    const testRows = await store.downloadData(
      await store.resolveHubData("org/rows", "test"),
      quiet,
    );
    expect(await contents(testRows)).toEqual(["Say 50"]);
  });

  test("broken rows of several files are counted through all of them", async () => {
    publish({
      "train/a.jsonl": jsonl(0, 2),
      "train/b.jsonl": Buffer.from(`{"x\n${jsonl(2, 1).toString()}`),
    });
    const store = open();
    const stored = await store.downloadData(await store.resolveHubData("org/rows", "train"), quiet);
    expect(stored).toMatchObject({ rows: 4, broken: 1 });
    expect(await contents(stored)).toEqual(["Say 0", "Say 1", undefined, "Say 2"]);
  });

  test("is stopped, listed with what came, and goes on in another tab", async () => {
    const rows = jsonl(0, 9000, "x".repeat(40));
    publish({ "train.jsonl": rows });
    const store = open();
    const found = await store.resolveHubData("org/rows", "train");
    tab.hub.fault = ({ path }) => {
      if (!path.endsWith("train.jsonl")) return undefined;
      return { kind: "stall", afterBytes: 200_000 };
    };
    const stopped = refusal(store.downloadData(found, quiet));
    await vi.waitFor(() => expect(tab.disk.usedBytes()).toBeGreaterThan(50_000), 20_000);
    await store.cancelDataDownload(found.id);
    expect(await stopped).toContain("what came so far is kept");
    expect(await listData()).toEqual([]);
    const other = open();
    const [half] = await other.listDataDownloads();
    expect(half).toMatchObject({ id: found.id, name: "org/rows (train)", totalBytes: rows.length });
    const came = half?.partialBytes ?? 0;
    expect(came).toBeGreaterThan(0);
    expect(came).toBeLessThanOrEqual(200_000);
    tab.hub.fault = undefined;
    tab.hub.sentBytes = 0;
    const again = await other.resolveHubData(half?.id ?? "", "other");
    expect(again).toMatchObject({ id: found.id, split: "train", partialBytes: came });
    expect((await other.downloadData(again, quiet)).rows).toBe(9000);
    expect(tab.hub.sentBytes).toBe(rows.length - came);
    expect(await other.listDataDownloads()).toEqual([]);
  });

  test("that is begun can be deleted, with all that came", async () => {
    publish({ "train.jsonl": jsonl(0, 100) });
    const store = open();
    const found = await store.resolveHubData("org/rows", "train");
    tab.hub.fault = () => ({ kind: "status", status: 403 });
    expect(await refusal(store.downloadData(found, quiet))).toContain("not given to everyone");
    expect(await store.listDataDownloads()).toHaveLength(1);
    await store.deleteDataDownload(found.id);
    expect(await store.listDataDownloads()).toEqual([]);
    expect(tab.disk.usedBytes()).toBe(0);
  });

  test("of which nothing can be made leaves nothing behind", async () => {
    publish({ "train.jsonl": Buffer.from(randomBytes(500)) });
    const store = open();
    const found = await store.resolveHubData("org/rows", "train");
    await refusal(store.downloadData(found, quiet));
    expect(await store.listDataDownloads()).toEqual([]);
    expect(await listData()).toEqual([]);
    expect(tab.disk.usedBytes()).toBe(0);
  });

  test("made by a script comes as the hub has converted it", async () => {
    const branches = { "refs/convert/parquet": { "default/train/0000.parquet": randomBytes(99) } };
    publish({ "rows.py": Buffer.from("print(1)") }, { branches });
    const found = await open().resolveHubData("org/rows", "train");
    expect(found.reason).toBe("converted");
    expect(found.files.map(({ name }) => name)).toEqual(["default/train/0000.parquet"]);
  });

  test("a file that is named comes without a look at the card", async () => {
    publish({ "README.md": Buffer.from("# Rows"), "en.jsonl": jsonl(0, 1) });
    tab.hub.requests.length = 0;
    const found = await open().resolveHubData("org/rows/en.jsonl", "train");
    expect(found).toMatchObject({ reason: "named", files: [{ name: "en.jsonl" }] });
    expect(tab.hub.requests.filter(({ path }) => path.includes("README"))).toEqual([]);
  });

  test("a config is named by its card", async () => {
    const card = Buffer.from(
      "---\nconfigs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: zh\n  data_files: zh.jsonl\n---\n",
    );
    publish({ "README.md": card, "en.jsonl": jsonl(0, 1), "zh.jsonl": jsonl(9, 1) });
    const store = open();
    const found = await store.resolveHubData("org/rows/zh", "train");
    const stored = await store.downloadData(found, quiet);
    expect(stored.name).toBe("org/rows (zh, train)");
    expect(await contents(stored)).toEqual(["Say 9"]);
    expect((await store.resolveHubData("org/rows", "train")).refusal).toContain(
      "2 configs: en, zh",
    );
  });

  test("that cannot be used is told with the reason", async () => {
    const store = open();
    publish({ "a.csv": Buffer.from("x"), "b.json": Buffer.from("[]") });
    expect((await store.resolveHubData("org/rows", "train")).refusal).toContain("several kinds");
    publish({ "train.jsonl": jsonl(0, 1) }, { gated: "auto" });
    expect((await store.resolveHubData("org/rows", "train")).refusal).toContain("is gated");
    publish({ "train.jsonl": jsonl(0, 1) });
    expect((await store.resolveHubData("org/rows", "dev")).refusal).toContain('no split "dev"');
    expect(await refusal(store.resolveHubData("no/such", "train"))).toContain("data set no/such");
    expect(await refusal(store.resolveHubData("https://example.com/x/y", "train"))).toContain(
      "leads to example.com",
    );
    const found = await store.resolveHubData("org/rows", "train");
    tab.disk.quotaBytes = 10;
    expect(await refusal(store.downloadData(found, quiet))).toContain(
      "the browser allows this site",
    );
  });
});
