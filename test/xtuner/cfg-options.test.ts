// --cfg-options: values as MMEngine's DictAction reads them (oracle: mmengine 0.10.3), put at their place.
import { describe, expect, test } from "vitest";
import { applyConfigOptions, readOption } from "../../src/xtuner/cfg-options.ts";
import { createFindings } from "../../src/xtuner/findings.ts";
import { evaluatePython } from "../../src/xtuner/python-evaluate.ts";
import { plainValue } from "./plain-value.ts";

const int = (value: number) => ({ int: String(value) });

test.each<[string, unknown]>([
  ["1", int(1)],
  ["-1_0", int(-10)],
  ["1e-4", 1e-4],
  [".5", 0.5],
  ["5.", 5],
  ["true", true],
  ["False", false],
  ["None", null],
  ["none", "none"],
  ["a b", "ab"],
  ["'a'", "a"],
  ["1,2", { list: [int(1), int(2)] }],
  ["a,", { list: ["a"] }],
  [",a", { list: ["", "a"] }],
  ["[]", { list: [] }],
  ["()", { tuple: [] }],
  ["(0.9, 0.999)", { tuple: [0.9, 0.999] }],
  ["[(1,2),[a,b],c]", { list: [{ tuple: [int(1), int(2)] }, { list: ["a", "b"] }, "c"] }],
])("%s", (text, expected) => {
  const value = readOption(text);
  expect(typeof value === "number" ? value : plainValue(value)).toEqual(
    typeof expected === "object" ? plainFloats(expected) : expected,
  );
});

/** Numbers of an expected value as the oracle writes floats. */
function plainFloats(value: unknown): unknown {
  if (typeof value === "number") return plainValue(value);
  if (Array.isArray(value)) return value.map(plainFloats);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainFloats(item)]));
}

test("brackets out of balance are refused", () => {
  expect(() => readOption("[1,(2]")).toThrow(/brackets of \[1,\(2\] are not in balance/);
  expect(() => readOption("[".repeat(60) + "]".repeat(60))).toThrow(/too deep/);
});

describe("applied", () => {
  const TEXT =
    "opt = dict(lr=1)\noptim_wrapper = dict(optimizer=opt)\ncustom_hooks = [dict(a=1), dict(b=2)]\n";
  const { names } = evaluatePython(TEXT, "a.py", (symbol) => symbol);
  const apply = (...options: string[]) => {
    const findings = createFindings();
    const changed = applyConfigOptions(names, options, findings);
    const values = Object.fromEntries(
      [...changed].map(([key, entry]) => [key, plainValue(entry.value)]),
    );
    return { values, warnings: findings.all.map(({ text }) => text) };
  };

  test("by a path through dicts and lists, and nothing else changes", () => {
    const { values, warnings } = apply("optim_wrapper.optimizer.lr=2", "custom_hooks.1.c=None");
    expect(values).toEqual({
      opt: { dict: [["lr", int(1)]] },
      optim_wrapper: { dict: [["optimizer", { dict: [["lr", int(2)]] }]] },
      custom_hooks: { list: [{ dict: [["a", int(1)]] }, { dict: [["b", int(2)], ["c", null]] }] },
    }); // prettier-ignore
    expect(warnings).toEqual([]);
  });

  test("new dicts are made on the way", () => {
    expect(apply("randomness.seed=7").values["randomness"]).toEqual({ dict: [["seed", int(7)]] });
  });

  test("a name that only helped to write the config changes nothing, which is said", () => {
    expect(apply("lr=1e-3").warnings).toEqual([
      expect.stringContaining("changes nothing, as in XTuner"),
    ]);
  });

  test.each([
    ["lr", /not of the form key=value/],
    ["custom_hooks.2.a=1", /no item 2; the list has 2/],
    ["optim_wrapper.optimizer.lr.x=1", /a whole number has no x/],
  ])("%s is refused", (option, expected) => {
    expect(() => apply(option)).toThrow(expected);
  });
});
