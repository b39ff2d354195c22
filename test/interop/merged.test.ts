// Merged weights: transformers loads them without a word, they are PEFT's own merge, and they answer as base and
// adapter do here.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { merge } from "../../src/engine/exports/export.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { testGpu } from "../gpu.ts";
import { compareLogits, ourLogits } from "./ours.ts";
import { python, workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";
import { FAMILIES, modelFolder, TITLES } from "./subjects.ts";
import { type LogitsResult, randomSequences, theirLogits } from "./theirs.ts";

const gpu = await testGpu();
const sequences = randomSequences(4, 50, 2304, 13);
const folder = await workDirectory("merged");

interface Case {
  readonly subject: string;
  /** Also the type of the base's file. */
  readonly dtype: "float32" | "float16" | "bfloat16";
  readonly maxShardBytes?: number;
}

const FILE_TYPES: Readonly<Record<string, Case["dtype"]>> = {
  llama2: "float16",
  internlm2: "float16",
  seedling: "float16",
  qwen3: "float32",
};
const SUBJECTS = [...FAMILIES, "seedling", "SmolLM2"];
// In f32 the sums are compared; in the base's own type, which is the default, the rounding too.
const CASES: readonly Case[] = [
  ...SUBJECTS.map((subject): Case => ({ subject, dtype: "float32" })),
  ...["llama2", "gemma3", "seedling"].map((subject): Case => ({
    subject,
    dtype: FILE_TYPES[subject] ?? "bfloat16",
    maxShardBytes: 400_000,
  })),
];
/** One unit in the last place of the largest weight. */
const ROUNDING = { float32: 1e-6, float16: 2 ** -10, bfloat16: 2 ** -7 };

const adapterOf = (subject: string) => join(folder, `adapter-${subject}`);
const mergedAt = (index: number) => join(folder, `merged-${index}`);
const failures = new Map<number, unknown>();
let compared: { error: string | null; difference: number; tensors: number; files: string[] }[] = [];
let logits: LogitsResult[] = [];

beforeAll(async () => {
  const list = async (name: string, jobs: unknown) => {
    const path = join(folder, name);
    writeFileSync(path, JSON.stringify(jobs));
    return path;
  };
  const adapters = await Promise.all(
    SUBJECTS.map(async (subject) => ({
      model: await modelFolder(subject),
      output: adapterOf(subject),
      kind: "LoraConfig",
      config: { r: 8, lora_alpha: 16, target_modules: "all-linear" },
      steps: 4,
    })),
  );
  await python("adapters", [await list("adapters.json", adapters)]);
  for (const [index, { subject, dtype, maxShardBytes }] of CASES.entries()) {
    const isDefault = maxShardBytes !== undefined;
    await merge(gpu, {
      model: openFolder(await modelFolder(subject)),
      adapter: openFolder(adapterOf(subject)),
      output: openFolder(mergedAt(index)),
      ...(isDefault ? { maxShardBytes } : { dtype }),
    }).catch((error: unknown) => failures.set(index, error));
  }
  const jobs = await Promise.all(
    CASES.map(async ({ subject, dtype }, index) => ({
      base: await modelFolder(subject),
      adapter: adapterOf(subject),
      merged: mergedAt(index),
      dtype,
      reference: join(folder, `reference-${index}`),
    })),
  );
  compared = JSON.parse(
    await python("merged", [await list("merged.json", jobs)]),
  ) as typeof compared;
  logits = await theirLogits(
    folder,
    CASES.map((_, index) => ({
      model: mergedAt(index),
      sequences,
      output: join(folder, `logits-${index}`),
    })),
  );
});

describe("merged weights", () => {
  test.each(CASES.map((item, index) => ({ ...item, index })))(
    "$subject, $dtype",
    async ({ subject, dtype, maxShardBytes, index }) => {
      expect(failures.get(index)).toBeUndefined();
      const { error: problem, difference, tensors, files } = compared[index]!;
      expect(problem).toBeNull();
      expect(logits[index]!.error).toBeUndefined();
      const model = await modelFolder(subject);
      const adapter = adapterOf(subject);
      const ours = ourLogits(gpu, model, sequences, { adapter });
      const { error } = await compareLogits(ours, join(folder, `logits-${index}`));
      const isExact = dtype === "float32";
      const holds = difference <= ROUNDING[dtype] && (!isExact || error <= 1e-4);
      const shards = files.filter((name) => name.endsWith(".safetensors")).length;
      score({
        check: "merged weights",
        subject: `${TITLES[subject]}, ${dtype}${shards > 1 ? ` in ${shards} files` : ""}`,
        required: `loads without warnings; as PEFT merges, within rounding${isExact ? "; error of logits against base and adapter ≤ 1e-4" : ""}; tokenizer, config and files as save_pretrained`,
        measured: `${tensors} tensors, error ${short(difference)}; logits ${short(error)}`,
        holds,
      });
      expect(difference).toBeLessThanOrEqual(ROUNDING[dtype]);
      // Where weights were rounded, so are the logits; that they are near is all there is to say.
      expect(error).toBeLessThanOrEqual(isExact ? 1e-4 : 0.05);
      const isSplit = maxShardBytes !== undefined;
      expect(shards > 1).toBe(isSplit);
      expect(files.includes("model.safetensors.index.json")).toBe(isSplit);
    },
  );
});
