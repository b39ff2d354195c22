// What the build puts on a host: small, under a strict policy, and asking for nothing from elsewhere.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { dist } from "./app.ts";

const page = readFileSync(join(dist, "index.html"), "utf8");

test("a first visit loads at most 250 KB of JavaScript, compressed, before the workers", () => {
  const entries = [...page.matchAll(/(?:src|href)="\.\/([^"]+\.js)"/g)].map((match) => match[1]!);
  expect(entries).not.toEqual([]);
  const bytes = [...withImports(entries)].map(
    (file) => gzipSync(readFileSync(join(dist, file)), { level: 9 }).length,
  );
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(250_000);
});

test("the page has no inline script, style or handler", () => {
  expect(page).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:/i);
});

test("the page's policy is the one agreed on", () => {
  const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1];
  expect(policy?.replaceAll("&#39;", "'").split("; ")).toEqual([
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co",
    "worker-src 'self' blob:",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types hone-templates hone-scripts",
  ]);
});

test("the page's addresses are relative, so that it works in any folder of a host", () => {
  const addresses = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map((match) => match[1]!);
  expect(addresses.filter((address) => !address.startsWith("./"))).toEqual([]);
});

test("nothing in the page is fetched from another host", () => {
  // Besides the hub: names of namespaces, where a package asks for reports of its faults, and a snippet that
  // asks one's own server.
  const allowed =
    /^https?:\/\/((\*\.)?huggingface\.co|\*\.hf\.co|www\.w3\.org|github\.com\/markedjs\/|localhost\b)/;
  const licenses = /\/\*!.*?\*\//gs;
  const sources = filesIn("").filter((file) => [".js", ".css", ".html"].includes(extname(file)));
  const found = sources.flatMap((file) =>
    [
      ...readFileSync(join(dist, file), "utf8")
        .replaceAll(licenses, "")
        .matchAll(/\b(?:https?|wss?):\/\/[\w./*-]+/g),
    ]
      .map(([address]) => address)
      .filter((address) => !allowed.test(address)),
  );
  expect([...new Set(found)]).toEqual([]);
});

test("the service worker keeps every file of the page, and not the command line", () => {
  const worker = readFileSync(join(dist, "sw.js"), "utf8");
  const kept = [...worker.matchAll(/\["([^"]+)","[\w+/]{43}="\]/g)].map((match) => match[1]!);
  expect(kept).toEqual(
    filesIn("")
      .filter((file) => file !== "sw.js")
      .toSorted(),
  );
});

/** The files and all that they import statically. */
function withImports(files: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    const code = readFileSync(join(dist, file), "utf8");
    const imports = /(?:^|;)\s*(?:import|export)(?:[^;()'"`]*?\bfrom)?\s*["']([^"']+)["']/g;
    for (const [, specifier] of code.matchAll(imports)) visit(join(dirname(file), specifier!));
  };
  for (const file of files) visit(file);
  return seen;
}

function filesIn(folder: string): string[] {
  return readdirSync(join(dist, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) return [path];
    return path === "cli" || path === "bench" ? [] : filesIn(path);
  });
}
