// config.json: what is read from it, and every refusal by the name of its key.
import { expect, test } from "vitest";
import { type Architecture, endIds, parseArchitecture } from "../../src/model/architecture.ts";
import { inverseFrequencies } from "../reference/rope.ts";

const LLAMA32 = {
  model_type: "llama",
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  vocab_size: 128256,
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  rope_scaling: {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
  tie_word_embeddings: true,
  hidden_act: "silu",
};
const parse = (changes: object = {}) =>
  parseArchitecture(JSON.stringify({ ...LLAMA32, ...changes }), "model/config.json");

const frequenciesOf = ({ ropes }: Architecture, rope = 0, positions = 1) =>
  ropes[rope]!.anglesFor(positions).inverseFrequencies;

test("Llama 3.2 1B's config gives its sizes and its scaled frequencies", () => {
  const { family, ropes, layerKinds, ...sizes } = parse();
  expect(family.modelType).toBe("llama");
  expect(sizes).toEqual({
    hidden: 2048,
    layers: 16,
    heads: 32,
    kvHeads: 8,
    headSize: 64,
    intermediate: 8192,
    vocab: 128256,
    epsilon: 1e-5,
    hasTiedEmbeddings: true,
    maxPositions: 131072,
    activation: "silu",
    embeddingScale: 1,
    attentionScale: 1 / 8,
    biased: [],
  });
  expect(layerKinds).toEqual(Array.from(Array(16), () => ({ window: undefined, rope: 0 })));
  const expected = inverseFrequencies(64, 500000, LLAMA32.rope_scaling);
  expect(ropes).toHaveLength(1);
  frequenciesOf(parse()).forEach((value, i) =>
    expect(Math.abs(value / expected[i]! - 1)).toBeLessThan(1e-12),
  );
});

test("what may be absent takes transformers' defaults", () => {
  const { head_dim: _, num_key_value_heads: __, rope_scaling: ___, ...rest } = LLAMA32;
  const read = parseArchitecture(JSON.stringify({ ...rest, rope_theta: undefined }), "config.json");
  expect(read).toMatchObject({ headSize: 64, kvHeads: 32 });
  expect(frequenciesOf(read)[1]).toBeCloseTo(10000 ** (-2 / 64), 12);
});

test("transformers 5 writes rope_parameters, with theta inside", () => {
  const { rope_theta: theta, rope_scaling: scaling, ...rest } = LLAMA32;
  const parameters = { ...scaling, rope_theta: theta };
  const read = parseArchitecture(JSON.stringify({ ...rest, rope_parameters: parameters }), "c");
  expect(frequenciesOf(read)).toEqual(frequenciesOf(parse()));
});

test.each([
  [{ model_type: "mamba2" }, 'model_type is "mamba2", which Hone does not know'],
  [{ attn_logit_softcapping: 50 }, "attn_logit_softcapping is 50, which Hone does not support"],
  [{ model_type: "mistral", mlp_bias: true }, "mlp_bias is true, which Hone does not support"],
  [{ hidden_act: "gelu" }, 'hidden_act is "gelu", which Hone does not support'],
  [{ quantization_config: { quant_method: "gptq" } }, "quantization_config is"],
  [{ rope_scaling: { rope_type: "ntk" } }, 'rope_scaling is of type "ntk"'],
  [{ rope_scaling: { rope_type: "linear" } }, "has factor undefined"],
  [{ hidden_size: "2048" }, 'hidden_size is "2048", where a number is needed'],
  [{ num_hidden_layers: 0 }, "num_hidden_layers is 0, where a positive whole number is needed"],
  [{ vocab_size: undefined }, "vocab_size is missing, where a number is needed"],
  [{ num_key_value_heads: 5 }, "num_attention_heads 32 is no multiple of 5 key heads"],
  [{ head_dim: 512 }, "head_dim 512 is above 256"],
  [{ hidden_size: 2000, head_dim: 64 }, "hidden_size 2000 is no multiple of 64"],
])("%j is refused in words", (changes, words) => {
  expect(() => parse(changes)).toThrow(words);
  expect(() => parse(changes)).toThrow("model/config.json");
});

test("a config that is not JSON is refused with its name", () => {
  expect(() => parseArchitecture("<!doctype html>", "model/config.json")).toThrow(
    "model/config.json is not JSON",
  );
});

test("end ids are one number, a list, or in a config", () => {
  expect(endIds({ eos_token_id: [2, 4] })).toEqual([2, 4]);
  expect(endIds({ eos_token_id: 2 })).toEqual([2]);
  expect(endIds(undefined)).toEqual([]);
});

const GEMMA3 = {
  model_type: "gemma3_text",
  hidden_size: 640,
  intermediate_size: 2048,
  num_hidden_layers: 18,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  vocab_size: 262144,
  sliding_window: 512,
};
const parseOf = (config: object) => parseArchitecture(JSON.stringify(config), "config.json");

test("Gemma 3: every sixth layer sees all, the others a window, with a base of their own", () => {
  const gemma = parseOf({ ...GEMMA3, rope_scaling: { rope_type: "linear", factor: 8 } });
  expect(gemma).toMatchObject({
    headSize: 256,
    activation: "gelu_tanh",
    hasTiedEmbeddings: true,
    embeddingScale: Math.sqrt(640),
    attentionScale: 1 / 16,
  });
  const global = gemma.layerKinds.flatMap(({ window }, i) => (window === undefined ? [i] : []));
  expect(global).toEqual([5, 11, 17]);
  expect(gemma.layerKinds[0]).toEqual({ window: 512, rope: 1 });
  expect(gemma.layerKinds[5]).toEqual({ window: undefined, rope: 0 });
  expect(frequenciesOf(gemma, 0)[1]).toBeCloseTo(1e6 ** (-2 / 256) / 8, 12);
  expect(frequenciesOf(gemma, 1)[1]).toBeCloseTo(1e4 ** (-2 / 256), 12);
});

test("Gemma 3 in transformers 5's spelling reads the same", () => {
  const layers = Array.from({ length: 18 }, (_, i) =>
    i % 6 === 5 ? "full_attention" : "sliding_attention",
  );
  const old = parseOf({ ...GEMMA3, rope_scaling: { rope_type: "linear", factor: 8 } });
  const fresh = parseOf({
    ...GEMMA3,
    layer_types: layers,
    rope_parameters: {
      full_attention: { rope_type: "linear", factor: 8, rope_theta: 1e6 },
      sliding_attention: { rope_type: "default", rope_theta: 1e4 },
    },
  });
  expect(fresh.layerKinds).toEqual(old.layerKinds);
  for (const rope of [0, 1]) {
    expect(frequenciesOf(fresh, rope)).toEqual(frequenciesOf(old, rope));
  }
});

test.each([
  [{ use_sliding_window: false }, []],
  [{ use_sliding_window: true, max_window_layers: 14 }, [14, 15]],
  [{}, []],
])("Qwen2 with %j has windows in layers %j", (changes, expected) => {
  const qwen = parse({ model_type: "qwen2", rope_scaling: null, sliding_window: 64, ...changes });
  expect(qwen.layerKinds.flatMap(({ window }, i) => (window === 64 ? [i] : []))).toEqual(expected);
  expect(qwen.biased).toEqual(["qkv"]);
});

const windowOf = (changes: object) =>
  parse({ model_type: "mistral", rope_scaling: null, ...changes }).layerKinds.at(-1)?.window;

test("Mistral's window holds in every layer; null is none; absent is transformers' 4096", () => {
  expect(windowOf({ sliding_window: 100 })).toBe(100);
  expect(windowOf({ sliding_window: null })).toBeUndefined();
  expect(windowOf({})).toBe(4096);
});

test("Phi's factors depend on the length, and part of a head turns", () => {
  const rope_scaling = {
    type: "longrope",
    short_factor: Array<number>(24).fill(2),
    long_factor: Array<number>(24).fill(4),
  };
  const phi = parse({
    model_type: "phi3",
    rope_scaling,
    partial_rotary_factor: 0.75,
    original_max_position_embeddings: 4096,
  });
  expect(phi.ropes[0]!.rotaryDims).toBe(48);
  expect(frequenciesOf(phi, 0, 4096)[0]).toBe(1 / 2);
  expect(frequenciesOf(phi, 0, 4097)[0]).toBe(1 / 4);
  // √(1 + ln 32 / ln 4096) for 131,072 positions.
  expect(phi.ropes[0]!.anglesFor(1).scale).toBeCloseTo(Math.sqrt(1 + 5 / 12), 12);
});

test("InternLM2's base grows with what lies past its context", () => {
  const rope_scaling = { type: "dynamic", factor: 2 };
  const internlm2 = parse({ model_type: "internlm2", rope_scaling, max_position_embeddings: 1024 });
  expect(frequenciesOf(internlm2, 0, 1024)[1]).toBeCloseTo(500000 ** (-2 / 64), 12);
  // The base times (2 · 2 − 1) to the power of 64 / 62.
  const base = 500000 * 3 ** (64 / 62);
  expect(frequenciesOf(internlm2, 0, 2048)[1]).toBeCloseTo(base ** (-2 / 64), 12);
  expect(internlm2.biased).toEqual(["qkv", "attentionOut"]);
});

test("layer_types of another kind is refused with its layer", () => {
  expect(() => parseOf({ ...GEMMA3, layer_types: ["linear_attention"] })).toThrow(
    'layer_types has "linear_attention" for layer 0',
  );
});

test("YaRN's frequencies and scale as transformers computes them", () => {
  const rope_scaling = {
    rope_type: "yarn",
    factor: 4,
    original_max_position_embeddings: 32768,
  };
  const qwen = parse({ model_type: "qwen2", rope_theta: 1e6, rope_scaling });
  const { inverseFrequencies: actual, scale } = qwen.ropes[0]!.anglesFor(1);
  // From transformers 5.23: the quick pairs as they are, the slow ones at a quarter.
  expect(scale).toBeCloseTo(1.138629436111989, 12);
  const expected = new Map([
    [0, 1],
    [1, 0.6493816375732422],
    [12, 0.005154795479029417],
    [16, 0.0005833333707414567],
    [20, 4.4456985051510856e-5],
    [31, 3.8498163235090033e-7],
  ]);
  for (const [i, value] of expected) expect(Math.abs(actual[i]! / value - 1)).toBeLessThan(1e-6);
});
