// --cfg-options: values as MMEngine's DictAction reads them (oracle: mmengine 0.10.3), put at their place.
import { describe, expect, test } from "vitest";
import { writeConfigOptions } from "../../src/xtuner/written-options.ts";
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
    // By its key, by its value, and what is inside a dict with a name.
    ["lr=1e-3", "Its value is at optim_wrapper.optimizer.lr"],
    ["path='b'", "Its value is at train_dataloader.dataset.data_files.train"],
    ["data.max_length=8", "Its value is at train_dataloader.dataset.max_length"],
    ["model_name='x'", "Its value is at tokenizer.name and model.llm.name"],
    // What many things are, and what nothing is.
    ["flag=False", "Name its place, as in"],
    ["unknown=1", "Name its place, as in"],
  ])("%s names the places that hold the value", (option, expected) => {
    const text = `lr = 2
path = 'a.json'
flag = True
model_name = 'm'
tokenizer = dict(name=model_name)
model = dict(llm=dict(name=model_name), other=[tokenizer])
data = dict(data_files=dict(train=path), tokenizer=tokenizer, shuffle=flag)
train_dataloader = dict(dataset=data, batch_size=2)
optim_wrapper = dict(optimizer=dict(lr=lr))
`;
    const findings = createFindings();
    const file = evaluatePython(text, "a.py", (symbol) => symbol);
    applyConfigOptions(file.names, [option], findings);
    expect(findings.all.map((found) => found.text.replace(/^.+ as in XTuner\. /, ""))).toEqual([
      expect.stringMatching(expected.startsWith("Its") ? `^${expected}$` : expected),
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

/** The names that the text binds; nothing of it is refused. */
const namesOf = (text: string) => {
  const { names, refused } = evaluatePython(text, "a.py", (symbol) => symbol);
  expect(refused).toEqual([]);
  return names;
};

describe("written as Python", () => {
  const TEXT =
    "opt = dict(lr=1)\noptim_wrapper = dict(optimizer=opt)\ncustom_hooks = [dict(a=1), dict(b=2)]\n" +
    "one = [dict(c=dict(d=1))]\nmodel = dict(lora=dict(r=8), x=one, y=one)\nparam_scheduler = None\n";

  test.each<[string[], string[]]>([
    [["model.lora.lora_alpha=32"], ["model['lora']['lora_alpha'] = 32"]],
    [["custom_hooks.1.b=(0.9,)"], ["custom_hooks[1]['b'] = (0.9,)"]],
    [
      ["randomness.seed=7", "randomness.other=x"],
      ["randomness = {'seed': 7}", "randomness['other'] = 'x'"],
    ],
    [
      ["optim_wrapper.optimizer.lr=2."],
      [
        "optim_wrapper['optimizer'] = dict(optim_wrapper['optimizer'])",
        "optim_wrapper['optimizer']['lr'] = 2.0",
      ],
    ],
    [
      ["model.x.0.c.d=2"],
      [
        "model['x'] = [*model['x']]",
        "model['x'][0] = dict(model['x'][0])",
        "model['x'][0]['c'] = dict(model['x'][0]['c'])",
        "model['x'][0]['c']['d'] = 2",
      ],
    ],
    [["load_from=it's\\a\nb"], ['load_from = "it\'s\\\\a\\nb"']],
    [
      ["model.a=[1,(2,x),inf,-0.,1e-7,1e22]"],
      ["model['a'] = [1, (2, 'x'), 1e999, -0.0, 1e-7, 1e+22]"],
    ],
    [
      ["param_scheduler=None", "model=False"],
      ["param_scheduler = None", "model = False"],
    ],
  ])("%j, and read back to the same", (options, lines) => {
    const names = namesOf(TEXT);
    expect(writeConfigOptions(names, options)).toEqual(lines);
    const expected = applyConfigOptions(names, options, createFindings());
    const found = namesOf(`${TEXT}${lines.join("\n")}\n`);
    for (const [name, { value }] of expected) {
      expect([name, plainValue(found.get(name)?.value ?? null)]).toEqual([name, plainValue(value)]);
    }
  });

  test("what changes nothing is a comment", () => {
    expect(writeConfigOptions(namesOf(TEXT), ["lr=1\nimport os"])).toEqual([
      '# --cfg-options "lr=1\\nimport os" changes nothing',
    ]);
  });
});
