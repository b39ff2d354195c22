// Locks as the services take them: all or none, no longer than they are wanted, and told where there are none.
import { afterEach, expect, test, vi } from "vitest";
import { AbortedError } from "../../src/base/error.ts";
import { heldLocks, takeLock, takeLocks } from "../../src/services/locks.ts";
import { refuseNoRoom } from "../../src/services/room.ts";
import { makeUniqueId } from "../../src/services/storage.ts";
import { stubBrowser } from "../hosts/memory-browser.ts";

afterEach(() => vi.unstubAllGlobals());

test("a wait for several locks that is given up leaves none taken", async () => {
  stubBrowser();
  const release = await takeLock("second");
  const abort = new AbortController();
  const taking = takeLocks(["first", "second"], { mode: "shared", signal: abort.signal });
  await vi.waitFor(async () => expect(await heldLocks()).toContain("first"));
  abort.abort();
  await expect(taking).rejects.toThrow(AbortedError);
  await vi.waitFor(async () => expect([...(await heldLocks())]).toEqual(["second"]));
  release!();
  const both = await takeLocks(["first", "second"]);
  expect((await heldLocks()).size).toBe(2);
  both();
});

test("a page without a secure context, which has no locks, is told so in words", async () => {
  vi.stubGlobal("navigator", {});
  const told = /gives the page no locks.*\nOpen the page over https/;
  await expect(takeLock("any")).rejects.toThrow(told);
  await expect(heldLocks()).rejects.toThrow(told);
  await expect(refuseNoRoom("A model", 1), "nothing is known of its room").resolves.toBe(undefined);
  vi.stubGlobal("crypto", { getRandomValues: crypto.getRandomValues.bind(crypto) });
  expect(makeUniqueId("My data")).toMatch(/^my-data-[0-9a-f]{8}$/);
});
