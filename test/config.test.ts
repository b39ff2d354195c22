// The table of options: defaults, refusals with their line, settings, and text that reads back the same.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { UsageError } from "../src/base/error.ts";
import { applySettings, parseConfig, readConfig, serializeConfig } from "../src/config/read.ts";
import { ALL_OPTIONS } from "../src/config.ts";

const SMALLEST = { model: "seedling", data: "rows.json" };

/** The message of the UsageError that `action` throws. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error("it was not refused");
}

test("a config with only a model and data takes XTuner's recipe and the sane modes", () => {
  expect(parseConfig(SMALLEST, "test")).toMatchObject({
    model: "seedling",
    data: ["rows.json"],
    max_length: 2048,
    pack_to_max_length: true,
    use_varlen_attn: true,
    batch_size: 1,
    accumulative_counts: 16,
    max_epochs: 3,
    lr: 2e-4,
    betas: [0.9, 0.999],
    eps: 1e-8,
    weight_decay: 0,
    max_norm: 1,
    warmup_ratio: 0.03,
    lr_scheduler: "cosine",
    lora: { r: 64, lora_alpha: 16, lora_dropout: 0.1, bias: "none", use_rslora: false },
    quantization: "nf4",
    double_quant: true,
    save_steps: 500,
    save_total_limit: 2,
  });
});

test("every default is a value that its own option takes", () => {
  const refused = ALL_OPTIONS.filter(
    ({ option }) =>
      (!option.isRequired && option.read(option.default) === undefined) ||
      (option.inXtuner !== undefined && option.read(option.inXtuner) === undefined),
  );
  expect(refused).toEqual([]);
});

test("under compat what is not given is XTuner's default, and what is given stays", () => {
  const compat = { ...SMALLEST, compat: "xtuner-0.1.17" };
  expect(parseConfig(compat, "test")).toMatchObject({
    use_varlen_attn: false,
    evaluation_max_new_tokens: 600,
  });
  expect(parseConfig({ ...compat, use_varlen_attn: true }, "test").use_varlen_attn).toBe(true);
  const bySetting = readConfig("model: m\ndata: d", "test", ["compat=xtuner-0.1.17"]);
  expect(bySetting.use_varlen_attn).toBe(false);
  expect(readConfig(serializeConfig(bySetting), "test")).toEqual(bySetting);
  const plain = parseConfig(SMALLEST, "test");
  expect([plain.use_varlen_attn, plain.evaluation_max_new_tokens]).toEqual([true, 256]);
});

test("all problems are reported at once, in the order of their lines", () => {
  const yaml =
    "model: seedling\nlora:\n  rr: 3\n  r: 0\nlearning_rate: 3\nseed: -1\nmax_lenght: 9\n";
  expect(refusal(() => readConfig(yaml, "my.yaml"))).toBe(
    `my.yaml has 6 problems:
  data is missing (files of training data (JSON, JSONL, CSV, TSV, Parquet, or plain text), or data sets of the hub by id)
  line 3: there is no option "lora.rr"; the nearest is "lora.r"
  line 4: lora.r is 0, and takes a whole number from 1 to 1024
  line 5: there is no option "learning_rate"; here it is "lr"
  line 6: seed is -1, and takes a whole number from 0 to 4294967295
  line 7: there is no option "max_lenght"; the nearest is "max_length"
Correct them and start again.`,
  );
});

test.each([
  ["per_device_train_batch_size", "batch_size"], // TRL
  ["gradient_accumulation_steps", "accumulative_counts"],
  ["lora_r", "lora.r"], // PEFT's, as trainers spell it
  ["lora_dropout", "lora.lora_dropout"], // right name, outside its section
])("another tool's name %s is answered with ours, %s", (name, ours) => {
  expect(refusal(() => parseConfig({ ...SMALLEST, [name]: 1 }, "test"))).toContain(
    `there is no option "${name}"; here it is "${ours}"`,
  );
});

test.each([
  [{ lr: "fast" }, 'lr is "fast", and takes a number from 0 to 1'],
  [{ lr: Number.NaN }, "lr is NaN, and takes a number from 0 to 1"],
  [{ max_length: 12.5 }, "max_length is 12.5, and takes a whole number from 8 to 1048576"],
  [{ max_steps: 0 }, "max_steps is 0, and takes -1 or a whole number from 1 to 1000000000"],
  [{ betas: [0.9, 1] }, "betas is [0.9,1], and takes a list of two numbers"],
  [{ shuffle: "yes" }, 'shuffle is "yes", and takes true or false'],
  [{ gradient_checkpointing: "on" }, 'is "on", and takes auto, true or false'],
  [{ quantization: "int8" }, 'quantization is "int8", and takes one of nf4, none'],
  [{ lora: { bias: "all" } }, 'lora.bias is "all", and takes only none'],
  [{ lora: { target_modules: [] } }, "takes all-linear, or a list of at least one name"],
  [{ lora: 8 }, 'there is no option "lora"'],
  [{ data: [] }, "data is [], and takes a text, or a list of at least one"],
  [{ model: " " }, 'model is " ", and takes a text that is not empty'],
  [{ loss_scale: 0 }, "loss_scale is 0, and takes dynamic or a number from 1 to"],
])("%j is refused with what it takes", (given, words) => {
  expect(refusal(() => parseConfig({ ...SMALLEST, ...given }, "test"))).toContain(words);
});

test("an empty key is its default, an empty required key is missing", () => {
  const config = readConfig("model: seedling\ndata: rows.json\nlora:\nsystem:\n", "my.yaml");
  expect(config.lora.r).toBe(64);
  expect(config.system).toBe("");
  expect(refusal(() => readConfig("model:\ndata: x\n", "my.yaml"))).toContain("model is missing");
});

test.each([
  ["lr=1e-3", { lr: 1e-3 }],
  ["lora.r=8", { lora: { r: 8 } }],
  ["betas=0.8,0.95", { betas: [0.8, 0.95] }],
  ["betas=[0.8, 0.95]", { betas: [0.8, 0.95] }],
  ["lora.target_modules=q_proj,v_proj", { lora: { target_modules: ["q_proj", "v_proj"] } }],
  ["lora.target_modules=all-linear", { lora: { target_modules: "all-linear" } }],
  ["evaluation_inputs=Who, pray, are you?", { evaluation_inputs: ["Who, pray, are you?"] }],
  ["data=[a.json, b.json]", { data: ["a.json", "b.json"] }],
  ["system=12", { system: "12" }], // a text stays a text
  ["system=a=b", { system: "a=b" }],
  ["gradient_checkpointing=true", { gradient_checkpointing: true }],
  ["save_total_limit=-1", { save_total_limit: -1 }],
])("the setting %s is read in its option's own type", (setting, expected) => {
  expect(applySettings(parseConfig(SMALLEST, "test"), [setting])).toMatchObject(expected);
});

test("a setting takes the place of a fault in the file, and the last of two settings wins", () => {
  const config = readConfig("model: seedling\ndata: x\nlr: 9\n", "my.yaml", ["lr=0.1", "lr=0.2"]);
  expect(config.lr).toBe(0.2);
});

test.each([["lora.rank=8"], ["no-equals-sign"], ["=3"], ["lr=fast"]])(
  "the setting %s is refused",
  (setting) => {
    expect(refusal(() => applySettings(parseConfig(SMALLEST, "test"), [setting]))).not.toBe("");
  },
);

test.each([
  ["aliases, which can fill the memory", "a: &x [1]\nmodel: *x\n", "uses YAML aliases"],
  ["what is not YAML, with its line", "model: a\ndata: [b\n", "my.yaml, line 3 is not YAML"],
  ["a key given twice", "model: a\nmodel: b\n", "line 2 is not YAML: Map keys must be unique"],
  ["an empty file", "# nothing\n", "my.yaml is empty"],
  ["a list", "- model\n", "my.yaml is not a list of named options"],
  ["a file too long to be a config", `# ${"x".repeat(1 << 20)}`, "a config has at most"],
  ["names that reach for the prototype", "__proto__: {lr: 1}\n", 'no option "__proto__"'],
])("refuses %s", (_what, yaml, words) => {
  expect(refusal(() => readConfig(yaml, "my.yaml"))).toContain(words);
});

test("any config reads back from its own text as it was", () => {
  const word = fc.string({ minLength: 1 }).filter((value) => value.trim() !== "");
  const given = fc.record({
    model: word,
    data: fc.array(word, { minLength: 1 }),
    system: fc.string({ unit: "grapheme" }), // line breaks, colons, quotes, #
    lr: fc.double({ min: 0, max: 1, noNaN: true }),
    eps: fc.double({ min: 1e-12, max: 1e-2, noNaN: true }),
    betas: fc.tuple(fc.constant(0.5), fc.double({ min: 0, max: 0.999_999, noNaN: true })),
    loss_scale: fc.oneof(fc.constant("dynamic"), fc.integer({ min: 1, max: 65_536 })),
    evaluation_inputs: fc.array(word),
    lora: fc.record({
      r: fc.integer({ min: 1, max: 1024 }),
      target_modules: fc.oneof(fc.constant("all-linear"), fc.array(word, { minLength: 1 })),
    }),
  });
  fc.assert(
    fc.property(given, (values) => {
      const config = parseConfig(values, "test");
      // −0 is written as 0, which is the same number.
      expect(JSON.parse(JSON.stringify(readConfig(serializeConfig(config), "test")))).toEqual(
        JSON.parse(JSON.stringify(config)),
      );
    }),
  );
});

test.each([["a\n\n"], ["a\n \n"], ["\ta\u00a0"], ["a\r\nb"], ["( \u2003"]])(
  "the text %j keeps its line breaks and spaces when it is written and read",
  (system) => {
    const config = parseConfig({ ...SMALLEST, system }, "test");
    expect(readConfig(serializeConfig(config), "test")).toEqual(config);
  },
);

test("what was written is told, numbers without a word in JSON too", () => {
  const head = "model: m\ndata: d\n";
  expect(() => readConfig(`${head}lr: 1e400\n`, "a.yaml")).toThrow(
    /lr is Infinity, and takes a number/,
  );
  expect(() => readConfig(`${head}betas: [.nan, [0.9, -.inf]]\n`, "a.yaml")).toThrow(
    /betas is \[NaN,\[0\.9,-Infinity\]\], and/,
  );
});

test("a written config carries each option's help", () => {
  const yaml = serializeConfig(parseConfig(SMALLEST, "test"));
  expect(yaml).toContain("# peak learning rate, reached at the end of warm-up\nlr: 0.0002\n");
  expect(yaml).toContain("lora:\n  # rank of the adapter's matrices\n  r: 64\n");
  // In words that hold with and without compat.
  expect(yaml).toMatch(/; optimizer steps, under compat iterations \(steps\)\nsave_steps: /);
});
