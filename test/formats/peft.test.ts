import { describe, expect, test } from "vitest";
import {
  ADAPTER_DEFAULTS,
  loraScaling,
  parseAdapterConfig,
  selectTargets,
  serializeAdapterConfig,
} from "../../src/formats/peft.ts";
import {
  adapterTensorName,
  baseTensorOf,
  pairAdapterTensors,
} from "../../src/formats/peft-tensors.ts";
import type { AdapterConfig } from "../../src/formats/peft.ts";

const parse = (json: object) =>
  parseAdapterConfig(
    JSON.stringify({ peft_type: "LORA", target_modules: ["w1"], ...json }),
    "a.json",
  );

const modules = [
  ...[0, 1, 2].flatMap((i) =>
    ["attention.wqkv", "attention.wo", "feed_forward.w1"].map((name) => ({
      path: `model.layers.${i}.${name}`,
      isHead: false,
    })),
  ),
  { path: "output", isHead: true },
];
const paths = (config: Partial<AdapterConfig>) =>
  selectTargets({ ...ADAPTER_DEFAULTS, targetModules: [], ...config }, modules, "a.json").map(
    ({ path }) => path.replace("model.layers.", ""),
  );

test("absent keys take PEFT's defaults: rank 8, alpha 8", () => {
  expect(parse({})).toEqual({ ...ADAPTER_DEFAULTS, taskType: null, targetModules: ["w1"] });
});

test("the config of the tutorial's run is written with the keys of PEFT 0.10.0, sorted", () => {
  const text = serializeAdapterConfig({
    ...ADAPTER_DEFAULTS,
    baseModel: "ft/model",
    rank: 64,
    alpha: 16,
    dropout: 0.1,
    targetModules: ["wqkv", "wo", "w1", "w3", "w2", "output"],
  });
  expect(text).toBe(`{
  "alpha_pattern": {},
  "auto_mapping": null,
  "base_model_name_or_path": "ft/model",
  "bias": "none",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "layer_replication": null,
  "layers_pattern": null,
  "layers_to_transform": null,
  "loftq_config": {},
  "lora_alpha": 16,
  "lora_dropout": 0.1,
  "megatron_config": null,
  "megatron_core": "megatron.core",
  "modules_to_save": null,
  "peft_type": "LORA",
  "r": 64,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "output",
    "w1",
    "w2",
    "w3",
    "wo",
    "wqkv"
  ],
  "task_type": "CAUSAL_LM",
  "use_dora": false,
  "use_rslora": false
}`);
});

test("what is written is read back, newer keys included where they say something", () => {
  const config: AdapterConfig = {
    baseModel: "b",
    rank: 3,
    alpha: 7.5,
    dropout: 0.05,
    useRslora: true,
    targetModules: ".*w1",
    excludeModules: ["wo"],
    layersToTransform: [0, 2],
    layersPattern: ["layers"],
    rankPattern: { w1: 5 },
    alphaPattern: { wo: 9 },
    revision: "main",
    taskType: "CAUSAL_LM",
  };
  const text = serializeAdapterConfig(config);
  expect(parseAdapterConfig(text, "a.json")).toEqual(config);
  expect(Object.keys(JSON.parse(text) as object)).toContain("exclude_modules");
});

test("unknown keys and null newer keys are harmless", () => {
  const config = parse({
    some_future_key: 1,
    eva_config: null,
    use_qalora: false,
    layer_replication: null,
  });
  expect(config.targetModules).toEqual(["w1"]);
});

test.each([
  [{ peft_type: "IA3" }, /peft_type the text "IA3"; only "LORA"/],
  [{ peft_type: undefined }, /peft_type nothing/],
  [{ use_dora: true }, /uses DoRA/],
  [{ bias: "all" }, /trained biases \(bias\)/],
  [{ fan_in_fan_out: true }, /transposed weights/],
  [{ modules_to_save: ["lm_head"] }, /modules_to_save/],
  [{ layer_replication: [[0, 4]] }, /layer replication/],
  [{ init_lora_weights: "pissa_niter_16" }, /"pissa_niter_16", which also changes the base/],
  [{ r: 0 }, /"r" is the number 0/],
  [{ r: "8" }, /"r" is the text "8"/],
  [{ lora_alpha: null }, /"lora_alpha" is null/],
  [{ lora_dropout: 1 }, /"lora_dropout"/],
  [{ rank_pattern: { w1: "x" } }, /"rank_pattern"/],
  [{ target_modules: null }, /names no target_modules/],
  [{ target_modules: [1] }, /"target_modules"/],
])("%j is refused by name", (json, fault) => {
  expect(() => parse(json)).toThrow(fault);
});

test("scaling is α/r, and α/√r with rsLoRA", () => {
  expect(loraScaling(16, 64, false)).toBe(0.25);
  expect(loraScaling(16, 64, true)).toBe(2);
});

describe("targets", () => {
  test("names match a whole path or its end after a dot", () => {
    expect(paths({ targetModules: ["wo", "output"] })).toEqual([
      "0.attention.wo",
      "1.attention.wo",
      "2.attention.wo",
      "output",
    ]);
    expect(() => paths({ targetModules: ["o", "qkv"] })).toThrow(
      /o, qkv match none of the model's linear layers \(output, w1, wo, wqkv\)/,
    );
  });

  test("a text is a regular expression over the whole path", () => {
    expect(paths({ targetModules: String.raw`.*\.(?P<n>[01])\..*w1` })).toEqual([
      "0.feed_forward.w1",
      "1.feed_forward.w1",
    ]);
    expect(() => paths({ targetModules: "w1" })).toThrow(/match none/);
    expect(() => paths({ targetModules: "(" })).toThrow(/no regular expression/);
  });

  test("all-linear is all but the head", () => {
    expect(paths({ targetModules: "all-linear" }).length).toBe(9);
  });

  test("layers and exclusions narrow the choice", () => {
    const only = { targetModules: ["w1", "wo"], excludeModules: ["wo"] };
    expect(paths({ ...only, layersToTransform: [2] })).toEqual(["2.feed_forward.w1"]);
    expect(paths({ ...only, layersToTransform: [1], layersPattern: ["layers"] })).toEqual([
      "1.feed_forward.w1",
    ]);
    expect(() => paths({ ...only, layersToTransform: [1], layersPattern: ["blocks"] })).toThrow(
      /none/,
    );
  });

  test("the first pattern that matches sets a module's rank and alpha", () => {
    const config = parse({
      target_modules: ["w1", "wo"],
      lora_alpha: 16,
      rank_pattern: { "layers.1.feed_forward.w1": 4, w1: 2 },
      alpha_pattern: { "attention.*": 3 },
    });
    const targets = selectTargets(config, modules, "a.json");
    const of = (path: string) => targets.find((target) => target.path === `model.layers.${path}`);
    expect(of("1.feed_forward.w1")).toMatchObject({ rank: 4, alpha: 16, scaling: 4 });
    expect(of("2.feed_forward.w1")).toMatchObject({ rank: 2, alpha: 16, scaling: 8 });
    expect(of("0.attention.wo")).toMatchObject({ rank: 8, alpha: 3, scaling: 0.375 });
  });
});

describe("tensor names", () => {
  const path = "model.layers.0.attention.wqkv";

  test("are PEFT's", () => {
    expect(adapterTensorName(path, "lora_A")).toBe(
      "base_model.model.model.layers.0.attention.wqkv.lora_A.weight",
    );
  });

  test.each([
    ["base_model.model.", ""],
    ["base_model.model.", ".default"],
    ["llm.base_model.model.", ".default"],
    ["", ""],
    ["llm.", ".mine"],
  ])("with prefix %j and adapter %j are read", (prefix, adapter) => {
    const names = ["lora_B", "lora_A"].map((part) => `${prefix}${path}.${part}${adapter}.weight`);
    expect(pairAdapterTensors(names, "a.safetensors")).toEqual([
      { modulePath: path, lora_A: names[1], lora_B: names[0] },
    ]);
  });

  test.each([
    ["base_model.model.lm_head.base_layer.weight", "lm_head.weight"],
    ["base_model.model.model.embed_tokens.weight", "model.embed_tokens.weight"],
    ["base_model.model.lm_head.lora_A.weight", undefined],
    ["base_model.model.model.embed_tokens.lora_embedding_A", undefined],
    ["base_model.model.x.lora_magnitude_vector", undefined],
  ])("%s repeats %s of the base", (name, expected) => {
    expect(baseTensorOf(name)).toBe(expected);
  });

  test.each([
    [["x.lora_A.weight"], /no lora_B for x/],
    [["x.lora_A.weight", "base_model.model.x.lora_A.weight"], /lora_A of x twice/],
    [["x.lora_embedding_A"], /an adapted embedding/],
    [["x.lora_magnitude_vector"], /a DoRA magnitude/],
    [["base_model.model.lm_head.weight"], /no LoRA matrix/],
    [[], /holds no tensors/],
  ])("%j is refused", (names, fault) => {
    expect(() => pairAdapterTensors(names, "a.safetensors")).toThrow(fault);
  });
});
