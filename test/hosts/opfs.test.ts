// Folders of a browser: all or nothing on writing, no handle left open, and every refusal in words.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { UserError } from "../../src/base/error.ts";
import type { Folder } from "../../src/base/folder.ts";
import { openGrowing, openOpfs, opfsFile, opfsFolder } from "../../src/hosts/opfs.ts";
import { stubBrowser } from "./memory-browser.ts";
import type { MemoryDisk } from "./memory-opfs.ts";

let disk: MemoryDisk;

beforeEach(() => {
  disk = stubBrowser();
});

afterEach(() => {
  vi.unstubAllGlobals();
  if (disk.openHandles !== 0) throw new Error(`${disk.openHandles} handles were left open`);
});

async function refusal(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

async function* pieces(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

/** Content whose making fails on the way. */
async function* broken(): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(10);
  throw new RangeError("mine");
}

/** Throws a fault of that name at the given operation on a file, once or always. */
function failAt(operation: string, fault: string, times = Infinity): void {
  let left = times;
  disk.fault = (at) => {
    if (at === operation && left-- > 0) throw new DOMException("put in the way", fault);
  };
}

/** The private files, and a folder the person picked: the same promises, kept in two ways. */
const KINDS: [string, () => Promise<Folder>][] = [
  ["private files", openOpfs],
  ["a picked folder", async () => opfsFolder(disk.pickedFolder(), "picked")],
];

describe.each(KINDS)("%s", (_kind, open) => {
  test("what is written is read back, whole, in ranges and as a stream", async () => {
    const folder = (await open()).folder("a/b"); // does not exist yet
    // Three pieces of odd sizes, more than one chunk of a stream together.
    const parts = [1, 2_700_001, 2_400_003].map((size, i) => new Uint8Array(size).fill(i + 1));
    const all = Buffer.concat(parts);
    await folder.write("x.bin", pieces(...parts));
    expect(await folder.size("x.bin")).toBe(all.length);
    expect(all.equals(await folder.read("x.bin"))).toBe(true);
    expect(all.subarray(0, 3).equals(await folder.read("x.bin", 0, 3))).toBe(true);
    expect(all.subarray(700_000).equals(await folder.read("x.bin", 700_000))).toBe(true);
    const chunks = await collect(folder.stream("x.bin"));
    expect(all.equals(Buffer.concat(chunks))).toBe(true);
    // All pieces but the last are of a MiB or more: small ones cost a message to the browser each.
    expect(chunks.slice(0, -1).every(({ length }) => length >= 2 ** 20)).toBe(true);
    await folder.write("t.txt", "你好\n");
    await folder.append("t.txt", "two");
    await folder.append("new.txt", "one\n");
    expect(await folder.readText("t.txt")).toBe("你好\ntwo");
    expect(await folder.readText("new.txt")).toBe("one\n");
    expect(await folder.list()).toEqual(["new.txt", "t.txt", "x.bin"]);
  });

  test("a shorter file replaces a longer one whole", async () => {
    const folder = await open();
    await folder.write("x", "a long text");
    await folder.write("x", "b");
    expect(await folder.readText("x")).toBe("b");
    await folder.write("x", "");
    expect(await folder.size("x")).toBe(0);
  });

  test("a folder that is not there lists nothing, and its files have no size", async () => {
    const folder = (await open()).folder("none");
    expect(await folder.list()).toEqual([]);
    expect(await folder.size("x")).toBeUndefined();
    expect(await refusal(folder.read("x"))).toMatch(/^There is no file or folder .*none\/x/);
    await folder.remove("x"); // as if it had been done
  });

  test.each(["getFileHandle", "write", "close", "move", "flush", "createSyncAccessHandle"])(
    "a fault at %s leaves the old file as it was and nothing else",
    async (operation) => {
      const folder = await open();
      await folder.write("x", "old");
      const files = await folder.list();
      failAt(operation, "UnknownError", 1);
      const failed = await folder.write("x", pieces(new Uint8Array(5), new Uint8Array(7))).then(
        () => false,
        (error: unknown) => error instanceof UserError,
      );
      disk.fault = undefined;
      // It succeeds where the operation is none of this kind's.
      expect(await folder.size("x")).toBe(failed ? "old".length : 12);
      expect(await folder.list()).toEqual(files);
    },
  );

  test("what the writer throws passes through, and a new file does not appear", async () => {
    const folder = await open();
    await expect(folder.write("x", broken())).rejects.toThrow(RangeError);
    expect(await folder.list()).toEqual([]);
  });

  test("renaming a folder moves all of it, the file written last at the very end", async () => {
    const folder = await open();
    disk.now = 1_700_000_000_000; // one tick of the clock for all
    for (const name of ["weights", "deep/er", "config", "a-state"]) {
      await folder.folder("iter.partial").write(name, name);
    }
    const moved: string[] = [];
    disk.fault = (operation, name) => {
      if (operation === "move" || operation === "close") moved.push(name);
    };
    await folder.rename("iter.partial", "iter");
    expect(moved).toEqual(["weights", "er", "config", "a-state"]);
    expect(await folder.list()).toEqual(["iter"]);
    expect(await folder.readText("iter/deep/er")).toBe("deep/er");
    await folder.rename("iter/config", "iter/c2");
    expect(await folder.folder("iter").list()).toEqual(["a-state", "c2", "deep", "weights"]);
    await folder.remove("iter");
    expect(await folder.list()).toEqual([]);
    expect(await refusal(folder.rename("none", "x"))).toContain("none");
  });

  test.each(["../x", "a/../../x", "/x", "a//b", "", ".", "C:x", "a\\b", "a\0"])(
    "the name %j leads nowhere",
    async (name) => {
      const folder = await open();
      expect(await refusal(folder.write(name, "x"))).toContain("is not a name inside");
      expect(await refusal(folder.read(name))).toContain("is not a name inside");
      expect(await refusal(folder.remove(name))).toContain("is not a name inside");
      expect(await refusal(folder.rename("x", name))).toContain("is not a name inside");
      expect(() => folder.folder(name)).toThrow(UserError);
    },
  );
});

describe("quota", () => {
  test("a full quota is told in numbers, and what was there before still is", async () => {
    const folder = await openOpfs();
    await folder.write("x", "old");
    disk.quotaBytes = 3_000_000;
    const parts = Array.from({ length: 4 }, () => new Uint8Array(2 ** 20));
    const message = await refusal(folder.write("x", pieces(...parts)));
    expect(message).toBe(
      "The browser's storage has no room for x: it took 2.0 MiB and no more. The browser allows this site 2.9 MiB, of which 2.0 MiB are used.\n" +
        "Delete models or runs that are no longer needed, or free some disk space. What was saved before is untouched.",
    );
    expect(await folder.readText("x")).toBe("old");
    expect(disk.usedBytes()).toBe(3);
  });

  test("a line that has no room is not appended in part", async () => {
    const folder = await openOpfs();
    await folder.append("log", "one\n");
    disk.quotaBytes = 6;
    expect(await refusal(folder.append("log", "two\n"))).toContain("no room for log");
    expect(await folder.readText("log")).toBe("one\n");
  });
});

test("what was appended is brought to the disk when that is asked for", async () => {
  const folder = await openOpfs();
  const flushed: string[] = [];
  disk.fault = (operation, name) => void (operation === "flush" && flushed.push(name));
  await folder.append("log", "one\n");
  expect(flushed).toEqual([]); // each line by itself would keep the training waiting
  await folder.flush("log");
  expect(flushed).toEqual(["log"]);
  expect(await refusal(folder.flush("none"))).toContain("There is no file or folder");
  const picked = opfsFolder(disk.pickedFolder(), "picked");
  await picked.append("log", "one\n");
  await picked.flush("log");
  expect(await picked.readText("log")).toBe("one\n");
});

describe("two tabs", () => {
  test("that write one file do so one after the other, and the last one stays", async () => {
    const folder = await openOpfs();
    const other = await openOpfs();
    const texts = Array.from({ length: 20 }, (_, i) => `${i} `.repeat(i + 1));
    await Promise.all(texts.map((text, i) => (i % 2 ? folder : other).write("x", text)));
    expect(await folder.readText("x")).toBe(texts.at(-1));
    expect(await folder.list()).toEqual(["x"]);
    await expect(folder.write("x", broken())).rejects.toThrow(RangeError);
    await folder.write("x", "free again");
  });

  test("a file that another tab holds is waited for, and then told", async () => {
    const folder = await openOpfs();
    const other = await openGrowing(folder, "x");
    const closing = setTimeout(() => other.close(), 60);
    await folder.append("x", "later");
    clearTimeout(closing);
    expect(await folder.readText("x")).toBe("later");
    const again = await openGrowing(folder, "x");
    expect(await refusal(folder.append("x", "never"))).toBe(
      "Another tab has x open, so this one cannot write it.\nClose Hone's other tabs, then try again.",
    );
    expect(await refusal(folder.remove("x"))).toContain("Another tab has x open");
    again.close();
  });

  test("a file that grows while it is read is read anew", async () => {
    const folder = await openOpfs();
    await folder.append("log", "one\n");
    let isFirst = true;
    disk.fault = (operation) => {
      if (operation !== "getFile" || !isFirst) return;
      isFirst = false;
      // Between getting the File and reading it.
      queueMicrotask(() => void folder.append("log", "two\n"));
    };
    expect(await folder.readText("log")).toMatch(/^one\n/);
    await vi.waitFor(async () => expect(await folder.readText("log")).toBe("one\ntwo\n"));
  });
});

describe("no storage", () => {
  test("a browser without private files is told so", async () => {
    vi.stubGlobal("navigator", {});
    expect(await refusal(openOpfs())).toContain("gives pages no private files");
  });

  test("a private window that refuses is told so", async () => {
    failAt("getDirectory", "SecurityError");
    expect(await refusal(openOpfs())).toContain(
      "does not let this page keep files (SecurityError)",
    );
  });
});

test("a growing file adds whole pieces, can be cut back, and is a file like others", async () => {
  const folder = await openOpfs();
  const file = await openGrowing(folder, "part/x.bin");
  await file.append(new Uint8Array([1, 2, 3]));
  await file.append(new Uint8Array([4, 5]));
  await file.truncate(4);
  await file.flush();
  expect(file.bytes).toBe(4);
  disk.quotaBytes = 6;
  expect(await refusal(file.append(new Uint8Array(3)))).toContain("no room for part/x.bin");
  expect(file.bytes).toBe(4);
  file.close();
  expect([...(await folder.read("part/x.bin"))]).toEqual([1, 2, 3, 4]);
  expect((await opfsFile(folder, "part/x.bin")).size).toBe(4);
});
