// The tools of these tests see what they are there to see.
import type { Page } from "playwright-core";
import { afterEach, expect, test } from "vitest";
import { type App, openApp } from "./app.ts";
import { watchMainThread } from "./main-thread.ts";

let app: App | undefined;

afterEach(async () => {
  const opened = app;
  app = undefined;
  await opened?.close();
});

test("the browser has WebGPU in the page and in a worker", async () => {
  app = await openApp();
  for (const place of [app.page, ...app.page.workers()] as Page[]) {
    expect(await place.evaluate(adapterName)).toBe("swiftshader");
  }
});

test("errors, breaches of the policy and foreign requests fail the closing of the app", async () => {
  const opened = await openApp();
  await opened.page.evaluate(() => {
    console.error("said in the page");
    setTimeout(() => {
      throw new Error("thrown in the page");
    });
    return fetch("https://blocked.example/").catch(() => undefined);
  });
  await opened.page.workers()[0]?.evaluate(() => console.error("said in a worker"));
  const away = await opened.context.newPage();
  await away.goto("http://foreign.example/").catch(() => undefined);
  const problems = await opened.close().then(
    () => "none",
    (error: unknown) => String(error),
  );
  for (const word of [
    "said in the page",
    "thrown in the page",
    "said in a worker",
    "connect-src",
  ]) {
    expect(problems).toContain(word);
  }
  expect(problems).toContain("asked for foreign.example");
  expect(problems).not.toContain("asked for blocked.example");
});

test("a blocked main thread is measured by its length", async () => {
  app = await openApp();
  const stop = await watchMainThread(app.page);
  await app.page.evaluate(async () => {
    const end = performance.now() + 300;
    while (performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, 700));
  });
  const { p99Ms, worstMs, seconds } = await stop();
  expect(worstMs).toBeGreaterThanOrEqual(300);
  // 1 % of a second is 10 ms, which is what remains of the block after 290 ms.
  expect(p99Ms).toBeGreaterThan(250);
  expect(seconds).toBeGreaterThan(0.9);
});

/** Runs in the page or a worker. */
async function adapterName(): Promise<string | undefined> {
  return (await navigator.gpu.requestAdapter())?.info.architecture;
}
