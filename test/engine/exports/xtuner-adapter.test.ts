// Which layers `all-linear` means: under compat all that XTuner's find_all_linear_names finds.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { adapterCompanions } from "../../../src/engine/exports/adapter-companions.ts";
import { adapterOf } from "../../../src/engine/runs/run-parts.ts";
import { parseArchitecture } from "../../../src/model/architecture.ts";
import { allLinears } from "../../../src/model/linears.ts";

const INTERNLM2_1_8B = parseArchitecture(
  JSON.stringify({
    model_type: "internlm2",
    bias: false,
    hidden_size: 2048,
    intermediate_size: 8192,
    max_position_embeddings: 32_768,
    num_attention_heads: 16,
    num_hidden_layers: 24,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    rope_scaling: { factor: 2, type: "dynamic" },
    rope_theta: 1_000_000,
    tie_word_embeddings: false,
    vocab_size: 92_544,
  }),
  "config.json",
);
const configOf = (options: object) =>
  parseConfig({ model: "m", data: ["d"], ...options }, "the test");
const COMPAT = { compat: "xtuner-0.1.17" };

/** Tensors and parameters of the adapter. */
function sizeOf(options: object, architecture = INTERNLM2_1_8B) {
  const config = configOf(options);
  const { adapterConfig, targets } = adapterOf(config, architecture);
  const sizes = new Map(
    allLinears(architecture).flatMap(({ inputs, segments }) =>
      segments.map(({ path, rows }) => [path, { inputs, rows }] as const),
    ),
  );
  const parameters = targets.reduce((sum, { path, rank }) => {
    const { inputs, rows } = sizes.get(path)!;
    return sum + rank * (inputs + rows);
  }, 0);
  const parts = { config, chosen: { name: "default" }, adapterConfig, targets };
  const files = adapterCompanions({ ...parts, opened: { architecture, tokenizer: {} } });
  const written = JSON.parse(files.get("adapter_config.json")!) as { target_modules: string[] };
  return { tensors: 2 * targets.length, parameters, names: written.target_modules };
}

test("InternLM2-chat-1.8B: 242 tensors and 68,968,448 parameters, the head among them", () => {
  expect(sizeOf(COMPAT)).toEqual({
    tensors: 242,
    parameters: 68_968_448,
    names: ["output", "w1", "w2", "w3", "wo", "wqkv"],
  });
});

test("a name among others that no layer has is refused with those there are", () => {
  expect(() => sizeOf({ lora: { target_modules: ["wqkv", "q_proj"] } })).toThrow(
    "lora.target_modules: the model has no linear layer q_proj; it has output, w1, w2, w3, wo, wqkv.",
  );
});

test("without compat the head is left out", () => {
  expect(sizeOf({})).toEqual({
    tensors: 240,
    parameters: 62_914_560,
    names: ["w1", "w2", "w3", "wo", "wqkv"],
  });
});

test("a head that is called lm_head is left out either way, and names that are given stay", () => {
  const text = readFileSync(
    new URL("../../fixtures/torch/tiny-llama/config.json", import.meta.url),
    "utf8",
  );
  const llama = parseArchitecture(text, "config.json");
  expect(sizeOf(COMPAT, llama)).toEqual(sizeOf({}, llama));
  expect(sizeOf(COMPAT, llama).names).not.toContain("lm_head");
  const given = sizeOf({ ...COMPAT, lora: { target_modules: ["wo"] } });
  expect(given).toMatchObject({ tensors: 48, names: ["wo"] });
});
