// Models in the browser's storage: the page's own, what two tabs may do to one, and what ids open.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import { modelLock, takeLock } from "../../src/services/locks.ts";
import { modelFolder } from "../../src/services/storage.ts";
import {
  changeEmbedded,
  filesIn,
  picked,
  quiet,
  refusal,
  SEEDLING,
  tiny,
  useTab,
} from "./model-tab.ts";

const tab = useTab();

describe("the page's own model", () => {
  test("the list of its files is true: else run node scripts/list-embedded.mjs", () => {
    const { "files.json": list, "README.md": _, ...files } = filesIn(SEEDLING);
    expect(JSON.parse(new TextDecoder().decode(list))).toEqual(
      Object.entries(files)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, bytes]) => ({
          name,
          bytes: bytes.length,
          sha256: createHash("sha256").update(bytes).digest("hex"),
        })),
    );
  });

  test("is copied once, verified, and there without a network from then on", async () => {
    const seen: [number, number][] = [];
    const model = await tab.store.addEmbedded((...counts) => seen.push(counts));
    expect(model).toMatchObject({
      id: "seedling",
      kind: "model",
      origin: { kind: "embedded" },
      facts: {
        family: "llama",
        layers: 4,
        contextTokens: 1024,
        vocab: 2304,
        hasChatTemplate: true,
        storedAs: "f16",
      },
    });
    expect(model.partialBytes).toBeUndefined();
    expect(seen.at(-1)).toEqual([model.bytes, model.bytes]);
    expect((await openModelFolder(await modelFolder("seedling"))).architecture.layers).toBe(4);
    tab.page.isOffline = true;
    expect(await tab.open().addEmbedded(quiet)).toEqual(model);
    expect(await tab.open().listModels()).toEqual([model]);
  });

  test("of which a byte came wrong is refused, and comes right at the next try", async () => {
    const weights = new Uint8Array(readFileSync(join(SEEDLING, "model.safetensors")));
    weights[1_000_000] = (weights[1_000_000] ?? 0) ^ 1;
    tab.page.changed = { "models/seedling/model.safetensors": weights };
    expect(await refusal(tab.store.addEmbedded(quiet))).toContain("its SHA-256 is wrong");
    tab.page.changed = {};
    await tab.store.addEmbedded(quiet);
    await openModelFolder(await modelFolder("seedling"));
  });

  test("is copied anew when the page brings another one", async () => {
    const first = await tab.store.addEmbedded(quiet);
    tab.page.changed = changeEmbedded();
    expect((await tab.store.addEmbedded(quiet)).facts?.contextTokens).toBe(2048);
    expect(first.facts?.contextTokens).toBe(1024);
  });

  test("is asked for in words where there is no room or no page", async () => {
    tab.disk.quotaBytes = 1_000_000;
    expect(await refusal(tab.store.addEmbedded(quiet))).toMatch(
      /^Seedling needs 2\.2 MiB.*the browser allows this site 976\.6 KiB, of which 0 B are used\.\n/,
    );
    tab.page.changed = { "models/seedling/files.json": Buffer.from("<!doctype html>") };
    expect(await refusal(tab.store.addEmbedded(quiet))).toContain("files.json cannot be read");
    expect(await tab.store.listModels()).toEqual([]);
  });
});

describe("two tabs", () => {
  test("one copies a model to its end while the other has just read that it is not complete", async () => {
    const { id } = await tab.store.addLocal("mine", picked(tiny), quiet);
    const models = (await openOpfs()).folder("models");
    const complete = await models.readText(`${id}/hone.json`);
    await models.write(
      `${id}/hone.json`,
      JSON.stringify({ ...(JSON.parse(complete) as object), isComplete: false }),
    );
    const locks = navigator.locks;
    const request: LockManager["request"] = locks.request.bind(locks);
    Object.assign(navigator.locks, {
      async request(...given: Parameters<LockManager["request"]>) {
        if (given[0] === modelLock(id)) await models.write(`${id}/hone.json`, complete);
        return request(...given);
      },
    });
    await tab.open().listModels();
    expect((await tab.store.listModels()).map((model) => model.id)).toEqual([id]);
    await openModelFolder(await modelFolder(id));
  });

  test("one downloads and the other is told so; neither the page nor it can delete it", async () => {
    tab.hub.repos.set("org/tiny", { files: tiny });
    const other = tab.open();
    const found = await tab.store.resolveHub("org/tiny");
    const refusals: Promise<string>[] = [];
    const model = await tab.store.download(found, () => {
      if (refusals.length > 0) return;
      refusals.push(refusal(other.download(found, quiet)));
      refusals.push(refusal(tab.store.download(found, quiet)));
    });
    expect(await Promise.all(refusals)).toEqual(
      Array.from(
        { length: 2 },
        () =>
          "org/tiny is being downloaded already, here or in another tab.\nWait for that download, or cancel it where it runs.",
      ),
    );
    await openModelFolder(await modelFolder(model.id));
  });

  test("a model that is read is not deleted; after that it is gone", async () => {
    const model = await tab.store.addLocal("mine", picked(tiny), quiet);
    const release = await takeLock(modelLock(model.id), { mode: "shared" });
    expect(await refusal(tab.open().deleteModel(model.id))).toMatch(/^mine is in use/);
    release?.();
    await vi.waitFor(() => tab.store.deleteModel(model.id));
    expect(await tab.store.listModels()).toEqual([]);
    expect(tab.disk.usedBytes()).toBe(0);
    expect(await refusal(modelFolder(model.id))).toBe(
      'There is no model "mine" in this browser\'s storage.\nAdd it again, or choose another one.',
    );
    await tab.store.deleteModel(model.id); // as if it had been done
  });

  test("every change of the list is told to all tabs", async () => {
    const messages: unknown[] = [];
    const channel = new BroadcastChannel("hone");
    channel.addEventListener("message", ({ data }) => messages.push(data));
    const { id } = await tab.store.addLocal("mine", picked(tiny), quiet);
    await tab.store.deleteModel(id);
    await vi.waitFor(() => expect(messages).toHaveLength(2));
    channel.close();
    expect(messages).toEqual(
      Array.from({ length: 2 }, () => ({ type: "changed", what: "models" })),
    );
  });
});

test.each(["", "../x", "A", "a/b", "a.b", "-a", "a".repeat(65), "hub", "constructor"])(
  "the id %j opens nothing",
  async (id) => {
    expect(await refusal(modelFolder(id))).toMatch(
      /is not an id of this storage|There is no model/,
    );
    expect(tab.disk.usedBytes()).toBe(0);
  },
);

test("the storage is reported as the browser tells it", async () => {
  tab.disk.quotaBytes = 5_000_000;
  expect(await tab.store.storage()).toEqual({
    usedBytes: 0,
    quotaBytes: 5_000_000,
    isPersistent: false,
    hasOpfs: true,
  });
  expect(await tab.store.persist()).toBe(true);
  expect(await tab.store.storage()).toMatchObject({ isPersistent: true });
  vi.stubGlobal("navigator", {});
  expect(await tab.store.storage()).toEqual({
    usedBytes: 0,
    quotaBytes: 0,
    isPersistent: false,
    hasOpfs: false,
  });
});
