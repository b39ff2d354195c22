// Folders on a disk: all or nothing on writing, and every failure in words with the path.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { nodeHost, openDataSource, openFileAsFolder, openFolder } from "../../src/hosts/node.ts";

let path = "";

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), "hone-test-"));
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(path, { recursive: true, force: true });
});

/** Makes every later write to any file fail after `bytes` more, as a full disk does. */
async function fillDiskAfter(bytes: number, code = "ENOSPC"): Promise<void> {
  const probe = await open(join(path, "probe"), "w");
  const prototype = Object.getPrototypeOf(probe) as { write: (...args: unknown[]) => unknown };
  await probe.close();
  const write = prototype.write;
  let left = bytes;
  vi.spyOn(prototype, "write").mockImplementation(function (this: unknown, ...args: unknown[]) {
    const [data, from, length] = args as [Uint8Array, number, number];
    if (left === 0) {
      const error = Object.assign(new Error(`${code}: no space left`), { code, syscall: "write" });
      return Promise.reject(error);
    }
    const taken = Math.min(length, left);
    left -= taken;
    return write.call(this, data, from, taken);
  });
}

async function refusal(action: Promise<unknown>): Promise<string> {
  const error: unknown = await action.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(UserError);
  return (error as Error).message;
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("what is written is read back, whole, in ranges and as a stream", async () => {
  const folder = openFolder(path).folder("a/b"); // does not exist yet
  // Three pieces of odd sizes, more than one chunk of a stream together.
  const pieces = [1, 700_001, 1_400_003].map((size, i) => new Uint8Array(size).fill(i + 1));
  const all = Buffer.concat(pieces);
  await folder.write(
    "x.bin",
    (async function* () {
      yield* pieces;
    })(),
  );
  expect(await folder.size("x.bin")).toBe(all.length);
  expect(all.equals(await folder.read("x.bin"))).toBe(true);
  expect(all.subarray(0, 3).equals(await folder.read("x.bin", 0, 3))).toBe(true);
  expect(all.subarray(700_000).equals(await folder.read("x.bin", 700_000))).toBe(true);
  expect(all.equals(await collect(folder.stream("x.bin")))).toBe(true);
  await folder.write("t.txt", "你好\n");
  await folder.append("t.txt", "two");
  expect(await folder.readText("t.txt")).toBe("你好\ntwo");
  expect(await folder.list()).toEqual(["t.txt", "x.bin"]);
  expect(await openFolder(path).list()).toEqual(["a"]);
});

test("a folder that is not there lists nothing, and its files have no size", async () => {
  const folder = openFolder(join(path, "none"));
  expect(await folder.list()).toEqual([]);
  expect(await folder.size("x")).toBeUndefined();
  expect(await openFolder(path).folder("none").size("x")).toBeUndefined();
});

test.each(["ENOSPC", "EDQUOT", "EFBIG"])(
  "a full disk (%s) leaves the old file, no remains, and says the path and the bytes",
  async (code) => {
    const folder = openFolder(path);
    await folder.write("model.safetensors", "the old one");
    await fillDiskAfter(2048, code);
    const message = await refusal(folder.write("model.safetensors", new Uint8Array(5000)));
    expect(message).toContain(`The disk has no room for ${join(path, "model.safetensors")}`);
    expect(message).toContain("2.0 KiB");
    expect(readFileSync(join(path, "model.safetensors"), "utf8")).toBe("the old one");
    expect(readdirSync(path).toSorted()).toEqual(["model.safetensors", "probe"]);
  },
);

test("a line that has no room is not appended in part", async () => {
  const folder = openFolder(path);
  await folder.append("log", "one\n");
  await fillDiskAfter(2);
  expect(await refusal(folder.append("log", "two\n"))).toContain("The disk has no room");
  vi.restoreAllMocks();
  expect(await folder.readText("log")).toBe("one\n");
});

test("what was appended is brought to the disk when that is asked for", async () => {
  const folder = openFolder(path);
  await folder.append("log", "one\n");
  const handle = await open(join(path, "log"));
  const synced = vi.spyOn(
    Object.getPrototypeOf(handle) as { datasync(): Promise<void> },
    "datasync",
  );
  await handle.close();
  await folder.flush("log");
  expect(synced).toHaveBeenCalledOnce();
  expect(await refusal(folder.flush("none"))).toContain("There is no file or folder");
});

test("an error of the writer's own passes through, and the old file stays", async () => {
  const folder = openFolder(path);
  await folder.write("x", "old");
  const failing = (async function* () {
    yield new Uint8Array(3);
    throw new RangeError("mine");
  })();
  await expect(folder.write("x", failing)).rejects.toThrow(RangeError);
  expect(await folder.readText("x")).toBe("old");
  expect(await folder.list()).toEqual(["x"]);
});

test("a file half written by a killed process is not listed", async () => {
  writeFileSync(join(path, ".x.123-0.hone-tmp"), "half");
  expect(await openFolder(path).list()).toEqual([]);
});

test("a missing, a short and a badly encoded file are told with their paths", async () => {
  const folder = openFolder(path);
  expect(await refusal(folder.read("gone.json"))).toContain(join(path, "gone.json"));
  expect(await refusal(collect(folder.stream("gone.json")))).toContain("There is no file");
  await folder.write("short", "12345");
  expect(await refusal(folder.read("short", 2, 9))).toContain("has 5 bytes; bytes 2 to 9");
  await folder.write("latin", Uint8Array.of(0xe9, 0x20));
  expect(await refusal(folder.readText("latin"))).toContain("is not UTF-8 text");
  await folder.write("sub/file", "x");
  expect(await refusal(folder.read("sub"))).toContain("is a folder");
  expect(await refusal(folder.write("short/file", "x"))).toContain(join(path, "short"));
});

test.each(["../x", "/etc/passwd", "a/../../x", "a//b", ".", "a\\b", "C:x", "a\0b", ""])(
  "the name %j, which a downloaded index might hold, is refused",
  async (name) => {
    const folder = openFolder(path);
    await expect(folder.read(name)).rejects.toThrow("is not a name inside");
    await expect(folder.write(name, "x")).rejects.toThrow("is not a name inside");
  },
);

test("renaming moves a folder, removing takes it away, and removing nothing is no error", async () => {
  const folder = openFolder(path);
  await folder.write("iter_1.partial/state.json", "{}");
  await folder.rename("iter_1.partial", "iter_1");
  expect(await folder.folder("iter_1").readText("state.json")).toBe("{}");
  expect(await refusal(folder.rename("nothing", "x"))).toContain(join(path, "nothing"));
  await folder.remove("iter_1");
  await folder.remove("iter_1");
  expect(await folder.list()).toEqual([]);
});

test("data that is missing or a folder is refused when it is opened, not when it is read", async () => {
  expect(await refusal(openDataSource(join(path, "no.json")))).toContain("no.json");
  expect(await refusal(openDataSource(path))).toContain("is a folder");
});

test("a file as a folder has that file alone, and its neighbors are not there", async () => {
  await openFolder(path).write("m.gguf", "12345");
  await openFolder(path).write("config.json", "{}");
  const folder = openFileAsFolder(join(path, "m.gguf"));
  expect(folder.path).toBe(path);
  expect(await folder.list()).toEqual(["m.gguf"]);
  expect(await folder.size("m.gguf")).toBe(5);
  expect(new TextDecoder().decode(await folder.read("m.gguf", 1, 3))).toBe("23");
  expect(await folder.size("config.json")).toBeUndefined();
  expect(await refusal(folder.read("config.json"))).toContain("no config.json");
  await expect(folder.write("m.gguf", "x")).rejects.toThrow("no place to write");
  expect(await openFileAsFolder(join(path, "gone.gguf")).list()).toEqual([]);
});

test("the host's hash is SHA-256 in lower-case hex", async () => {
  const bytes = new TextEncoder().encode("abc");
  // The digest of "abc" in FIPS 180-2, appendix B.1.
  expect(await nodeHost({ adapter: "auto" }).sha256(bytes)).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});
