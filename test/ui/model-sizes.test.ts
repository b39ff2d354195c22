// The rule of thumb for memory against the count of a real run, and the guess of what may be taken.
import { describe, expect, test } from "vitest";
import { configOf } from "../../src/config/values.ts";
import { estimateMemory } from "../../src/engine/runs/run-memory.ts";
import { parseArchitecture } from "../../src/model/architecture.ts";
import type { SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import {
  estimateBytes,
  guessBudgetBytes,
  type ModelShape,
  RULE,
  TYPICAL_MODELS,
  verdictOf,
} from "../../src/ui/model-sizes.ts";

const GIB = 2 ** 30;

// 135M, 0.5B, 1B and 8B; counting one takes most of a second. Seedling's 12 MiB fit anywhere.
const COUNTED = [1, 2, 3, 6].map((index) => TYPICAL_MODELS[index]!);

describe("the rule of thumb", () => {
  test.each(COUNTED)(
    "is a tenth off the count of $name at most, with f16 and without",
    async (model) => {
      for (const hasF16 of [true, false]) {
        const counted = await countRun(model, hasF16);
        const ratio = estimateBytes(model, hasF16) / counted;
        expect({ hasF16, isNear: ratio > 0.9 && ratio < 1.1, ratio }).toMatchObject({
          isNear: true,
        });
      }
    },
    30_000,
  );

  test("grows with the model", () => {
    const bytes = TYPICAL_MODELS.map((model) => estimateBytes(model, true));
    expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
  });

  test("an 8B model fits into 10 GiB, and not into 6", () => {
    const bytes = estimateBytes(TYPICAL_MODELS.at(-1)!, true);
    expect(verdictOf(bytes, 10 * GIB)).toBe("fits");
    expect(verdictOf(bytes, 6 * GIB)).toBe("too-big");
    expect(verdictOf(bytes, 1.05 * bytes)).toBe("tight");
  });
});

describe("the budget", () => {
  const desk = { deviceMemoryGib: 8, isPhone: false, maxBufferBytes: 2 ** 31 };

  test.each([
    ["a desktop that tells 8 GiB", desk, 4],
    ["a machine of 32 GiB, with a card of unknown size", { ...desk, deviceMemoryGib: 32 }, 6],
    ["a browser that tells nothing", { ...desk, deviceMemoryGib: undefined }, 4],
    ["a machine of 4 GiB", { ...desk, deviceMemoryGib: 4 }, 2],
    ["a phone", { ...desk, isPhone: true }, 1],
    ["a phone of 1 GiB", { ...desk, isPhone: true, deviceMemoryGib: 1 }, 0.5],
    ["an adapter with WebGPU's least limits", { ...desk, maxBufferBytes: 2 ** 28 }, 1],
  ])("of %s is guessed", (_what, hints, gib) => {
    expect(guessBudgetBytes(hints)).toBe(gib * GIB);
  });
});

/** Bytes of the run that the rule is about, laid out by the engine. */
async function countRun(shape: ModelShape, hasF16: boolean): Promise<number> {
  const adapter = {
    info: { description: "" } as GPUAdapterInfo,
    features: new Set(hasF16 ? ["shader-f16"] : []),
    limits: { maxBufferSize: 2 ** 32, maxStorageBufferBindingSize: 2 ** 31 - 4 },
  };
  const config = configOf(
    new Map<string, unknown>([
      ["max_length", RULE.tokens],
      ["lora.r", RULE.rank],
      ["lora.lora_dropout", 0.05],
      ["evaluation_inputs", ["Who are you?"]],
    ]),
  );
  const source = { architecture: architectureOf(shape), files: filesOf(shape) };
  const request = { config, checkpointing: true, holdsOut: false };
  return (await estimateMemory(adapter, source, request)).total;
}

function architectureOf({ hidden, inner, layers, queries, keys, vocab, isTied }: ModelShape) {
  const headDim = 32; // divides all widths; only their products count here
  return parseArchitecture(
    JSON.stringify({
      model_type: "llama",
      architectures: ["LlamaForCausalLM"],
      hidden_size: hidden,
      intermediate_size: inner,
      num_hidden_layers: layers,
      num_attention_heads: queries / headDim,
      num_key_value_heads: keys / headDim,
      head_dim: headDim,
      vocab_size: vocab,
      tie_word_embeddings: isTied,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      hidden_act: "silu",
      max_position_embeddings: 4096,
    }),
    "config.json",
  );
}

function filesOf({ hidden, inner, layers, queries, keys, vocab, isTied }: ModelShape) {
  const tensors = new Map<string, SourceTensor>();
  const add = (name: string, ...shape: number[]) =>
    tensors.set(`${name}.weight`, {
      name: `${name}.weight`,
      shape,
      dtype: "BF16",
      place: "nowhere",
      read: () => Promise.reject(new Error("a count reads nothing")),
    });
  add("model.embed_tokens", vocab, hidden);
  add("model.norm", hidden);
  if (!isTied) add("lm_head", vocab, hidden);
  for (let layer = 0; layer < layers; layer++) {
    const at = `model.layers.${layer}`;
    add(`${at}.input_layernorm`, hidden);
    add(`${at}.post_attention_layernorm`, hidden);
    add(`${at}.self_attn.q_proj`, queries, hidden);
    add(`${at}.self_attn.k_proj`, keys, hidden);
    add(`${at}.self_attn.v_proj`, keys, hidden);
    add(`${at}.self_attn.o_proj`, hidden, queries);
    add(`${at}.mlp.gate_proj`, inner, hidden);
    add(`${at}.mlp.up_proj`, inner, hidden);
    add(`${at}.mlp.down_proj`, hidden, inner);
  }
  return { path: "nowhere", tensors, totalBytes: 1 };
}
