// Pickles that are wrong, or made to do harm: each is refused with its byte, at once, and nothing in it is called
// or believed.
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import {
  type Code,
  expectFast,
  readAll,
  bytes,
  code,
  RIGHT,
  root,
  system,
  ordered,
  history,
  encode,
} from "./torch-cases.ts";
import {
  build,
  call,
  dict,
  get,
  global,
  int,
  join,
  list,
  none,
  put,
  stackGlobal,
  floats,
  tensor,
  text,
  torchZip,
  tuple,
  u32,
  u64,
} from "./torch-maker.ts";

function times(count: number, ...codes: number[]): Code {
  const all = new Uint8Array(count * codes.length);
  for (let i = 0; i < count; i++) all.set(codes, i * codes.length);
  return all;
}

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
    // The largest of them is 4 MB of opcodes.
    await expectFast(1000, async () => {
      const refused = readAll(torchZip(value));
      await expect(refused).rejects.toThrow(told);
      await expect(refused).rejects.toBeInstanceOf(UserError);
      await expect(refused).rejects.toThrow(/^model\/a\.bin/);
    });
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
