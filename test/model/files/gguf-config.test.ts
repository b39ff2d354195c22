// The config.json that a GGUF file's metadata stands for. Files of whole models are compared with
// transformers in test/interop; here are the rules one by one.
import { expect, test } from "vitest";
import { f32 } from "../../formats/gguf-file.ts";
import { counting, HIDDEN, open, sizes, VOCAB } from "./gguf-model.ts";

test("a Llama", async () => {
  const { config } = await open(
    sizes("llama", {
      "rope.dimension_count": 8,
      "rope.freq_base": 500_000,
      "tokenizer.ggml.bos_token_id": 1,
      "tokenizer.ggml.eos_token_id": 2,
      "tokenizer.ggml.padding_token_id": 0,
    }),
  );
  expect(config).toEqual({
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: VOCAB,
    hidden_size: HIDDEN,
    intermediate_size: 96,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    max_position_embeddings: 4096,
    // Stored as the f32 next to it, 9.99999974737875e-6.
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    tie_word_embeddings: true,
    hidden_act: "silu",
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: 1,
    eos_token_id: 2,
    pad_token_id: 0,
    torch_dtype: "float32",
  });
});

test("a head of its own unties it, biases are told, and θ is 10,000 where none is given", async () => {
  const { config } = await open(sizes("llama"), {
    "output.weight": counting([VOCAB, HIDDEN]),
    "blk.0.attn_q.bias": counting([32]),
    "blk.0.ffn_up.bias": counting([96]),
  });
  expect(config).toMatchObject({
    tie_word_embeddings: false,
    attention_bias: true,
    mlp_bias: true,
    rope_theta: 10_000,
  });
  expect(config).not.toHaveProperty("eos_token_id");
});

test("a Llama with a window is a Mistral", async () => {
  const { config } = await open(sizes("llama", { "attention.sliding_window": 1024 }));
  expect(config).toMatchObject({ model_type: "mistral", sliding_window: 1024 });
});

test("one number for each layer is one number, if they are equal", async () => {
  const { config } = await open(sizes("llama", { "attention.head_count": [4, 4] }));
  expect(config["num_attention_heads"]).toBe(4);
  await expect(open(sizes("llama", { "attention.head_count": [4, 2] }))).rejects.toThrow(
    /llama.attention.head_count = a list/,
  );
});

test("InternLM2 is presented as the Llama that it is", async () => {
  const { config } = await open(sizes("internlm2"));
  expect(config).toMatchObject({ model_type: "llama", architectures: ["LlamaForCausalLM"] });
});

test("Qwen3 has heads of a size of its own", async () => {
  const { config } = await open(sizes("qwen3", { "attention.key_length": 16 }));
  expect(config).toMatchObject({ model_type: "qwen3", head_dim: 16, use_sliding_window: false });
});

test("every sixth layer of Gemma 3 attends to everything, and all where no window is given", async () => {
  const metadata = { block_count: 7, "attention.key_length": 16, "rope.freq_base": 1e6 };
  const window = { ...metadata, "attention.sliding_window": 512 };
  const local = "sliding_attention";
  const { config } = await open(sizes("gemma3", window));
  expect(config).toMatchObject({
    model_type: "gemma3_text",
    hidden_activation: "gelu_pytorch_tanh",
    query_pre_attn_scalar: 16,
    rope_theta: 1e6,
    rope_local_base_freq: 10_000,
    sliding_window: 512,
    layer_types: [local, local, local, local, local, "full_attention", local],
  });
  const third = await open(
    sizes("gemma3", {
      ...window,
      "attention.sliding_window_pattern": 3,
      "rope.scaling.type": "linear",
      "rope.scaling.factor": 8,
    }),
  );
  expect(third.config).toMatchObject({
    layer_types: [local, local, "full_attention", local, local, "full_attention", local],
    rope_scaling: { rope_type: "linear", factor: 8 },
  });
  const pattern = [true, false, true, true, true, true, false];
  const listed = await open(
    sizes("gemma3", { ...window, "attention.sliding_window_pattern": pattern }),
  );
  expect(listed.config["layer_types"]).toEqual(
    pattern.map((isLocal) => (isLocal ? local : "full_attention")),
  );
  const without = await open(sizes("gemma3", metadata));
  expect(new Set(without.config["layer_types"] as string[])).toEqual(new Set(["full_attention"]));
});

test("the largest Gemma 3 scales queries by hidden / heads", async () => {
  // 62 layers are the 27B's: 5376 / 32 = 168, and heads of 128.
  const metadata = { block_count: 62, "attention.key_length": 16 };
  expect((await open(sizes("gemma3", metadata))).config["query_pre_attn_scalar"]).toBe(8);
});

test("Phi-4-mini rotates a part of each head, and has factors for short and long texts", async () => {
  const long = [1.5, 2.25, 40.125];
  const short = [1, 1.1, 1.7];
  const scaled = {
    context_length: 131_072,
    "rope.dimension_count": 6,
    "rope.scaling.original_context_length": 4096,
    "attention.sliding_window": 0,
  };
  const factors = {
    "rope_factors_long.weight": { shape: [3], bytes: f32(...long) },
    "rope_factors_short.weight": { shape: [3], bytes: f32(...short) },
  };
  const { config, files } = await open(sizes("phi3", scaled), factors);
  expect(config).toMatchObject({
    model_type: "phi3",
    partial_rotary_factor: 0.75,
    original_max_position_embeddings: 4096,
    sliding_window: null,
    // transformers 4 takes these three keys and no other.
    rope_scaling: { type: "longrope", short_factor: short, long_factor: long },
  });
  expect(Object.keys(config["rope_scaling"] as object)).toHaveLength(3);
  expect([...files.tensors.keys()]).toEqual(["model.embed_tokens.weight"]);
  // The usual factor, √(1 + ln 32 / ln 4096), is not repeated; another one is.
  const usual = 1.190238;
  const same = await open(sizes("phi3", { ...scaled, "rope.scaling.attn_factor": usual }), factors);
  expect(same.config).toEqual(config);
  const other = await open(sizes("phi3", { ...scaled, "rope.scaling.attn_factor": 1.25 }), factors);
  expect(other.config["rope_scaling"]).toMatchObject({ attention_factor: 1.25 });
});

test("the divisors of Llama 3's frequencies become its options again", async () => {
  // Llama 3.2: heads of 64, θ 500,000, factor 32, from 1 to 4 of 8192; computed in f32 as the converter does.
  const llama3 = Array.from({ length: 32 }, (_, i) => {
    const wavelength = Math.fround(2 * Math.PI * 500_000 ** (i / 32));
    if (wavelength < 8192 / 4) return 1;
    if (wavelength > 8192) return 32;
    const smooth = (8192 / wavelength - 1) / (4 - 1);
    return 1 / ((1 - smooth) / 32 + smooth);
  });
  expect(llama3.filter((factor) => factor > 1 && factor < 32).length).toBeGreaterThan(1);
  const metadata = sizes("llama", {
    "attention.key_length": 64,
    "rope.freq_base": 500_000,
  });
  const file = (factors: number[]) =>
    open(metadata, { "rope_freqs.weight": { shape: [factors.length], bytes: f32(...factors) } });
  expect((await file(llama3)).config["rope_scaling"]).toEqual({
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  });
  expect((await file(llama3.map(() => 1))).config).not.toHaveProperty("rope_scaling");
  const others = llama3.map((_, i) => 1 + i / 4);
  expect((await file(others)).config["rope_scaling"]).toMatchObject({
    rope_type: "longrope",
    short_factor: others,
    long_factor: others,
    attention_factor: 1,
  });
  await expect(file(llama3.slice(1))).rejects.toThrow(/31 numbers for heads .* 64 dimensions/);
});

test("YaRN is passed on with its options", async () => {
  const { config } = await open(
    sizes("qwen2", {
      "rope.scaling.type": "yarn",
      "rope.scaling.factor": 4,
      "rope.scaling.original_context_length": 32_768,
    }),
  );
  expect(config["rope_scaling"]).toEqual({
    rope_type: "yarn",
    factor: 4,
    original_max_position_embeddings: 32_768,
  });
});

test("tokens that end a turn are ends too, if they are special", async () => {
  const tokens = ["<|endoftext|>", "<|im_end|>", "<|end|>", "<|eot_id|>", "<end_of_turn>"];
  const { config } = await open(
    sizes("qwen2", {
      "tokenizer.ggml.tokens": tokens,
      // <|end|> is a plain text here.
      "tokenizer.ggml.token_type": Int32Array.of(3, 3, 1, 4, 3),
      "tokenizer.ggml.eos_token_id": 0,
      "tokenizer.ggml.eot_token_id": 4,
    }),
  );
  expect(config["eos_token_id"]).toEqual([0, 4, 1, 3]);
});
