// A model folder on the disk with random weights and Seedling's tokenizer: the whole engine's small subject.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { encodeFloats } from "../../src/formats/float.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";

const SEEDLING = fileURLToPath(new URL("../../public/models/seedling/", import.meta.url));
const VOCAB = 2304; // as many as Seedling's tokenizer has
const HIDDEN = 64;
const INTERMEDIATE = 128;
const LAYERS = 2;

/** A folder that is gone when the test file ends. */
export function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "hone-test-"));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Writes a two-layer Llama with tied embeddings; returns its path. */
export function writeTinyModel(
  dtype: "F32" | "F16" | "BF16" = "BF16",
  isTied = true,
  vocab = VOCAB,
): string {
  const path = temporaryFolder();
  for (const name of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]) {
    cpSync(join(SEEDLING, name), join(path, name));
  }
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: HIDDEN,
    intermediate_size: INTERMEDIATE,
    num_hidden_layers: LAYERS,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    vocab_size: vocab,
    max_position_embeddings: 512,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: "silu",
    tie_word_embeddings: isTied,
    torch_dtype: { F32: "float32", F16: "float16", BF16: "bfloat16" }[dtype],
    bos_token_id: 1,
    eos_token_id: 2,
  };
  writeFileSync(join(path, "config.json"), JSON.stringify(config, null, 2));
  const random = createRandom(7);
  const tensors = new Map<string, { dtype: typeof dtype; shape: number[]; bytes: Uint8Array }>();
  for (const [name, shape] of shapes(isTied, vocab)) {
    const count = shape.reduce((product, size) => product * size, 1);
    const isNorm = shape.length === 1;
    const scale = 1 / Math.sqrt(shape.at(-1) ?? 1);
    const values = Float32Array.from({ length: count }, () =>
      isNorm ? 1 + 0.1 * random.normal() : scale * random.normal(),
    );
    tensors.set(name, { dtype, shape, bytes: encodeFloats(values, dtype) });
  }
  writeFileSync(join(path, "model.safetensors"), encodeSafetensors(tensors, { format: "pt" }));
  return path;
}

function shapes(isTied: boolean, vocab: number): [string, number[]][] {
  const layer = (index: number): [string, number[]][] => {
    const at = (name: string) => `model.layers.${index}.${name}.weight`;
    return [
      [at("input_layernorm"), [HIDDEN]],
      [at("post_attention_layernorm"), [HIDDEN]],
      [at("self_attn.q_proj"), [64, HIDDEN]],
      [at("self_attn.k_proj"), [32, HIDDEN]],
      [at("self_attn.v_proj"), [32, HIDDEN]],
      [at("self_attn.o_proj"), [HIDDEN, 64]],
      [at("mlp.gate_proj"), [INTERMEDIATE, HIDDEN]],
      [at("mlp.up_proj"), [INTERMEDIATE, HIDDEN]],
      [at("mlp.down_proj"), [HIDDEN, INTERMEDIATE]],
    ];
  };
  return [
    ["model.embed_tokens.weight", [vocab, HIDDEN]],
    ["model.norm.weight", [HIDDEN]],
    ...(isTied ? [] : ([["lm_head.weight", [vocab, HIDDEN]]] as [string, number[]][])),
    ...Array.from({ length: LAYERS }, (_, index) => layer(index)).flat(),
  ];
}

/** A data file of short conversations that differ; returns its path. */
export function writeTinyData(rows = 40): string {
  const path = join(temporaryFolder(), "data.json");
  writeFileSync(path, JSON.stringify(tinyRows(rows)));
  return path;
}

export function tinyRows(rows: number): object[] {
  return Array.from({ length: rows }, (_, i) => ({
    messages: [
      { role: "user", content: `What is ${i} plus ${i % 7}?` },
      { role: "assistant", content: `It is ${i + (i % 7)}.` },
    ],
  }));
}
