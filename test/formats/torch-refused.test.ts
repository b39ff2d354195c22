// Files of torch.save that are wrong, or made to do harm: each is refused with its place, at once, and nothing
// in it is called or believed.
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { openTorchFile } from "../../src/formats/torch-file.ts";
import {
  build,
  call,
  dict,
  type Entry,
  get,
  global,
  int,
  join,
  legacyFile,
  list,
  none,
  pickle,
  put,
  stackGlobal,
  storage,
  floats,
  tensor,
  text,
  torchEntries,
  torchZip,
  tuple,
  u32,
  u64,
  zip,
} from "./torch-maker.ts";

/** The most elements a test reads of a tensor, so that a small file with a huge claim fails as one. */
const MOST_ELEMENTS = 1 << 20;

/** Opens a file and reads every tensor of it. */
async function readAll(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  let count = 0;
  const file = await openTorchFile(
    async (start, end) => {
      if (!(start >= 0 && start <= end && end <= bytes.length)) {
        throw new Error(`read of ${start} to ${end} in ${bytes.length} bytes`);
      }
      return bytes.slice(start, end);
    },
    bytes.length,
    "model/a.bin",
  );
  for (const tensorOfFile of file.tensors.values()) {
    const { shape } = tensorOfFile;
    const elements = shape.reduce((product, size) => product * size, 1);
    expect(elements).toBeLessThan(MOST_ELEMENTS);
    await tensorOfFile.read(0, elements);
    count++;
  }
  return count;
}

type Code = Uint8Array<ArrayBuffer>;
const bytes = (...values: number[]) => Uint8Array.from(values);
const letters = (value: string) => new TextEncoder().encode(value);
function times(count: number, ...code: number[]): Code {
  const all = new Uint8Array(count * code.length);
  for (let i = 0; i < count; i++) all.set(code, i * code.length);
  return all;
}

const RIGHT = { size: 4, shape: [2, 2], strides: [2, 1] };
/** A root with one thing in it. */
const root = (value: Code) => dict([text("w"), value]);
const system = (module: string, name: string) => call(global(module, name), text("echo hacked"));
const ordered = global("collections", "OrderedDict");
const history = global("mmengine.logging.history_buffer", "HistoryBuffer");
const encode = global("_codecs", "encode");
const code = (value: string) => letters(value);

describe("the pickle is refused where it", () => {
  const cases: [what: string, value: Code, told: RegExp][] = [
    ["calls os.system", root(system("os", "system")), /asks for "os\.system"/],
    ["calls posix.system", root(system("posix", "system")), /asks for "posix\.system"/],
    ["calls nt.system", root(system("nt", "system")), /asks for "nt\.system"/],
    ["calls eval", root(system("builtins", "eval")), /asks for "builtins\.eval"/],
    ["calls exec of Python 2", root(system("__builtin__", "exec")), /"__builtin__\.exec"/],
    ["calls subprocess.Popen", root(system("subprocess", "Popen")), /"subprocess\.Popen"/],
    ["imports a module", root(system("importlib", "import_module")), /"importlib\.import_module"/],
    ["loads another pickle", root(system("torch.storage", "_load_from_bytes")), /_load_from_bytes/],
    ["asks for torch.load", root(system("torch", "load")), /"torch\.load"/],
    ["asks for a name without calling it", root(global("os", "system")), /"os\.system"/],
    [
      "asks by names on the stack",
      root(call(stackGlobal("os", "system"), text("x"))),
      /os\.system/,
    ],
    [
      "hides a line feed in a module's name",
      root(call(stackGlobal("torch._utils\n_rebuild_tensor_v2", "x"), int(1))),
      /which is no name of Python/,
    ],
    [
      "hides a second name behind a dot",
      root(call(stackGlobal("collections", "OrderedDict.fromkeys"), text("x"))),
      /"collections\.OrderedDict\.fromkeys"/,
    ],
    [
      "moves the dot of an allowed name",
      root(call(stackGlobal("torch", "_utils._rebuild_tensor_v2.__globals__"), int(1))),
      /__globals__/,
    ],
    ["has a name with a space", root(stackGlobal("torch FloatStorage", "x")), /no name of Python/],
    ["has an empty name", root(stackGlobal("", "")), /no name of Python/],
    ["has a number as a name", root(join(int(1), int(2), [0x93])), /a name made of 1 and 2/],
    ["has a name without an end", root(join(code("c"), times(400, 0x61))), /within 256 bytes/],
    [
      "takes an attribute of a tensor's maker",
      root(
        call(
          global("builtins", "getattr"),
          global("torch._utils", "_rebuild_tensor_v2"),
          text("__globals__"),
        ),
      ),
      /\(getattr\)/,
    ],
    [
      "takes another attribute of a HistoryBuffer",
      root(call(global("__builtin__", "getattr"), history, text("__init__"))),
      /\(getattr\)/,
    ],
    [
      "takes an attribute of what getattr gave",
      root(
        call(
          global("builtins", "getattr"),
          call(global("builtins", "getattr"), history, text("mean")),
          text("mean"),
        ),
      ),
      /\(getattr\)/,
    ],
    [
      "calls what getattr gave",
      root(call(call(global("builtins", "getattr"), history, text("mean")), text("x"))),
      /calls mmengine.*, which is no function/,
    ],
    [
      "calls a HistoryBuffer's record",
      root(call(call(history), text("x"))),
      /which is no function/,
    ],
    [
      "calls a text",
      root(call(text("os.system"), text("x"))),
      /calls "os\.system", which is no function/,
    ],
    ["calls a storage's class", root(call(floats, int(1000000))), /calls torch\.FloatStorage/],
    ["calls with a list", root(join(ordered, list(), code("R"))), /with a list of 0/],
    [
      "calls through nested tuples",
      root(call(ordered, list(tuple(text("a"), system("os", "system"))))),
      /os\.system/,
    ],
    [
      "makes an object of a tensor's maker",
      root(join(global("torch._utils", "_rebuild_tensor_v2"), tuple(), [0x81])),
      /makes an object/,
    ],
    ["makes an object with INST", root(join(code("("), code("ios\nsystem\n"))), /\(INST\)/],
    ["makes an object with OBJ", root(join(code("("), ordered, code("o"))), /\(OBJ\)/],
    [
      "makes an object with NEWOBJ_EX",
      root(join(ordered, tuple(), dict(), [0x92])),
      /\(NEWOBJ_EX\)/,
    ],
    ["uses EXT1", root(bytes(0x82, 1)), /\(EXT1\)/],
    ["uses EXT2", root(bytes(0x83, 1, 0)), /\(EXT2\)/],
    ["uses EXT4", root(bytes(0x84, 1, 0, 0, 0)), /\(EXT4\)/],
    ["has a persistent id as text", root(code("Pstorage\n")), /\(PERSID\)/],
    ["takes a buffer from outside", root(bytes(0x97)), /\(NEXT_BUFFER\)/],
    ["has a number as text", root(code("I5\n")), /\(INT\)/],
    [
      "sets the state of a text",
      root(build(text("x"), dict([text("__setstate__"), int(1)]))),
      /sets the state/,
    ],
    [
      "sets the state of a tensor",
      root(build(tensor(RIGHT), dict([text("data"), int(1)]))),
      /sets the state/,
    ],
    [
      "sets the state of a class",
      root(build(history, dict([text("mean"), int(1)]))),
      /sets the state/,
    ],
    ["sets the state of a list", root(build(list(), tuple(none, dict()))), /sets the state/],
    ["refers to what it never kept", root(get(7)), /refers to value 7, and only 0/],
    ["refers to −1 in 32 bits", root(get(-1)), /refers to value 4294967295/],
    [
      "refers to what only another name kept",
      root(join(put(int(1), 1000000), get(1000001))),
      /value 1000001/,
    ],
    ["takes from an empty stack", code("0"), /empty/],
    [
      "takes below a mark",
      join(int(1), code("("), [0x85], code("t")),
      /takes 1 values from a stack of 0/,
    ],
    ["ends a mark that was never set", code("t"), /mark that was never set/],
    ["ends with two values", join(int(1), int(2)), /ends with 2 values/],
    ["ends inside a mark", join(code("("), int(2)), /ends with 1 values/],
    ["has a key without its value", join(code("}("), int(1), code("u")), /key that has no value/],
    ["has a list as a key", dict([list(), int(1)]), /a list of 0 as a key/],
    ["sets an item of a list", join(list(), int(0), int(1), code("s")), /sets an item of a list/],
    ["appends to a dict", join(dict(), int(0), code("a")), /appends to a dict/],
    [
      "says a LONG of 2 GB",
      root(join([0x8b], u32(0x7fffffff))),
      /whole number of 2147483647 bytes/,
    ],
    ["says a LONG of −1 bytes", root(join([0x8b], u32(-1))), /whole number of 4294967295 bytes/],
    [
      "says a text of 4 GB",
      root(join(code("X"), u32(-1), code("abc"))),
      /cut short: it needs 4294967295/,
    ],
    ["says bytes of 2^63", root(join([0x8e], u64(2 ** 62))), /cut short/],
    ["says a frame past its end", join([0x95], u64(1000), dict()), /a frame of 1000 bytes/],
    ["has a text that is none", root(join(code("X"), u32(2), [0xff, 0xfe])), /not UTF-8/],
    ["has an opcode that is none", root(bytes(0xff)), /byte 0xff, which is no opcode/],
    ["changes to protocol 0", join([0x80, 0], dict()), /protocol 0/],
    ["sets a million marks", times(1_000_000, 0x28), /more than 1000 open marks/],
    ["fills its stack", times(1_000_001, 0x4e), /more than 1000000 values on its stack/],
    [
      "makes a million dicts",
      join([0x5d, 0x28], times(1_000_001, 0x7d, 0x30), [0x65]),
      /more than 1000000 lists/,
    ],
    ["nests a million tuples", join([0x29], times(1_000_001, 0x85)), /more than 1000000 lists/],
    ["runs on and on", join(times(2_100_000, 0x4e, 0x30), dict()), /more than 4000000 opcodes/],
    [
      "makes sets of one list again and again",
      join(
        put(list(...Array.from({ length: 50_000 }, (_, i) => int(i))), 0),
        put(global("builtins", "set"), 1),
        times(2000, ...join(code("0"), get(1), get(0), [0x85], code("R"))),
        dict(),
      ),
      /more than 67108864 bytes/,
    ],
    [
      "makes bytes of one text again and again",
      join(
        put(text("x".repeat(1_000_000)), 0),
        put(encode, 1),
        put(text("latin1"), 2),
        times(100, ...join(code("0"), get(1), get(0), get(2), [0x86], code("R"))),
      ),
      /more than 67108864 bytes/,
    ],
    [
      "decodes by another codec",
      root(call(encode, text("a"), text("rot13"))),
      /encodes "a" as "rot13"/,
    ],
    [
      "makes bytes of a number",
      root(call(global("builtins", "bytes"), int(2 ** 31 - 1))),
      /makes bytes of/,
    ],
    ["is one tensor", tensor(RIGHT), /holds one tensor, where a dict/],
    ["is a list", list(), /holds a list of 0, where a dict/],
  ];
  test.each(cases)("%s", async (_, value, told) => {
    const started = performance.now();
    const refused = readAll(torchZip(value));
    await expect(refused).rejects.toThrow(told);
    await expect(refused).rejects.toBeInstanceOf(UserError);
    await expect(refused).rejects.toThrow(/^model\/a\.bin/);
    // The largest of them is 4 MB of opcodes; a busy machine is slow.
    expect(performance.now() - started).toBeLessThan(3000);
  });
});

describe("a tensor is refused where it", () => {
  const cases: [what: string, value: Code, told: RegExp][] = [
    [
      "ends past its storage",
      tensor({ ...RIGHT, offset: 1 }),
      /up to element 4, and its storage has 4/,
    ],
    ["has strides past its storage", tensor({ ...RIGHT, strides: [3, 1] }), /up to element 4/],
    [
      "has a negative stride",
      tensor({ ...RIGHT, strides: [2, -1] }),
      /-1 as one of a tensor's strides/,
    ],
    ["has a negative size", tensor({ ...RIGHT, shape: [2, -2] }), /-2 as one of a tensor's shape/],
    ["begins before its storage", tensor({ ...RIGHT, offset: -1 }), /-1 as a tensor's offset/],
    [
      "repeats four numbers",
      tensor({ ...RIGHT, shape: [2 ** 30, 4], strides: [0, 1] }),
      /repeats 4 numbers to 4294967296/,
    ],
    [
      "has more elements than can be counted",
      tensor({ ...RIGHT, shape: [2 ** 30, 2 ** 30], strides: [0, 0] }),
      /which is none/,
    ],
    [
      "has a stride past what can be counted",
      tensor({ ...RIGHT, shape: [2, 2], strides: [2 ** 53 - 1, 1] }),
      /up to element/,
    ],
    [
      "has fewer strides than sizes",
      tensor({ ...RIGHT, strides: [1] }),
      /strides \[1\], which is none/,
    ],
    [
      "has sixty-five dimensions",
      tensor({ size: 4, shape: Array<number>(65).fill(1), strides: Array<number>(65).fill(1) }),
      /65 dimensions/,
    ],
    [
      "is of a type that is none",
      tensor({ ...RIGHT, type: global("torch", "QUInt8Storage") }),
      /"torch\.QUInt8Storage"/,
    ],
    [
      "is of a type that is no storage",
      tensor({ ...RIGHT, type: ordered }),
      /storage of type collections/,
    ],
    ["has a storage of −1", tensor({ ...RIGHT, size: -1 }), /-1 as the size of storage "0"/],
    [
      "has a storage of 2^53 doubles",
      tensor({ ...RIGHT, type: global("torch", "DoubleStorage"), size: 2 ** 52 }),
      /more bytes than can be counted/,
    ],
    ["has a storage that is not there", tensor({ ...RIGHT, key: "1" }), /no entry "a\/data\/1"/],
    ["has a storage that leads elsewhere", tensor({ ...RIGHT, key: "../data.pkl" }), /no entry/],
    [
      "has a storage larger than its entry",
      tensor({ ...RIGHT, size: 5 }),
      /has 16 bytes, and its tensors call for 20/,
    ],
    [
      "has a storage smaller than its entry",
      tensor({ ...RIGHT, size: 4, type: global("torch", "HalfStorage") }),
      /call for 8/,
    ],
    [
      "is made of a number",
      call(global("torch._utils", "_rebuild_tensor_v2"), int(1)),
      /makes a tensor of 1/,
    ],
    [
      "is made of nothing",
      call(global("torch._utils", "_rebuild_tensor_v2")),
      /makes a tensor of nothing/,
    ],
    [
      "is a parameter of a text",
      call(global("torch._utils", "_rebuild_parameter"), text("x")),
      /parameter of "x"/,
    ],
    [
      "is bytes of no type",
      tensor({ ...RIGHT, size: 16, type: global("torch.storage", "UntypedStorage") }),
      /tensor of type nothing/,
    ],
    [
      "is in a thing that is no storage",
      join(tuple(text("module"), int(1)), code("Q")),
      /persistent id of kind "module"/,
    ],
    [
      "has a persistent id of no tuple",
      join(text("storage"), code("Q")),
      /"storage" as a persistent id/,
    ],
  ];
  test.each(cases)("%s", async (_, value, told) => {
    const refused = readAll(torchZip(root(value)));
    await expect(refused).rejects.toThrow(told);
    await expect(refused).rejects.toBeInstanceOf(UserError);
  });

  test("is of one storage as another tensor of another type", async () => {
    const other = tensor({ ...RIGHT, type: global("torch", "IntStorage") });
    const file = torchZip(dict([text("a"), tensor(RIGHT)], [text("b"), other]));
    await expect(readAll(file)).rejects.toThrow(
      /storage "0" with 4 elements of F32, and with 4 of I32/,
    );
  });

  test("has the name of another, one with a dot and one in a dict", async () => {
    const inner = dict([text("b"), tensor(RIGHT)]);
    const file = torchZip(dict([text("a.b"), tensor(RIGHT)], [text("a"), inner]));
    await expect(readAll(file)).rejects.toThrow(/two tensors "a\.b"/);
  });
});

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

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/torch-files/${name}`, import.meta.url)));

describe("bytes changed at random", () => {
  const files = ["tensors.pt", "tensors-legacy.pt", "iter_6.pth"].map(fixture);
  // Where pickles and headers are; most bytes of the rest are numbers, which may be any.
  const change = fc.record({
    at: fc.nat(),
    value: fc.oneof(fc.nat(255), fc.constantFrom(...letters("(.0RboicQ}]utse"), 0x80, 0x81, 0x93)),
    cut: fc.nat(3),
    added: fc.uint8Array({ maxLength: 3 }),
  });

  test("give tensors or a UserError, fast, whatever they are", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        async (file, changes) => {
          let bytesNow = file;
          for (const { at, value, cut, added } of changes) {
            const place = at % bytesNow.length;
            bytesNow = join(
              bytesNow.slice(0, place),
              cut === 0 ? [value] : added,
              bytesNow.slice(place + Math.max(1, cut)),
            );
          }
          const started = performance.now();
          await readAll(bytesNow).catch((error: unknown) => {
            if (!(error instanceof UserError)) throw error;
          });
          expect(performance.now() - started).toBeLessThan(1000);
        },
      ),
      { numRuns: 1500 },
    );
  });

  test("of a pickle alone give a value or a UserError", async () => {
    const [, , iter] = files;
    // data.pkl is the first entry; its sizes follow it, under a signature.
    const whole = Buffer.from(iter!);
    const source = new Uint8Array(
      whole.subarray(whole.indexOf("\x80\x02", 0, "latin1"), whole.indexOf("PK\x07\x08")),
    );
    expect(source.at(-1)).toBe(".".charCodeAt(0));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const now = source.slice();
        for (const { at, value } of changes) now[at % now.length] = value;
        await readAll(zip({ entries: torchEntries(now, new Uint8Array(16)) })).catch(
          (error: unknown) => {
            if (!(error instanceof UserError)) throw error;
          },
        );
      }),
      { numRuns: 1000 },
    );
  });

  test("that are opcodes in any order give a value or a UserError", async () => {
    const codes: Code[] = [
      [none, int(1), text("a"), tuple(), list(), dict(), ordered, floats, history, encode],
      [storage(floats, "0", 4), get(0), put(none, 0), tensor(RIGHT)],
      "(0123RQbtdlaesu".split("").map((letter) => code(letter)),
      [0x81, 0x85, 0x86, 0x87, 0x8f, 0x90, 0x91, 0x93, 0x94].map((byte) => bytes(byte)),
    ].flat();
    const opcode = fc.constantFrom(...codes);
    const outcomes = { read: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(opcode, { maxLength: 40 }), async (program) => {
        await readAll(torchZip(root(join(...program)))).then(
          () => outcomes.read++,
          (error: unknown) => {
            if (!(error instanceof UserError)) throw error;
            outcomes.refused++;
          },
        );
      }),
      { numRuns: 2000 },
    );
    expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(0);
  });
});
