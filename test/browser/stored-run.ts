// A run in the page's storage as a visit before would have left it: its record, its curves, its checkpoint.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig, serializeConfig } from "../../src/config/read.ts";
import { createRandom } from "../../src/base/random.ts";
import { encodeFloats } from "../../src/formats/float.ts";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";
import type { RunRecord } from "../../src/services/api.ts";

const SEEDLING = join(import.meta.dirname, "../../public/models/seedling");
const STEPS = 24;

export interface StoredRun {
  readonly id?: string;
  readonly record?: Partial<RunRecord>;
  /** Options of the recipe. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** A question and what was answered to it, before and after. */
  readonly sample?: { readonly input: string; readonly output: string };
}

/** The record of a run that was never started, on the model and the data that come with the page. */
export function newRunFiles({ id = "a-run", record, options }: StoredRun): Record<string, string> {
  const config = parseConfig({ model: "seedling", data: ["sample"], ...options }, "test");
  const created: RunRecord = {
    id,
    name: "A run",
    notes: "",
    createdAt: "2026-05-04T10:11:12.000Z",
    changedAt: "2026-05-04T10:31:12.000Z",
    modelId: "seedling",
    modelName: "Seedling",
    dataIds: ["sample-identity-en"],
    dataName: "Who am I? (sample)",
    config,
    status: "new",
    step: 0,
    steps: Math.max(0, config.max_steps),
    finalLoss: null,
    checkpoint: null,
    checkpoints: [],
    parent: null,
    error: null,
    ...record,
  };
  return { [`runs/${id}/run.json`]: JSON.stringify(created) };
}

/** A run that was finished, with an adapter of Seedling's shapes that changes a little. */
export function finishedRunFiles(run: StoredRun = {}): Record<string, string | Uint8Array> {
  const { id = "a-run", sample = { input: "Who are you?", output: "I am **Hone**." } } = run;
  const checkpoint = `iter_${STEPS}`;
  const work = `runs/${id}/work`;
  const ended = { status: "finished", step: STEPS, steps: STEPS, finalLoss: 0.5 } as const;
  const kept = { checkpoint, checkpoints: [checkpoint] };
  const options = { max_steps: STEPS, lora: { r: 2 }, ...run.options };
  const record = { ...ended, ...kept, ...run.record };
  return {
    ...newRunFiles({ ...run, record, options }),
    [`${work}/config.yaml`]: serializeConfig(parseConfig({ model: "x", data: ["x"] }, "test")),
    [`${work}/metrics.jsonl`]: metrics(sample),
    [`${work}/last_checkpoint`]: `${checkpoint}\n`,
    [`${work}/${checkpoint}/adapter_config.json`]: JSON.stringify({
      peft_type: "LORA",
      task_type: "CAUSAL_LM",
      r: 2,
      lora_alpha: 4,
      target_modules: ["q_proj"],
      layers_to_transform: [0],
      base_model_name_or_path: "seedling",
    }),
    [`${work}/${checkpoint}/adapter_model.safetensors`]: adapterWeights(),
    [`${work}/${checkpoint}/state.json`]: "{}",
  };
}

function metrics(sample: { readonly input: string; readonly output: string }): string {
  const lines: object[] = [{ type: "sample", step: 0, input: sample.input, output: "…" }];
  for (let step = 1; step <= STEPS; step++) {
    lines.push({
      type: "step",
      step,
      steps: STEPS,
      epoch: step / 10,
      loss: 0.5 + 4 * 0.8 ** step,
      learningRate: 2e-4 * (1 - step / (STEPS + 1)),
      gradNorm: 1 / step,
      lossScale: 1,
      tokens: 100 * step,
      labelTokens: 50,
      tokensPerSecond: 321,
      etaSeconds: STEPS - step,
      skipped: 0,
    });
    if (step % 12 !== 0) continue;
    const held = { loss: 1, perplexity: Math.E, tokenAccuracy: 0.5, labelTokens: 99 };
    lines.push({ type: "eval", step, ...held }, { type: "sample", step, ...sample });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

function adapterWeights(): Uint8Array {
  const { hidden_size: hidden } = JSON.parse(
    readFileSync(join(SEEDLING, "config.json"), "utf8"),
  ) as { hidden_size: number };
  const random = createRandom(11);
  const tensor = (shape: number[]) => {
    const values = Float32Array.from({ length: 2 * hidden }, () => 0.05 * random.normal());
    return { dtype: "F32" as const, shape, bytes: encodeFloats(values, "F32") };
  };
  const module = "base_model.model.model.layers.0.self_attn.q_proj";
  return encodeSafetensors(
    new Map([
      [`${module}.lora_A.weight`, tensor([2, hidden])],
      [`${module}.lora_B.weight`, tensor([hidden, 2])],
    ]),
  );
}
