// The page's own model when another one is there already, when it is in use, and when two tabs want it.
import { beforeEach, describe, expect, test, vi } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import type { StoredModel } from "../../src/services/api.ts";
import { modelLock, takeLock } from "../../src/services/locks.ts";
import { modelFolder } from "../../src/services/storage.ts";
import { changeEmbedded, quiet, refusal, storedNames, useTab } from "./model-tab.ts";

const tab = useTab();
const WEIGHTS = "models/seedling/model.safetensors";

async function storedContext(): Promise<number> {
  return (await openModelFolder(await modelFolder("seedling"))).architecture.maxPositions;
}

test("two tabs at their first visit fetch it once, and a look at the list disturbs neither", async () => {
  const other = tab.open();
  const looks: Promise<unknown>[] = [];
  const models = await Promise.all([
    tab.store.addEmbedded(() => void looks.push(other.listModels())),
    other.addEmbedded(quiet),
  ]);
  await Promise.all(looks);
  expect(models[0]).toEqual(models[1]);
  expect(tab.page.requests.filter((path) => path === WEIGHTS)).toHaveLength(1);
  expect(await storedContext()).toBe(1024);
});

describe("when the page brings another one", () => {
  let old: StoredModel;
  beforeEach(async () => {
    old = await tab.store.addEmbedded(quiet);
    tab.page.changed = changeEmbedded();
    tab.page.requests.length = 0;
  });

  test("which does not come, the old one stays in its place", async () => {
    const { "models/seedling/files.json": list } = tab.page.changed;
    tab.page.changed = { "models/seedling/files.json": list! }; // of a config that is not there
    expect(await tab.store.addEmbedded(quiet)).toEqual(old);
    expect(await storedContext()).toBe(1024);
    tab.page.changed = changeEmbedded();
    tab.disk.quotaBytes = tab.disk.usedBytes() + 1000;
    expect(await tab.store.addEmbedded(quiet)).toEqual(old);
    expect(await storedContext()).toBe(1024);
    tab.disk.quotaBytes = 2 ** 30;
    expect((await tab.store.addEmbedded(quiet)).facts?.contextTokens).toBe(2048);
    expect((await storedNames()).every((name) => name.startsWith("seedling/files/"))).toBe(true);
  });

  test("the old one can be read until its successor is here", async () => {
    const seen: number[] = [];
    const reads: Promise<unknown>[] = [];
    await tab.store.addEmbedded((bytes, totalBytes) => {
      if (bytes < totalBytes) reads.push(storedContext().then((context) => seen.push(context)));
    });
    await Promise.all(reads);
    expect(seen.length).toBeGreaterThan(0);
    expect(new Set(seen)).toEqual(new Set([1024]));
    expect(await storedContext()).toBe(2048);
  });

  test("and the old one is in use, it stays, and nobody who wants to read it has to wait", async () => {
    const release = await takeLock(modelLock("seedling"), { mode: "shared" });
    expect(await tab.store.addEmbedded(quiet)).toEqual(old);
    const second = await takeLock(modelLock("seedling"), { mode: "shared" });
    expect(tab.page.requests).not.toContain(WEIGHTS);
    second?.();
    release?.();
    await vi.waitFor(async () =>
      expect((await tab.store.addEmbedded(quiet)).facts?.contextTokens).toBe(2048),
    );
  });

  test("it is not deleted while its successor comes", async () => {
    const refusals: Promise<string>[] = [];
    await tab.store.addEmbedded(() => {
      if (refusals.length === 0) refusals.push(refusal(tab.open().deleteModel("seedling")));
    });
    expect(await Promise.all(refusals)).toEqual([expect.stringMatching(/^Seedling is in use/)]);
    expect(await storedContext()).toBe(2048);
  });
});
