// The page's own server: it shows the built page to this machine, and nothing else to anyone.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serve } from "../../scripts/serve.mjs";
import { dist } from "./app.ts";

const folder = mkdtempSync(join(tmpdir(), "hone-serve-"));
const root = join(folder, "site");
const numbers = Uint8Array.from({ length: 1031 }, (_, i) => i % 251);
let site: Awaited<ReturnType<typeof serve>>;
let url = "";

beforeAll(async () => {
  mkdirSync(join(root, "assets"), { recursive: true });
  mkdirSync(join(root, "cli"));
  writeFileSync(join(root, "index.html"), "<!doctype html>");
  writeFileSync(join(root, "assets", "index-Abcd_123.js"), "export {};");
  writeFileSync(join(root, "numbers.safetensors"), numbers);
  writeFileSync(join(root, "empty.txt"), "");
  writeFileSync(join(root, ".hidden"), "hidden");
  writeFileSync(join(root, "cli", "main.js"), "command line");
  writeFileSync(join(folder, "secret.txt"), "secret");
  symlinkSync(join(folder, "secret.txt"), join(root, "link.txt"));
  site = await serve({ root, port: 0 });
  url = site.url;
});

afterAll(async () => {
  await site.close();
  rmSync(folder, { recursive: true });
});

test.each([
  ["", "text/html; charset=utf-8"],
  ["index.html?a=b", "text/html; charset=utf-8"],
  ["assets/index-Abcd_123.js", "text/javascript; charset=utf-8"],
  ["numbers.safetensors", "application/octet-stream"],
  ["empty.txt", "text/plain; charset=utf-8"],
])("/%s comes as %s", async (path, type) => {
  const response = await fetch(url + path);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe(type);
});

test("every answer carries the policy and the other headers, refusals too", async () => {
  for (const path of ["", "numbers.safetensors", "nothing"]) {
    const { headers } = await fetch(url + path);
    expect(headers.get("content-security-policy")).toMatch(
      /^default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; .*frame-ancestors 'none'$/,
    );
    expect(headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("referrer-policy")).toBe("no-referrer");
    expect(headers.get("permissions-policy")).toContain("camera=()");
    expect(headers.get("access-control-allow-origin")).toBeNull();
  }
});

test("files named by their content are kept for good, others are asked for again", async () => {
  const hashed = await fetch(`${url}assets/index-Abcd_123.js`);
  expect(hashed.headers.get("cache-control")).toBe("max-age=31536000, immutable");
  const plain = await fetch(`${url}numbers.safetensors`);
  expect(plain.headers.get("cache-control")).toBe("no-cache");
  const again = await fetch(`${url}numbers.safetensors`, {
    headers: { "If-None-Match": plain.headers.get("etag")! },
  });
  expect(again.status).toBe(304);
});

describe("ranges", () => {
  test.each([
    ["bytes=0-0", 0, 1],
    ["bytes=7-", 7, 1031],
    ["bytes=1000-5000", 1000, 1031],
    ["bytes=-3", 1028, 1031],
  ])("%s", async (range, start, end) => {
    const response = await fetch(`${url}numbers.safetensors`, { headers: { Range: range } });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${start}-${end - 1}/1031`);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(numbers.slice(start, end));
  });

  test.each(["bytes=-5000", "bytes=0-", "bytes=0-9999"])("%s is the whole file", async (range) => {
    const response = await fetch(`${url}numbers.safetensors`, { headers: { Range: range } });
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(numbers);
  });

  test("one past the end is refused with the size", async () => {
    const response = await fetch(`${url}numbers.safetensors`, {
      headers: { Range: "bytes=1031-" },
    });
    expect(response.status).toBe(416);
    expect(response.headers.get("content-range")).toBe("bytes */1031");
  });

  test.each(["bytes=5-3", "bytes=a-b", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])(
    "%s is none, or is past the end",
    async (range) => {
      const response = await fetch(`${url}numbers.safetensors`, { headers: { Range: range } });
      expect([200, 416]).toContain(response.status);
    },
  );

  test("of a file that has changed since come with the whole file", async () => {
    const response = await fetch(`${url}numbers.safetensors`, {
      headers: { Range: "bytes=5-", "If-Range": '"another"' },
    });
    expect(response.status).toBe(200);
  });
});

// Written to the socket as they stand: a client would tidy them up.
test.each([
  "/../secret.txt",
  "/%2e%2e/secret.txt",
  "/%2e%2e%2fsecret.txt",
  "/..%5csecret.txt",
  "/assets/../../secret.txt",
  "/assets/..%2f..%2fsecret.txt",
  "/%252e%252e/secret.txt",
  "//etc/passwd",
  "/link.txt",
  "/.hidden",
  "/cli/main.js",
  "/%63li/main.js",
  "/assets/%00",
  "/%",
  "/%ff",
  "/assets",
  "/assets/",
  "/index.html/",
  "/~root",
  "http://127.0.0.1/secret.txt",
  "secret.txt",
])("%s leads nowhere", async (address) => {
  expect(await ask(`GET ${address} HTTP/1.1\r\nHost: localhost`)).toMatch(/^HTTP\/1.1 40[04] /);
});

test.each(["localhost", "LOCALHOST:4173", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:4173"])(
  "answers to the name %s",
  async (host) => {
    expect(await ask(`GET / HTTP/1.1\r\nHost: ${host}`)).toMatch(/^HTTP\/1.1 200 /);
  },
);

// Names of other sites that were made to lead here, and other forms of the same address.
test.each([
  "example.com",
  "localhost.example.com",
  "localhost.",
  "127.0.0.1.example.com",
  "127.0.0.2",
  "127.1",
  "2130706433",
  "0x7f000001",
  "[::ffff:127.0.0.1]",
  "[::]",
  "0.0.0.0",
  "::1",
  "user@localhost",
  "localhost:4173:80",
  "localhost/",
  "",
])("does not answer to the name “%s”", async (host) => {
  expect(await ask(`GET / HTTP/1.1\r\nHost: ${host}`)).toMatch(/^HTTP\/1.1 40[03] /);
});

test("does not answer without a name", async () => {
  expect(await ask("GET / HTTP/1.1")).toMatch(/^HTTP\/1.1 400 /);
  expect(await ask("GET / HTTP/1.0")).toMatch(/^HTTP\/1.1 403 /);
});

test.each(["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])("does not take %s", async (method) => {
  expect(await ask(`${method} / HTTP/1.1\r\nHost: localhost`)).toMatch(/^HTTP\/1.1 405 /);
});

test.each(["0.0.0.0", "::", "192.168.1.7", "example.com"])(
  "does not listen on %s",
  async (host) => {
    await expect(serve({ root, port: 0, host })).rejects.toThrow(/would show .*\nLeave --host out/);
  },
);

test("a port that is taken is refused, and without one the next is taken", async () => {
  await expect(serve({ root, port: Number(new URL(url).port) })).rejects.toThrow(/is taken/);
  const [first, second] = [await serve({ root }), await serve({ root })];
  expect(Number(new URL(second.url).port)).toBeGreaterThan(Number(new URL(first.url).port));
  await Promise.all([first.close(), second.close()]);
});

test("another hub is named in the page and in both policies, in the place of the first", async () => {
  const hub = "http://127.0.0.1:8123";
  const other = await serve({ root: dist, port: 0, hub: `${hub}/` });
  const response = await fetch(other.url);
  const page = await response.text();
  await other.close();
  expect(page).toContain(`<meta name="hone-hub" content="${hub}"`);
  expect(page).toContain(`connect-src 'self' ${hub};`);
  expect(response.headers.get("content-security-policy")).toContain(`connect-src 'self' ${hub};`);
  expect(page).not.toContain("huggingface.co");
});

test.each(["huggingface.co", "ftp://hub", "http://hub/path", "https://user@hub", "http://a b"])(
  "%s is no hub's address",
  async (hub) => {
    await expect(serve({ root, port: 0, hub })).rejects.toThrow(/Give HF_ENDPOINT/);
  },
);

/** The answer's head, to a request as it is written. */
async function ask(head: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(`${head}\r\nConnection: close\r\n\r\n`);
    });
    let text = "";
    socket.on("data", (bytes: Buffer) => (text += bytes.toString("latin1")));
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
  });
}
