// Adapters that PEFT trained, in the ways people set it up: read here, they compute the same. What Hone cannot
// compute is refused by name.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { readAdapterFolder } from "../../src/model/files/adapter-files.ts";
import { testGpu } from "../gpu.ts";
import { compareLogits, ourLogits } from "./ours.ts";
import { python, workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";
import { FAMILIES, modelFolder, TITLES } from "./subjects.ts";
import { type LogitsResult, randomSequences, theirLogits } from "./theirs.ts";

const gpu = await testGpu();
const VOCAB = 2304;

interface Case {
  readonly subject: string;
  readonly title: string;
  readonly config: Readonly<Record<string, unknown>>;
}

const ALL_LINEAR = { r: 8, lora_alpha: 16, target_modules: "all-linear" };
const variant = (subject: string, title: string, config: Case["config"]): Case => ({
  subject,
  title: `${TITLES[subject]}, ${title}`,
  config: { ...ALL_LINEAR, ...config },
});

const CASES: readonly Case[] = [
  ...[...FAMILIES, "seedling", "SmolLM2"].map((subject) => variant(subject, "all-linear", {})),
  variant("llama2", "rsLoRA", { use_rslora: true, r: 16 }),
  variant("llama2", "rank_pattern and alpha_pattern", {
    rank_pattern: { "layers.1.self_attn.q_proj": 4, down_proj: 12 },
    alpha_pattern: { k_proj: 5, "layers.0.mlp.gate_proj": 64 },
  }),
  variant("llama2", "lora_dropout", { lora_dropout: 0.1 }),
  variant("llama2", "targets by name", { target_modules: ["q_proj", "v_proj"], r: 6 }),
  variant("llama2", "targets by pattern", {
    target_modules: String.raw`.*layers\.(0|1)\.(self_attn\.[qv]_proj|mlp\.down_proj)`,
  }),
  variant("llama2", "one layer", {
    target_modules: ["o_proj", "up_proj"],
    layers_to_transform: [1],
  }),
  variant("llama2", "excluded modules", { exclude_modules: ["k_proj"] }),
  variant("llama2", "the head too", { target_modules: ["q_proj", "lm_head"] }),
  variant("smollm2", "the tied head too", { target_modules: ["q_proj", "lm_head"] }),
  variant("phi3", "fused modules by name", { target_modules: ["qkv_proj", "gate_up_proj"] }),
  variant("internlm2", "fused modules and the head by name", {
    target_modules: ["wqkv", "wo", "output"],
  }),
];

/** Kinds that are refused, with the words that name them. */
const REFUSED: readonly {
  kind: string;
  config: Readonly<Record<string, unknown>>;
  names: string;
}[] = [
  { kind: "LoraConfig", config: { use_dora: true, target_modules: ["q_proj"] }, names: "DoRA" },
  { kind: "LoraConfig", config: { bias: "all", target_modules: ["q_proj"] }, names: "bias" },
  {
    kind: "LoraConfig",
    config: { target_modules: ["q_proj"], modules_to_save: ["lm_head"] },
    names: "modules_to_save",
  },
  {
    kind: "LoraConfig",
    config: { target_modules: ["q_proj"], trainable_token_indices: [7, 8] },
    names: "trainable_token_indices",
  },
  {
    kind: "LoraConfig",
    config: { target_modules: ["q_proj", "embed_tokens"] },
    names: "embedding",
  },
  {
    kind: "LoraConfig",
    config: { target_modules: ["q_proj"], lora_bias: true },
    names: "lora_bias",
  },
  {
    kind: "LoraConfig",
    config: { target_modules: ["q_proj"], init_lora_weights: "pissa" },
    names: "pissa",
  },
  { kind: "LoHaConfig", config: { target_modules: ["q_proj"] }, names: "LOHA" },
  { kind: "VeraConfig", config: { target_modules: ["q_proj"] }, names: "VERA" },
  {
    kind: "IA3Config",
    config: { target_modules: ["k_proj"], feedforward_modules: [] },
    names: "IA3",
  },
  { kind: "PromptTuningConfig", config: { num_virtual_tokens: 4 }, names: "PROMPT_TUNING" },
];

const sequences = randomSequences(4, 50, VOCAB, 11);
const folder = await workDirectory("adapter-in");
const adapterAt = (index: number) => join(folder, `adapter-${index}`);
const refusedAt = (index: number) => join(folder, `refused-${index}`);
let made: (string | null)[] = [];
let results: LogitsResult[] = [];

beforeAll(async () => {
  const jobs = await Promise.all([
    ...CASES.map(async ({ subject, config }, index) => ({
      model: await modelFolder(subject),
      output: adapterAt(index),
      kind: "LoraConfig",
      config,
      steps: 4,
    })),
    ...REFUSED.map(async ({ kind, config }, index) => ({
      model: await modelFolder("llama2"),
      output: refusedAt(index),
      kind,
      config,
      steps: 0,
    })),
  ]);
  const list = join(folder, "adapters.json");
  writeFileSync(list, JSON.stringify(jobs));
  made = JSON.parse(await python("adapters", [list])) as (string | null)[];
  results = await theirLogits(
    folder,
    await Promise.all(
      CASES.map(async ({ subject }, index) => ({
        model: await modelFolder(subject),
        adapter: adapterAt(index),
        strict: false, // PEFT has its doubts about a tied head
        sequences,
        output: join(folder, `theirs-${index}`),
      })),
    ),
  );
});

describe("adapter in", () => {
  test.each(CASES.map((item, index) => ({ ...item, index })))(
    "$title",
    async ({ subject, title, index }) => {
      expect(made[index]).toBeNull();
      expect(results[index]!.error).toBeUndefined();
      const model = await modelFolder(subject);
      const theirs = join(folder, `theirs-${index}`);
      const adapter = adapterAt(index);
      const { error } = await compareLogits(ourLogits(gpu, model, sequences, { adapter }), theirs);
      const without = await compareLogits(ourLogits(gpu, model, sequences), theirs);
      score({
        check: "adapter in",
        subject: title,
        required: "error of logits ≤ 1e-4",
        measured: short(error),
        holds: error <= 1e-4,
      });
      expect(error).toBeLessThanOrEqual(1e-4);
      expect(without.error).toBeGreaterThan(1e-2);
    },
  );

  test.each(REFUSED.map((item, index) => ({ ...item, index })))(
    "refused by name: $kind $config",
    async ({ kind, config, names, index }) => {
      expect(made[CASES.length + index]).toBeNull();
      const opened = await openModelFolder(openFolder(await modelFolder("llama2")));
      const message = await readAdapterFolder(openFolder(refusedAt(index)), opened).then(
        () => "read",
        (error: unknown) => String(error),
      );
      const options = Object.entries(config).filter(([key]) => key !== "target_modules");
      score({
        check: "adapter in, refused",
        subject: [
          kind.replace("Config", ""),
          ...options.map(([key, value]) => `${key}: ${JSON.stringify(value)}`),
        ].join(", "),
        required: "refused by name",
        measured: message.includes(names) ? `refused: “${names}”` : message.slice(0, 80),
        holds: message.includes(names),
      });
      expect(message).toContain(names);
    },
  );
});
