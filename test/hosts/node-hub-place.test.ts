// Where the environment says that the hub and its cache are, and to which addresses a token goes.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hubPlace } from "../../src/hosts/node-hub-place.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hone-hub-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the environment", () => {
  test.each<[Record<string, string>, string]>([
    [{ HF_HUB_CACHE: "/a/b", HF_HOME: "/h" }, "/a/b"],
    [{ HF_HOME: "/h" }, "/h/hub"],
    [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
  ])("%j puts the cache at %s", (variables, expected) => {
    expect(hubPlace(variables).cache).toBe(expected);
  });

  test("a token comes from its variable, its file, or where Python keeps it", () => {
    writeFileSync(join(folder, "token"), "hf_kept\n");
    writeFileSync(join(folder, "other"), "hf_other");
    const tokenOf = (more: Record<string, string>) => hubPlace({ HF_HOME: folder, ...more }).token;
    expect(tokenOf({})?.value).toBe("hf_kept");
    expect(tokenOf({ HF_TOKEN_PATH: join(folder, "other") })?.value).toBe("hf_other");
    expect(tokenOf({ HF_TOKEN: "hf_mine" })).toEqual({ value: "hf_mine", source: "HF_TOKEN" });
    expect(hubPlace({ HF_HOME: join(folder, "none") }).token).toBeUndefined();
    expect(() => tokenOf({ HF_TOKEN: "a\nb" })).toThrow("holds characters that no token has");
    expect(() => tokenOf({ HF_TOKEN: "a\nb" })).not.toThrow("a\nb");
  });

  test.each(["not an address", "ftp://host"])("HF_ENDPOINT=%s is refused", (endpoint) => {
    expect(() => hubPlace({ HF_ENDPOINT: endpoint })).toThrow("is no address");
  });

  test.each([
    ["https://huggingface.co", "https://huggingface.co/api/models/a", true],
    ["https://huggingface.co", "https://cdn-lfs.huggingface.co/x", false],
    ["https://huggingface.co", "https://huggingface.co.evil.test/x", false],
    ["https://huggingface.co", "https://huggingface.co@evil.test/x", false],
    ["https://huggingface.co", "http://huggingface.co/x", false],
    ["https://mirror.test:8443", "https://mirror.test:8443/x", true],
    ["https://mirror.test:8443", "https://mirror.test/x", false],
    ["http://mirror.test", "http://mirror.test/x", false],
    ["http://localhost:9", "http://localhost:9/x", true],
    ["http://localhost:9", "http://localhost:10/x", false],
  ])("the token of %s goes to %s: %s", (endpoint, url, isSent) => {
    const { headersFor } = hubPlace({ HF_ENDPOINT: endpoint, HF_TOKEN: "hf_x" }).http;
    expect(headersFor?.(url)).toEqual(isSent ? { Authorization: "Bearer hf_x" } : {});
  });
});
