// Every ready-made config, dry: read, its family's layers chosen, its data mapped and encoded, its steps planned.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readConfig } from "../../src/config/read.ts";
import type { TrainConfig } from "../../src/config.ts";
import { encodeExample } from "../../src/data/encode.ts";
import { describeFormat, formatsNamed, isPlainText, mapRow } from "../../src/data/formats.ts";
import { applyTemplate, promptTemplate } from "../../src/data/templates.ts";
import { adapterOf } from "../../src/engine/runs/run-parts.ts";
import { type Architecture, readArchitecture } from "../../src/model/architecture.ts";
import { planSteps } from "../../src/train/plan.ts";
import { readXtunerConfig } from "../../src/xtuner/read-xtuner-config.ts";
import { ZOO_MODELS } from "../../src/xtuner/zoo-models.ts";
import { zooEntries, zooParts, zooText } from "../../src/xtuner/zoo.ts";
import { toyTokenizer } from "../data/toy-tokenizer.ts";

const FIXTURES = join(import.meta.dirname, "../fixtures");

/** A tiny model of each family, by `model_type`. */
const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map(
  ["gemma3", "internlm2", "llama-biased", "mistral", "phi3-short", "qwen2", "qwen3"].map((name) => {
    const path = join(FIXTURES, "families", `${name}.json`);
    const { config } = JSON.parse(readFileSync(path, "utf8")) as { config: Record<string, never> };
    return [String(config["model_type"]), readArchitecture(config, path)];
  }),
);

const MODELS = new Map(ZOO_MODELS.map((model) => [model.id, model]));

const read = (name: string): TrainConfig => readConfig(zooText(name) ?? "", name);

/** Names of the layers that the adapter is for: "wqkv", "w2", … */
function targetNames(config: TrainConfig): string[] {
  const family = MODELS.get(config.model)?.family ?? "";
  const architecture = ARCHITECTURES.get(family);
  if (architecture === undefined) throw new Error(`no tiny model of ${family}`);
  const { targets } = adapterOf(config, architecture);
  const names = targets.map(({ path }) => path.split(".").at(-1) ?? path);
  return [...new Set(names)].toSorted((a, b) => (a < b ? -1 : 1));
}

/** Label tokens of three rows in the shape of each data set of the config. */
function labelTokens(config: TrainConfig): number[] {
  const formats = formatsNamed(config.dataset_format, config.data.length);
  return formats.flatMap((format) => {
    if (format === undefined) throw new Error(`no format in ${config.dataset_format}`);
    const { example } = describeFormat(format);
    const own = config.prompt_template === "auto" ? "default" : config.prompt_template;
    // A model's own template comes with its files, which are not here.
    const template = promptTemplate(isPlainText(format) ? "none" : own);
    return [1, 2, 3].map((row) => {
      const conversation = mapRow(format, { value: example, row, line: row }, "a.json");
      const options = { maxLength: config.max_length };
      return encodeExample(applyTemplate(conversation, template), toyTokenizer, options)
        .labelTokens;
    });
  });
}

const entries = zooEntries();

test("there is one for every model and every data set, by names of one form", () => {
  const { models, methods, data } = zooParts();
  expect(new Set(entries.map(({ name }) => name)).size).toBe(entries.length);
  expect(new Set(models).size).toBe(models.length);
  for (const model of models) {
    for (const set of data) expect(zooText(`${model}_qlora_${set}`)).toBeDefined();
  }
  expect(methods).toEqual(["qlora", "lora", "fp32_lora"]);
  expect(new Set(ZOO_MODELS.map(({ family }) => family))).toEqual(new Set(ARCHITECTURES.keys()));
});

describe("each of them", () => {
  const configs = entries.map(({ name, about }) => ({ name, about, config: read(name) }));

  test("is read, says what it is first, and keeps the base as its name says", () => {
    const kept = { qlora: "nf4 auto", lora: "none auto", fp32_lora: "none f32" };
    for (const { name, about, config } of configs) {
      expect(zooText(name)?.split("\n", 1)[0]).toBe(`# ${about}`);
      const [method = ""] = /fp32_lora|qlora|lora/.exec(name) ?? [];
      const found = `${config.quantization} ${config.compute_dtype}`;
      expect(`${name}: ${found}`).toBe(`${name}: ${kept[method as keyof typeof kept]}`);
      expect(Number(/_e(\d+)/.exec(name)?.[1])).toBe(config.max_epochs);
    }
  });

  test("adapts all linear layers of its family", () => {
    const qkv = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"];
    const layers: Readonly<Record<string, readonly string[]>> = {
      internlm2: ["w1", "w2", "w3", "wo", "wqkv"],
      phi3: ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
    };
    const known = new Map<string, string[]>();
    for (const { name, config } of configs) {
      const key = `${config.model} ${JSON.stringify(config.lora)}`;
      const targets = known.get(key) ?? targetNames(config);
      known.set(key, targets);
      const family = MODELS.get(config.model)?.family ?? "";
      expect([name, targets]).toEqual([name, layers[family] ?? qkv]);
    }
  });

  test("learns from rows in the shape of its data", () => {
    const known = new Map<string, number[]>();
    for (const { name, config } of configs) {
      const { dataset_format, prompt_template, max_length } = config;
      const key = `${dataset_format} ${prompt_template} ${max_length} ${config.data.length}`;
      const learned = known.get(key) ?? labelTokens(config);
      known.set(key, learned);
      expect([name, learned.length]).toEqual([name, 3 * config.data.length]);
      expect([name, Math.min(...learned) > 0]).toEqual([name, true]);
    }
  });

  test("plans its steps: up in the warm-up, down to nothing, and a checkpoint at the end", () => {
    for (const { name, config } of configs) {
      const rows = 1600;
      const plan = planSteps(config, rows);
      const steps = (rows * config.max_epochs) / config.accumulative_counts;
      expect([name, plan.steps, plan.savesAfter(plan.steps)]).toEqual([name, steps, true]);
      const warm = Math.round(0.03 * steps);
      const rates = [0, warm, steps - 1].map((step) => plan.learningRate(step));
      expect([name, rates[1]]).toEqual([name, expect.closeTo(2e-4, 6)]);
      expect(rates[0]).toBeLessThan(1e-4);
      expect(rates[2]).toBeLessThan(1e-6);
    }
  });
});

describe("the one of the tutorial", () => {
  const tutorial = readFileSync(
    join(FIXTURES, "xtuner/internlm2_1_8b_qlora_alpaca_e3_copy.py"),
    "utf8",
  );

  /** XTuner's own config: the tutorial's with its edits taken back. */
  const original = [
    ["/root/ft/model", "internlm/internlm2-1_8b"],
    ["path='json', data_files=dict(train=alpaca_en_path)", "path='tatsu-lab/alpaca'"],
    ["openai_map_fn", "alpaca_map_fn"],
    ["openai_map_fn", "alpaca_map_fn"],
    ["max_length = 1024", "max_length = 2048"],
    ["max_epochs = 2", "max_epochs = 3"],
    ["save_steps = 300", "save_steps = 500"],
    ["save_total_limit = 3", "save_total_limit = 2"],
    ["evaluation_freq = 300", "evaluation_freq = 500"],
    ["import PROMPT_TEMPLATE", "import PROMPT_TEMPLATE, SYSTEM_TEMPLATE"],
    ["SYSTEM = ''", "SYSTEM = SYSTEM_TEMPLATE.alpaca"],
    ["['请你介绍一下你自己', '你是谁', '你是我的小助手吗']", "['请给我介绍五个上海的景点', 'Please tell me five scenic spots in Shanghai']"],
  ].reduce((text, [from = "", to = ""]) => {
    if (!text.includes(from)) throw new Error(`the tutorial's file has no ${from}`);
    return text.replace(from, to);
  }, tutorial); // prettier-ignore

  test("is XTuner's of that name, field by field, but for its accidents", () => {
    const { config } = readXtunerConfig(original, "a.py");
    expect(read("internlm2_1_8b_qlora_alpaca_e3")).toEqual({
      ...config,
      compat: "none",
      use_varlen_attn: true,
    });
  });
});
