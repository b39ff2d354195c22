// The page's policy holds in the page and in its workers, on a host that sends no headers too.
import { createReadStream, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type App, dist, openApp } from "./app.ts";

const ELSEWHERE = "https://example.com/";
let plainHost: Server;
let app: App | undefined;

// What a host does that knows nothing of the page: types, and no other header.
beforeAll(async () => {
  const types: Record<string, string> = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
  };
  plainHost = createServer((request, response) => {
    const path = join(dist, request.url === "/" ? "index.html" : (request.url ?? ""));
    response.statusCode = existsSync(path) ? 200 : 404;
    response.setHeader("Content-Type", types[extname(path)] ?? "application/octet-stream");
    if (response.statusCode === 404) response.end();
    else createReadStream(path).pipe(response);
  });
  await new Promise<void>((resolve) => plainHost.listen(0, "127.0.0.1", resolve));
});

afterAll(() => {
  plainHost.closeAllConnections();
  plainHost.close();
});

afterEach(async () => {
  const opened = app;
  app = undefined;
  await opened?.close();
});

test("neither the page nor its workers can connect to a foreign host", async () => {
  app = await openOnPlainHost([/Content Security Policy|policy: connect-src/]);
  const workers = app.page.workers();
  expect(workers.length).toBe(2);
  for (const place of [app.page, ...workers] as Page[]) {
    const own = `${app.url}icon.svg`;
    expect(await place.evaluate(reach, ELSEWHERE)).toMatch(/TypeError/);
    expect(await place.evaluate(reach, own)).toBe("reached");
  }
  // afterEach: the browser's own log shows that no request was made.
});

test("text cannot become markup, and no foreign script a worker", async () => {
  app = await openOnPlainHost([
    /Content Security [Pp]olicy|'Trusted(HTML|Script|ScriptURL)'|policy: /,
  ]);
  const attempts = await app.page.evaluate(async () => {
    // The browser lets its debugger evaluate; what runs later is the page's own.
    await new Promise((resolve) => setTimeout(resolve, 0));
    const code = URL.createObjectURL(new Blob(["postMessage(1)"], { type: "text/javascript" }));
    const tries: Record<string, () => unknown> = {
      innerHTML: () => (document.createElement("p").innerHTML = "<b>x</b>"),
      insertAdjacentHTML: () => document.body.insertAdjacentHTML("beforeend", "<b>x</b>"),
      write: () => document.write("<b>x</b>"),
      srcdoc: () => (document.createElement("iframe").srcdoc = "<b>x</b>"),
      parse: () => new DOMParser().parseFromString("<b>x</b>", "text/html"),
      // oxlint-disable-next-line eslint/no-eval -- what the policy must refuse
      eval: () => (0, eval)("1"),
      // oxlint-disable-next-line typescript/no-implied-eval -- what the policy must refuse
      Function: () => new Function("return 1")(),
      script: () => (document.createElement("script").src = "https://example.com/x.js"),
      worker: () => new Worker(code),
      policy: () => trustedTypes?.createPolicy("another", { createHTML: (text) => text }),
      again: () => trustedTypes?.createPolicy("hone-templates", { createHTML: (text) => text }),
    };
    return Object.entries(tries).map(([name, attempt]) => {
      try {
        attempt();
        return `${name} passed`;
      } catch (error) {
        return `${name} ${(error as Error).name}`;
      }
    });
  });
  expect(attempts.filter((result) => result.endsWith(" passed"))).toEqual([]);
});

/** Runs in the page or a worker. */
async function reach(address: string): Promise<string> {
  return await fetch(address).then(
    () => "reached",
    (error) => String(error),
  );
}

async function openOnPlainHost(expected: readonly RegExp[]): Promise<App> {
  const { port } = plainHost.address() as AddressInfo;
  const opened = await openApp({ site: { url: `http://127.0.0.1:${port}/` }, expected });
  await opened.page.getByRole("heading", { level: 1 }).waitFor();
  return opened;
}
