// The page opens in a real browser: in the root of a host, in a folder of one, and without a network once it
// was there.
import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterEach, expect, test } from "vitest";
import { serve } from "../../scripts/serve.mjs";
import { type App, dist, openApp } from "./app.ts";

let app: App | undefined;

afterEach(async () => {
  const opened = app;
  app = undefined;
  await opened?.close();
});

test("opens without a word in the console, and asks nobody but its own host", async () => {
  app = await openApp();
  await app.page.getByRole("heading", { level: 1 }).waitFor();
  expect(await app.page.title()).toContain(app.text.app.name);
  await keptOffline(app);
  // afterEach looks at the console and at the browser's own log of requests.
});

test("opens in a folder of a host, and again when host and network are gone", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hone-host-"));
  cpSync(dist, join(folder, "some", "page"), { recursive: true });
  const host = await serve({ root: folder, port: 0 });
  const gone = /net::ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED|FAILED)/;
  app = await openApp({ site: { url: `${host.url}some/page/` }, expected: [gone] });
  await app.page.getByRole("heading", { level: 1 }).waitFor();
  await keptOffline(app);

  await host.close();
  rmSync(folder, { recursive: true });
  await app.context.setOffline(true);
  await app.page.reload();
  await app.page.getByRole("heading", { level: 1 }).waitFor();

  // The embedded model is there too, and in parts.
  const facts = await app.page.evaluate(async () => {
    const url = "models/seedling/model.safetensors";
    const whole = await (await fetch(url)).arrayBuffer();
    const part = await fetch(url, { headers: { Range: "bytes=3-9" } });
    const bytes = [...new Uint8Array(await part.arrayBuffer())];
    return {
      status: part.status,
      range: part.headers.get("content-range"),
      bytes: whole.byteLength,
      isSame: String(bytes) === String([...new Uint8Array(whole.slice(3, 10))]),
    };
  });
  expect(facts).toEqual({
    status: 206,
    range: `bytes 3-9/${facts.bytes}`,
    bytes: facts.bytes,
    isSame: true,
  });
});

test("of a new version only what changed is fetched, and nothing of the old one stays", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hone-host-"));
  cpSync(dist, folder, { recursive: true });
  const host = await serve({ root: folder, port: 0 });
  app = await openApp({ site: host });
  await keptOffline(app);
  const before = await keptAddresses(app.page);

  const changed = "configs/seedling_qlora_alpaca.yaml";
  const old = hashOf(readFileSync(join(folder, changed)));
  writeFileSync(join(folder, changed), "max_steps: 3\n");
  const worker = readFileSync(join(folder, "sw.js"), "utf8");
  const fresh = hashOf(readFileSync(join(folder, changed)));
  writeFileSync(join(folder, "sw.js"), worker.replace(old, fresh));

  const fetched: string[] = [];
  app.context.on("request", (request) => {
    if (request.serviceWorker()) fetched.push(new URL(request.url()).pathname);
  });
  await app.page.evaluate(async () => {
    const registration = await navigator.serviceWorker.ready;
    await registration.update();
    const next = registration.installing ?? registration.waiting;
    while (next?.state === "installing") await new Promise((done) => setTimeout(done, 20));
  });
  expect(fetched.filter((path) => path !== "/sw.js")).toEqual([`/${changed}`]);

  // The old one serves the tabs that it began with; it goes with the last of them, soon after that is left.
  const { page } = app;
  const visit = async () => {
    await page.goto("about:blank");
    await page.goto(host.url);
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    return page.evaluate(async (path) => (await fetch(path)).text(), changed);
  };
  await expect.poll(visit, { timeout: 90_000 }).toBe("max_steps: 3\n");
  const after = await keptAddresses(page);
  expect(after.length).toBe(before.length);
  expect(after.filter((address) => !before.includes(address))).toEqual([
    `${host.url}${changed}?${encodeURIComponent(fresh)}`,
  ]);
  await host.close();
  rmSync(folder, { recursive: true });
});

/** What the page's service worker keeps. */
async function keptAddresses(page: Page): Promise<string[]> {
  return await page.evaluate(async () => {
    const names = await caches.keys();
    const lists = await Promise.all(names.map(async (name) => (await caches.open(name)).keys()));
    return lists.flat().map((request) => request.url);
  });
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}

/** Waits until the service worker has everything and answers for the page. */
async function keptOffline({ page }: App): Promise<void> {
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (navigator.serviceWorker.controller) return;
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    });
  });
}
