// config.json: what is read from it, and every refusal by the name of its key.
import { expect, test } from "vitest";
import { endIds, parseArchitecture } from "../../src/model/architecture.ts";
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

test("Llama 3.2 1B's config gives its sizes and its scaled frequencies", () => {
  const { family, inverseFrequencies: actual, ...sizes } = parse();
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
  });
  const expected = inverseFrequencies(64, 500000, LLAMA32.rope_scaling);
  actual.forEach((value, i) => expect(Math.abs(value / expected[i]! - 1)).toBeLessThan(1e-12));
});

test("what may be absent takes transformers' defaults", () => {
  const { head_dim: _, num_key_value_heads: __, rope_scaling: ___, ...rest } = LLAMA32;
  const read = parseArchitecture(JSON.stringify({ ...rest, rope_theta: undefined }), "config.json");
  expect(read).toMatchObject({ headSize: 64, kvHeads: 32 });
  expect(read.inverseFrequencies[1]).toBeCloseTo(10000 ** (-2 / 64), 12);
});

test("transformers 5 writes rope_parameters, with theta inside", () => {
  const { rope_theta: theta, rope_scaling: scaling, ...rest } = LLAMA32;
  const parameters = { ...scaling, rope_theta: theta };
  const read = parseArchitecture(JSON.stringify({ ...rest, rope_parameters: parameters }), "c");
  expect(read.inverseFrequencies).toEqual(parse().inverseFrequencies);
});

test.each([
  [{ model_type: "mamba2" }, 'model_type is "mamba2", which Hone does not know'],
  [{ attention_bias: true }, "attention_bias is true, which Hone does not support"],
  [{ hidden_act: "gelu" }, 'hidden_act is "gelu", which Hone does not support'],
  [{ quantization_config: { quant_method: "gptq" } }, "quantization_config is"],
  [{ rope_scaling: { rope_type: "yarn", factor: 4 } }, 'rope_scaling is of type "yarn"'],
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
