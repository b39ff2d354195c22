// Configs in Python evaluated as literals: what comes out, what is refused with its line, and hostile files.
import { describe, expect, test } from "vitest";
import { evaluatePython } from "../../src/xtuner/python-evaluate.ts";
import { plainValue } from "./plain-value.ts";

const int = (value: number | string) => ({ int: String(value) });

/** The value of `x` after these lines. */
function valueOf(text: string): unknown {
  const { names, refused } = evaluatePython(text, "a.py", (symbol) => symbol);
  expect(refused).toEqual([]);
  return plainValue(names.get("x")?.value ?? null);
}

/** What is refused, as "line: text". */
function refusals(text: string): string[] {
  const { refused } = evaluatePython(text, "a.py", (symbol) => symbol);
  return refused.map((refusal) => `${refusal.line}: ${refusal.text}`);
}

// What CPython 3.11 gives for each.
test.each<[string, unknown]>([
  ["x = 1_000", int(1000)],
  ["x = 0x1F", int(31)],
  ["x = -7 // 2", int(-4)],
  ["x = -7 % 3", int(2)],
  ["x = 2 ** 10", int(1024)],
  ["x = -2 ** 2", int(-4)],
  ["x = int((336 / 14) ** 2)", int(576)],
  ["x = True + 1", int(2)],
  ["x = 'a' \"b\" r'\\n' u'\\x41\\u4e2d'", "ab\\nA中"],
  ["x = '''a\r\nb\\\nc'''", "a\nbc"],
  ["x = 'a\\\r\nb' r'c\\n' '\\101\\0'", "abc\\nA\0"],
  ["x = [0x_ff, 0B1_0, 0o17, 1_0.5e1, 00]", { list: [int(255), int(2), int(15), { float: "405a400000000000" }, int(0)] }], // prettier-ignore
  ["y = 'b'\nx = f'a\\x41{y}\\\r\nc'", "aAbc"],
  ["x = 'a\\qb'", "a\\qb"],
  ["x = 'ab' * 2 + 'c'", "ababc"],
  ["x = [1, *(2, 3)] + [4]", { list: [1, 2, 3, 4].map(int) }],
  ["x = (1,)", { tuple: [int(1)] }],
  ["x = 1, 'a'", { tuple: [int(1), "a"] }],
  ["x = {'a': 1, **dict(a=2, b=3)}", { dict: [["a", int(2)], ["b", int(3)]] }], // prettier-ignore
  ["x = {1: 'a', True: 'b', 1.0: 'c'}", { dict: [[int(1), "c"]] }],
  ["x = not 0 and 'a' or 'b'", "a"],
  ["x = not [] and not 0", true],
  ["x = 1 if not 2 > 1 else 3", int(3)],
  ["x = 'b' in ['a', 'b'] and 3 not in (1, 2) and None is not 1", true],
  ["x = [1, 2]\ny = x\ny += [3]", { list: [1, 2, 3].map(int) }],
  ["x = dict(a=[1])\nx['a'][0] = 5\nx['b'] = x['a'][-1]", { dict: [["a", { list: [int(5)] }], ["b", int(5)]] }], // prettier-ignore
  ["a = b = 3\nx, y = b, a", int(3)],
  ["x: int = 3", int(3)],
  ["a = 2\nif a == 1:\n    x = 1\nelif a > 1: x = 2\nelse:\n    x = 3", int(2)],
  ["root = 'd'\nx = f'{root}/{{}}/a.json'", "d/{}/a.json"],
  ["import torch.nn as nn, torch\nx = [nn.Linear, torch.float16]", { list: [{ symbol: "torch.nn.Linear" }, { symbol: "torch.float16" }] }], // prettier-ignore
  ["from torch import (optim as o,  # why\n   nn)\nx = o.AdamW", { symbol: "torch.optim.AdamW" }],
])("%j", (text, expected) => {
  expect(valueOf(text)).toEqual(expected);
});

test("floats are Python's to the last bit", () => {
  const { names } = evaluatePython(
    "a = 0.03 * 3\nb = 10 ** -5\nc = 7.5 // -2\nd = -7.5 % 2\ne = 1 / 3\n",
    "a.py",
    (symbol) => symbol,
  );
  const values = ["a", "b", "c", "d", "e"].map((name) => names.get(name)?.value);
  expect(values).toEqual([0.09, 1e-5, -4, 0.5, 1 / 3]);
});

test("a known name is a text where one is needed", () => {
  const { names } = evaluatePython(
    "from xtuner.utils import T\nx = T.a + '!'",
    "a.py",
    () => "known",
  );
  expect(names.get("x")?.value).toBe("known!");
});

describe("refused, with its line", () => {
  test.each<[string, string[]]>([
    [
      "import os\nx = os.environ['A']",
      ["1: an import from os: a config is read and never executed"],
    ],
    ["from .mine import f\n", ["1: an import from another file (.mine), which is not read"]],
    [
      "def f(row):\n    return row\nx = dict(fn=f)\n",
      [expect.stringMatching(/^1: a function of its own/)],
    ],
    ["x = 1\nclass A:\n    pass\n", ["2: a class of its own"]],
    ["for i in [1]:\n    x = i\n", ["1: a for loop"]],
    ["x = [i for i in (1, 2)]\n", ["1: a list comprehension"]],
    ["x = (lambda: 1)\n", ["1: a lambda"]],
    ["x = open('a')\nprint(x)\n", ["1: a call of open()", "2: a call of print()"]],
    ["x = dict(a=1).get('a')\n", ["1: a call of dict(a=1).get()"]],
    ["x = '%s' % 3\n", ["1: a text % a whole number"]],
    ["x = y\n", ["1: the name y, which nothing above binds"]],
    ["_base_ = ['a.py']\n", [expect.stringMatching(/^1: _base_: /)]],
    ["with read_base():\n    from .a import *\n", [expect.stringMatching(/^1: with: .*read_base/)]],
    ["x = f'{1 + 1}'\n", ["1: the f-string's {1 + 1}"]],
    ["x = 'ab'[0:1]\n", ["1: a slice"]],
    ["x = 1 < 2 < 3\n", ["1: a chain of comparisons"]],
    ["x = {1, 2}\n", ["1: a set"]],
    ["x = b'a'\n", ["1: a text with the prefix b"]],
    ["x = 1j\n", ["1: the complex number 1j"]],
    ["x = [1][2]\n", ["1: the index 2 of a list with 1 items"]],
    ["x = {'a': 1}['b']\n", ["1: the key b, which the dict does not have"]],
  ])("%j", (text, expected) => {
    expect(refusals(text)).toEqual(expected);
  });

  test("all at once, and what depends on them only once", () => {
    const text = "import os\nx = os.path.join('a')\ny = dict(path=x)\nz = open(y)\nx = 1\nw = x\n";
    expect(refusals(text)).toEqual([
      "1: an import from os: a config is read and never executed",
      "4: a call of open()",
    ]);
  });

  test("a name that was refused counts again once it is bound anew", () => {
    const { names } = evaluatePython("x = open('a')\nx = 2\ny = x\n", "a.py", (symbol) => symbol);
    expect(names.get("y")?.value).toBe(2n);
  });
});

describe("hostile files end in words, soon", () => {
  const deep = 100_000;
  // Two lists of 2^40 leaves each, in 80 lines.
  const TWINS = "ab"
    .split("")
    .flatMap((n) => [
      `${n}0=[0]`,
      ...Array.from({ length: 40 }, (_, i) => `${n}${i + 1}=[${n}${i},${n}${i}]`),
    ])
    .concat("")
    .join("\n");
  test.each<[string, string, RegExp]>([
    [
      "an import call",
      "x = __import__('os').system('true')",
      /a call of __import__\('os'\)\.system/,
    ],
    ["a way out of a literal", "x = ().__class__.__bases__", /\.__class__ of a tuple/],
    ["a way out of an import", "import torch\nx = torch.__builtins__", /torch\.__builtins__/],
    ["a huge power", "x = 10**10**10", /a power with 1[0 ]/],
    ["a huge shift", "x = 1 << 10**9", /<</],
    ["a huge product", `x = ${"9".repeat(38)} * ${"9".repeat(38)}`, /above 2\^128/],
    ["a huge literal", `x = ${"9".repeat(5000)}`, /5000 digits/],
    ["a huge text", "x = 'a' * 10**9", /a text of \d+ characters/],
    ["a huge list", "x = [0] * 10**9", /a list of \d+ items/],
    ["a text that doubles", `x = 'ab'\n${"x = x + x\n".repeat(40)}`, /a text of \d+ characters/],
    ["a list that doubles", `x = [1]\n${"x += x\n".repeat(40)}`, /a list of \d+ items/],
    ["a list in itself", "x = []\nx += [x]", /a list that holds itself/],
    ["a dict in itself", "x = {}\ny = [x]\nx['a'] = y", /a dict that holds itself/],
    ["shared lists compared", `${TWINS}x = a40 == b40`, /more than 50000 steps/],
    ["shared lists looked for", `${TWINS}x = a40 in [b40]`, /more than 50000 steps/],
    [
      "shared dicts compared",
      TWINS.replaceAll(/\[(\w+),(\w+)\]/g, "{1:$1,2:$2}") + "x = a40 != b40",
      /more than 50000 steps/,
    ],
    [
      "long texts compared",
      `a = 'a' * 10**6\nb = a + 'b'\n${"x = a < b\n".repeat(300)}`,
      /more than 50000 steps/,
    ],
    ["long texts indexed", `a = 'a' * 10**6\n${"x = a[0]\n".repeat(300)}`, /more than 50000 steps/],
    [
      "long texts searched",
      "a = 'a' * 10**6\nx = 'b' + 'a' * 500_000 in a",
      /more than 50000 steps/,
    ],
    [
      "long texts joined",
      `a = 'a' * 10**6\n${"x = a + 'b'\n".repeat(300)}`,
      /more than 50000 steps/,
    ],
    ["long lists copied", `a = [0] * 9999\n${"x = [*a]\n".repeat(300)}`, /more than 50000 steps/],
    ["too many steps", "x=---1\n".repeat(12_000), /more than 50000 steps/],
  ])("%s", (_, text, expected) => {
    const started = performance.now();
    const found = (() => {
      try {
        return refusals(text).join("\n");
      } catch (error) {
        return String(error);
      }
    })();
    expect(found).toMatch(expected);
    expect(performance.now() - started).toBeLessThan(8000); // a tenth of a second where nothing else runs
  });

  test.each<[string, string, RegExp]>([
    ["brackets without end", `x = ${"(".repeat(deep)}`, /is not Python/],
    ["brackets in brackets", `x = ${"[".repeat(300)}${"]".repeat(300)}`, /nested deeper than 250/],
    ["calls in calls", `x = ${"dict(a=".repeat(300)}1${")".repeat(300)}`, /nested deeper than 250/],
    ["minus of minus", `x = ${"-".repeat(400)}1`, /nested deeper than 250|is not Python/],
    ["members of members", `import torch\nx = torch${".a".repeat(400)}`, /nested deeper than 250/],
    ["garbage", "\u0000\u00ff$?!`".repeat(30_000), /line 1 is not Python/],
    ["quotes without end", "x = '''".padEnd(200_000, "a"), /is not Python|the text/],
    ["another kind of file", "x".repeat(1 << 19), /524288 characters; a config has at most 262144/],
    ["half a line", "x = 1\ny = dict(a=\nz = 2\n", /a\.py, line [23] is not Python/],
  ])("%s", (_, text, expected) => {
    const started = performance.now();
    expect(() => {
      const [first] = refusals(text);
      if (first !== undefined) throw new Error(first);
    }).toThrow(expected);
    // The parser stops by itself after 4 s; a busy machine may take its time.
    expect(performance.now() - started).toBeLessThan(8000);
  });
});
