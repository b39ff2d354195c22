// Which browser a person has, so that the next step is in its words; and what is said of GPU and storage.
import { describe, expect, test } from "vitest";
import { lookForSupport, recognizeVisitor, storageFault } from "../../src/ui/support.ts";

const AGENTS = {
  chrome:
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  edge: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
  safari:
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
  firefox: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0",
  android:
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
  chromeOnIphone:
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604.1",
};

test.each([
  ["chrome", 0, "chrome", "linux"],
  ["edge", 0, "edge", "windows"],
  ["safari", 0, "safari", "macos"],
  ["safari", 5, "safari", "ios"], // an iPad
  ["firefox", 0, "firefox", "macos"],
  ["android", 5, "chrome", "android"],
  ["chromeOnIphone", 5, "safari", "ios"], // Safari inside
] as const)("%s with %d touch points is %s on %s", (agent, maxTouchPoints, browser, system) => {
  expect(recognizeVisitor({ userAgent: AGENTS[agent], maxTouchPoints })).toEqual({
    browser,
    system,
  });
});

test("brands are believed before the text that browsers copy from each other", () => {
  const says = {
    userAgent: AGENTS.chrome,
    brands: [{ brand: "Chromium" }, { brand: "Microsoft Edge" }],
    platform: "Windows",
    maxTouchPoints: 0,
  };
  expect(recognizeVisitor(says)).toEqual({ browser: "edge", system: "windows" });
});

describe("support", () => {
  const adapter = {} as GPUAdapter;

  test.each([
    ["an adapter", true, offering(() => Promise.resolve(adapter)), "ok"],
    ["WebGPU without an adapter", true, offering(() => Promise.resolve(null)), "none"],
    ["WebGPU that throws", true, offering(() => Promise.reject(new Error("blocked"))), "none"],
    ["no WebGPU", true, undefined, "missing"],
    ["an address that is not trusted, whatever else", false, undefined, "insecure"],
  ])("%s", async (_what, isSecure, gpu, support) => {
    expect(await lookForSupport({ isSecure, gpu })).toBe(support);
  });
});

test.each([
  [{ hasOpfs: false }, "none"],
  [{ quotaBytes: 2 ** 30, usedBytes: 2 ** 30 - 1 }, "small"],
  [{ isPersistent: false }, "temporary"],
  [{}, undefined],
])("storage with %j is %s", (change, fault) => {
  const good = { hasOpfs: true, isPersistent: true, quotaBytes: 2 ** 33, usedBytes: 2 ** 20 };
  expect(storageFault({ ...good, ...change })).toBe(fault);
});

function offering(found: () => Promise<GPUAdapter | null>) {
  return { requestAdapter: found };
}
