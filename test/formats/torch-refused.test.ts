// Archives and old files of torch.save that are wrong, or that two readers could understand in two ways.
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { type Code, readAll, bytes, code, RIGHT, root, system } from "./torch-cases.ts";
import {
  type Entry,
  call,
  dict,
  global,
  int,
  join,
  legacyFile,
  pickle,
  floats,
  tensor,
  text,
  torchEntries,
  tuple,
  u64,
  zip,
} from "./torch-maker.ts";

describe("the archive is refused where", () => {
  const good = pickle(root(tensor(RIGHT)));
  const data = new Uint8Array(16);
  const entries = torchEntries(good, data);
  const extra = (entry: Entry) => zip({ entries: [...entries, entry] });
  /** With a change of the storage's entry. */
  const changed = (change: Partial<Entry>) =>
    zip({
      entries: entries.map((entry) =>
        entry.name === "a/data/0" ? { ...entry, ...change } : entry,
      ),
    });
  const whole = zip({ entries });

  test("nothing is wrong with it, it is read", async () => {
    expect(await readAll(whole)).toBe(1);
    expect(await readAll(zip({ entries, is64: true }))).toBe(1);
    expect(await readAll(changed({ flags: 0x0808, localBytes: 0, gap: new Uint8Array(24) }))).toBe(
      1,
    );
  });

  const cases: [what: string, file: Code, told: RegExp][] = [
    ["it is empty", new Uint8Array(0), /no file of torch\.save: it begins with nothing/],
    ["it is a web page", code("<!doctype html>"), /begins with "<!doctyp"/],
    ["it is a plain pickle", pickle(dict()), /begins with bytes 80 02/],
    ["it ends in its first header", whole.slice(0, 20), /does not end as one/],
    ["its end is cut off", whole.slice(0, -1), /does not end as one/],
    ["something was added", zip({ entries, behind: code("#!/bin/sh\n") }), /does not end as one/],
    [
      "something stands before it",
      join(code("PK\x03\x04"), zip({ entries })),
      /what follows it begins at/,
    ],
    [
      "something stands before its entries",
      zip({ entries, before: code("PK\x03\x04") }),
      /4 bytes before its first/,
    ],
    ["it has a comment", zip({ entries, comment: code("hello") }), /does not end as one/],
    ["it is one of several parts", zip({ entries, disk: 1 }), /in several/],
    ["its count is wrong", zip({ entries, count: 3 }), /3 entries, and 4 are listed/],
    ["its list is said to be elsewhere", zip({ entries, directoryAt: 0 }), /list of entries ends/],
    ["its 64-bit end is elsewhere", zip({ entries, is64: true, end64At: 0 }), /where none fits/],
    [
      "its 64-bit end is past what can be counted",
      zip({ entries, is64: true, end64At: 2 ** 60 }),
      /where none fits/,
    ],
    [
      "an entry leads out of its folder",
      extra({ name: "../../etc/passwd", data }),
      /no plain path/,
    ],
    ["an entry is absolute", extra({ name: "/etc/passwd", data }), /no plain path/],
    ["an entry has a backslash", extra({ name: "a\\..\\b", data }), /no plain path/],
    ["an entry has a drive", extra({ name: "C:/a", data }), /no plain path/],
    ["an entry has a zero byte", extra({ name: "a/\0b", data }), /no plain path/],
    [
      "an entry's name is not UTF-8",
      zip({ entries: [...entries, { name: "a/x", data }] }).map((byte) =>
        byte === 0x78 ? 0xff : byte,
      ),
      /not UTF-8/,
    ],
    ["an entry lies elsewhere", extra({ name: "b/x", data }), /"b\/x" lies outside "a\/"/],
    ["two entries have one name", extra({ name: "a/data/0", data }), /two entries "a\/data\/0"/],
    [
      "two entries are pickles",
      extra({ name: "b/data.pkl", data: good }),
      /lies outside|2 files data\.pkl/,
    ],
    ["none is a pickle", zip({ entries: entries.slice(1) }), /0 files data\.pkl/],
    ["it is a program", extra({ name: "a/constants.pkl", data }), /TorchScript program/],
    ["an entry is compressed", changed({ method: 8 }), /compressed \(method 8\)/],
    ["an entry is encrypted", changed({ flags: 1 }), /encrypted/],
    ["an entry hides its header", changed({ flags: 0x2000 }), /encrypted/],
    ["an entry lies on another", changed({ listed: { offset: 0 } }), /overlap what begins at 0/],
    ["an entry reaches into the next", changed({ listed: { bytes: 64 } }), /overlap what begins/],
    [
      "an entry is past the file",
      changed({ listed: { offset: 10_000_000 } }),
      /overlap what begins/,
    ],
    ["an entry has two sizes", changed({ listed: { storedBytes: 8 } }), /contradict each other/],
    [
      "an entry's wide size is missing",
      changed({ listed: { bytes: 0xffffffff } }),
      /contradict each other/,
    ],
    [
      "an entry's wide size is huge",
      changed({
        listed: { bytes: 0xffffffff, extra: join([1, 0, 16, 0], u64(2 ** 52), u64(2 ** 52)) },
      }),
      /overlap what begins/,
    ],
    [
      "an entry has another name in its own header",
      changed({ localName: "a/data/9" }),
      /another name or form/,
    ],
    [
      "an entry has another size in its own header",
      changed({ localBytes: 12 }),
      /12 bytes there and 16/,
    ],
    [
      "an entry is followed by bytes of nobody",
      changed({ gap: new Uint8Array(25) }),
      /25 bytes that belong to none/,
    ],
    [
      "the pickle goes on after its end",
      zip({ entries: torchEntries(join(good, good), data) }),
      /bytes after its end/,
    ],
    ["the pickle is empty", zip({ entries: torchEntries(new Uint8Array(0), data) }), /cut short/],
    [
      "the pickle is of protocol 0",
      zip({ entries: torchEntries(code("(dp0\n."), data) }),
      /where a protocol/,
    ],
    [
      "the pickle is of protocol 6",
      zip({ entries: torchEntries(join([0x80, 6], dict(), code(".")), data) }),
      /protocol 6/,
    ],
    [
      "its numbers are big-endian",
      zip({
        entries: entries.map((entry) =>
          entry.name === "a/byteorder" ? { ...entry, data: code("big") } : entry,
        ),
      }),
      /byte order "big"/,
    ],
  ];
  test.each(cases)("%s", async (_, file, told) => {
    const refused = readAll(file);
    await expect(refused).rejects.toThrow(told);
    await expect(refused).rejects.toBeInstanceOf(UserError);
  });

  test("it is cut short anywhere", async () => {
    for (let length = 0; length < whole.length; length++) {
      await expect(readAll(whole.slice(0, length))).rejects.toBeInstanceOf(UserError);
    }
  });
});

describe("a file before PyTorch 1.6 is refused where", () => {
  const value = root(tensor(RIGHT));
  const right = legacyFile({ value });

  test("nothing is wrong with it, it is read", async () => {
    expect(await readAll(right)).toBe(1);
  });

  const cases: [what: string, file: Code, told: RegExp][] = [
    ["its version is another", legacyFile({ value, version: 1000 }), /version 1000/],
    [
      "it is big-endian",
      legacyFile({ value, system: dict([text("little_endian"), bytes(0x89)]) }),
      /little-endian/,
    ],
    ["it does not say its byte order", legacyFile({ value, system: dict() }), /little-endian/],
    [
      "its system calls something",
      legacyFile({ value, system: system("os", "system") }),
      /os\.system/,
    ],
    ["its root calls something", legacyFile({ value: root(system("os", "system")) }), /os\.system/],
    ["its keys are of no tensor", legacyFile({ value, keys: ["1"] }), /lists the storage "1"/],
    ["its keys have one twice", legacyFile({ value, keys: ["0", "0"] }), /lists the storage "0"/],
    ["its keys lack one", legacyFile({ value, keys: [] }), /no numbers for the storage "0"/],
    [
      "a storage has another length",
      legacyFile({ value, storages: join(u64(3), new Uint8Array(16)) }),
      /has 3 elements, and its tensors say 4/,
    ],
    [
      "a storage has a length past counting",
      legacyFile({ value, storages: join(u64(-1), new Uint8Array(16)) }),
      /18446744073709551615 elements/,
    ],
    ["a storage is cut short", right.slice(0, -1), /cut short: the storage "0" ends/],
    ["something was added", join(right, bytes(0)), /1 bytes after its last storage/],
    [
      "a part of a storage ends past it",
      legacyFile({
        value: root(
          call(
            global("torch._utils", "_rebuild_tensor"),
            join(
              tuple(
                text("storage"),
                floats,
                text("0"),
                text("cpu"),
                int(4),
                tuple(text("v"), int(2), int(3)),
              ),
              code("Q"),
            ),
            int(0),
            tuple(int(2)),
            tuple(int(1)),
          ),
        ),
      }),
      /up to element 5, and the storage has 4/,
    ],
  ];
  test.each(cases)("%s", async (_, file, told) => {
    const refused = readAll(file);
    await expect(refused).rejects.toThrow(told);
    await expect(refused).rejects.toBeInstanceOf(UserError);
  });

  test("it is cut short anywhere", async () => {
    for (let length = 0; length < right.length; length++) {
      await expect(readAll(right.slice(0, length))).rejects.toBeInstanceOf(UserError);
    }
  });
});
